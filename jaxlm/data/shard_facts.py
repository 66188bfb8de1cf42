"""What the manifest of shards may say, asked of one that comes from anywhere: its seal finds accidents, not harm.

Left out: what is in the files; `Shards.verify` hashes them, and data/pack.py looks at the offsets that it reads.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxlm import hashing
from jaxlm.errors import Damaged

SPLITS = ("train", "validation", "test")
MOST_PARTS = 1_000  # documents of an example; chosen


def token_dtype(vocab: int) -> np.dtype:
    """u16 where every id fits, else u32."""
    return np.dtype("<u2" if vocab <= 65_536 else "<u4")


def require_sound(folder: Path, facts: dict[str, Any]) -> None:
    """Damaged where `facts` are none that jaxlm writes, though their seal is whole, or sizes do not fit counts."""
    origin = str(folder / "manifest.json")
    hashing.told(facts, {"vocab": int, "separator": int, "splits": dict, "files": dict}, origin)
    vocab, files = facts["vocab"], facts["files"]
    if not 0 < vocab <= 2**31 or facts.get("dtype") != token_dtype(vocab).str:
        raise Damaged(f"{origin}: vocab={vocab!r:.80} with dtype={facts.get('dtype')!r:.80}: jaxlm writes no such")
    optional = [facts[name] for name in ("closing", "start", "mask") if name in facts]
    ids = [facts["separator"], *optional, *_list(facts, "sentinels", origin)]
    if wrong := [i for i in ids if type(i) is not int or not 0 <= i < vocab]:
        raise Damaged(f"{origin}: {wrong[0]!r:.80} is no id, which are 0 to {vocab - 1}")
    if not facts["splits"].keys() <= {*SPLITS} or not 1 <= _whole(facts.get("parts", 1)) <= MOST_PARTS:
        raise Damaged(f"{origin}: splits {', '.join(map(repr, facts['splits']))[:80]}, parts={facts.get('parts', 1)!r}")
    if type(facts.get("components", {})) is not dict:
        raise Damaged(f"{origin}: components={facts['components']!r:.80}: jaxlm did not write it so")
    for by in facts.get("components", {}):
        _list(facts["components"], by, origin)
    _require_files(folder, files, origin)
    for split, counts in facts["splits"].items():
        _require_sizes(split, counts, files, token_dtype(vocab).itemsize, origin)


def _require_files(folder: Path, files: dict[str, list], origin: str) -> None:
    for name, told in files.items():
        if not (isinstance(told, list) and len(told) == 2 and _whole(told[0]) >= 0 and isinstance(told[1], str)):
            raise Damaged(f"{origin}: {name!r:.80} is {told!r:.80}: jaxlm did not write it so")
        if not hashing.leads_inside(folder.resolve(), folder / name):
            raise Damaged(f"{origin}: {name!r:.80} leads out of the folder: copy what it leads to")


def _require_sizes(split: str, counts: Any, files: dict[str, list], token_bytes: int, origin: str) -> None:
    names = ("documents", "tokens", "predicted", "bytes")
    if not isinstance(counts, dict) or any(_whole(counts.get(name)) < 0 for name in names):
        raise Damaged(f"{origin}: split {split!r} counts {counts!r:.80}: jaxlm did not write it so")
    documents, tokens = counts["documents"], counts["tokens"]
    wanted = {"tokens": token_bytes * tokens, "offsets": 8 * (documents + 1), "bytes": 8 * documents}
    more = {"labels": 4 * tokens, "sources": 2 * documents, "languages": 2 * documents}  # where there are some
    wanted |= {part: size for part, size in more.items() if f"{split}.{part}" in files}
    for part, size in wanted.items():
        found = files.get(f"{split}.{part}", [None])[0]
        if found != size:
            raise Damaged(
                f"{origin}: {split}.{part} has {found} bytes, but {documents:,} documents and {tokens:,} tokens make "
                f"{size}: not by jaxlm"
            )
    if counts["predicted"] != tokens - 1:
        raise Damaged(f"{origin}: split {split!r} predicts {counts['predicted']:,} of {tokens:,} tokens: not by jaxlm")


def _whole(value: Any) -> int:
    """`value`, if it is an integer; else -1."""
    return value if type(value) is int else -1


def _list(facts: dict[str, Any], name: str, origin: str) -> list:
    found = facts.get(name, [])
    if not isinstance(found, list):
        raise Damaged(f"{origin}: {name}={found!r:.80}: jaxlm did not write it so")
    return found
