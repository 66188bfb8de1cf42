"""The n-grams of all evaluation sets as sorted arrays, and the items that each is of.

An item of a script with spaces is cut into n-grams of `words`, any other into `characters`; one that is shorter is a
gram as a whole, down to `shortest`. A gram with no more than half as many different words as words is left out: a table
of numbers, which are all alike here, would hold it. Every gram is also known by its first words, its head: a search
hashes heads alone, looks them up in a table of bits, and the rest of the gram only where the head is there.

    items.parquet   a row an item: set, place, words, length of its grams (0: not looked for), beginning
    sizes.npy       words and length of them again, to be mapped
    grams.npy       u64, sorted, each once; of offsets.npy and uses.npy the items and the word they begin at
    heads.npy       u64, sorted, each once; bits.npy is a table of them
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from jaxlm.corpus import table
from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.contamination.grams import grams, words_of
from jaxlm.corpus.contamination.items import Item, items
from jaxlm.corpus.duplicates.arrays import Ragged, load, offsets_of, save
from jaxlm.corpus.duplicates.blocks import BLOCK, blocks
from jaxlm.corpus.files import File
from jaxlm.errors import UserError
from jaxlm.hashing import write_atomically

USE = np.dtype([("item", "<u4"), ("start", "<u4")])
SIZE = np.dtype([("words", "<u4"), ("length", "<u4")])
ITEMS = "items.parquet"
_ITEM = table.schema(set="string", place="string", words="int64", length="int64", begins="string")
_BEGINS = 200  # characters of an item that are shown
_BITS = 32  # of the table for each head: one in as many other words pass it


def index(folder: Path, sets: Sequence[tuple[EvaluationSet, Sequence[File]]], cfg: ContaminationConfig) -> dict:
    """The index of all sets. UserError where one holds nothing that can be looked for."""
    head = min(cfg.shortest, cfg.shortest_characters)
    rows: list[dict[str, Any]] = []
    keys, heads, uses = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [np.zeros(0, USE)]
    facts = {}
    for one, read in sets:
        counts: Counter[str] = Counter(records=0, without_text=0, too_short=0, only_repeats=0)
        before = len(rows)
        for block in blocks(items(one, read, counts), BLOCK, lambda item: len(item.text)):
            found = words_of([item.text for item in block])
            lengths = lengths_of(found.hashes.counts, found.unspaced, cfg)
            key, first, use = _of_block(found.hashes, lengths, head, len(rows))
            counts["too_short"] += int(np.count_nonzero(lengths == 0))
            empty = np.setdiff1d(np.flatnonzero(lengths), use["item"] - len(rows))
            counts["only_repeats"] += len(empty)
            lengths[empty] = 0
            rows += _rows(one, block, found.hashes.counts, lengths)
            for arrays, array in ((keys, key), (heads, first), (uses, use)):
                arrays.append(array)
        counts["items"] = sum(row["length"] > 0 for row in rows[before:])
        if not counts["items"]:
            raise _nothing(one, counts, cfg)
        facts[one.name] = dict(counts)
    _save(folder, np.concatenate(keys), np.concatenate(heads), np.concatenate(uses))
    table.write_rows(folder / ITEMS, rows, _ITEM)
    sizes = np.zeros(len(rows), SIZE)
    for name in ("words", "length"):
        sizes[name] = [row[name] for row in rows]
    save(folder / "sizes.npy", sizes)
    lengths = sorted(set(sizes["length"].tolist()) - {0})
    write_atomically(folder / "lengths.json", orjson.dumps({"head": head, "lengths": lengths}))
    return {"sets": facts}


def lengths_of(counts: np.ndarray, unspaced: np.ndarray, cfg: ContaminationConfig) -> np.ndarray:
    """Words of the grams of texts of so many words; 0 where one is too short to be looked for."""
    most = np.where(unspaced, cfg.characters, cfg.words)
    least = np.where(unspaced, cfg.shortest_characters, cfg.shortest)
    return np.where(counts >= least, np.minimum(counts, most), 0)


def _of_block(found: Ragged, lengths: np.ndarray, head: int, before: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash, head and use of each gram of some items, of which the first is the `before`th of all."""
    keys, heads, uses = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [np.zeros(0, USE)]
    for length in sorted(set(lengths.tolist()) - {0}):
        own = np.flatnonzero(lengths == length)
        counts = found.counts[own] - length + 1
        steps = np.arange(counts.sum()) - np.repeat(offsets_of(counts)[:-1], counts)
        starts = np.repeat(found.offsets[:-1][own], counts) + steps
        telling = _different(found.flat, starts, length) > length / 2
        use = np.zeros(len(starts), USE)
        use["item"], use["start"] = np.repeat(own, counts) + before, steps
        keys.append(grams(found.flat, starts[telling], length))
        heads.append(grams(found.flat, starts[telling], head))
        uses.append(use[telling])
    return np.concatenate(keys), np.concatenate(heads), np.concatenate(uses)


def _different(flat: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """How many different words each gram has."""
    own = np.sort(flat[starts[:, None] + np.arange(length)[None]], axis=1)
    return 1 + np.count_nonzero(own[:, 1:] != own[:, :-1], axis=1)


def _rows(one: EvaluationSet, block: Sequence[Item], counts: np.ndarray, lengths: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"set": one.name, "place": item.place, "words": words, "length": length, "begins": item.text[:_BEGINS]}
        for item, words, length in zip(block, counts.tolist(), lengths.tolist(), strict=True)
    ]


def _nothing(one: EvaluationSet, counts: Counter[str], cfg: ContaminationConfig) -> UserError:
    return UserError(
        f"evaluation set {one.name!r}: none of the {counts['records']:,} records in {one.path!r} can be looked for: "
        f"{counts['without_text']:,} have no text in fields={list(one.fields)}, {counts['too_short']:,} are shorter "
        f"than shortest={cfg.shortest} words ({cfg.shortest_characters} characters of a script without spaces), "
        f"{counts['only_repeats']:,} repeat few words: name more fields, such as the question beside the answer, or "
        f"lower shortest"
    )


def _save(folder: Path, keys: np.ndarray, heads: np.ndarray, uses: np.ndarray) -> None:
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    save(folder / "grams.npy", keys[new])
    save(folder / "offsets.npy", np.append(np.flatnonzero(new), len(keys)))
    save(folder / "uses.npy", uses[order])
    heads = np.unique(heads)
    save(folder / "heads.npy", heads)
    size = max(16, (_BITS * len(heads) - 1).bit_length())
    bits = np.zeros(1 << size, bool)
    bits[heads >> np.uint64(64 - size)] = True
    save(folder / "bits.npy", np.packbits(bits, bitorder="little"))


class Index(NamedTuple):
    """A finished one, its arrays mapped."""

    grams: np.ndarray
    uses: Ragged
    heads: np.ndarray
    bits: np.ndarray
    sizes: np.ndarray  # of items
    head: int  # words
    lengths: list[int]  # that grams have

    @classmethod
    def open(cls, folder: Path) -> "Index":
        told = orjson.loads((folder / "lengths.json").read_bytes())
        arrays = {name: load(folder / f"{name}.npy") for name in ("grams", "heads", "offsets", "uses", "bits", "sizes")}
        uses = Ragged(arrays.pop("uses"), arrays.pop("offsets"))
        return cls(uses=uses, head=told["head"], lengths=told["lengths"], **arrays)

    def may_begin(self, heads: np.ndarray) -> np.ndarray:
        """Indices of the `heads` that a gram begins with, and of one in 32 others."""
        size = (len(self.bits) * 8 - 1).bit_length()
        bit = heads >> np.uint64(64 - size)
        return np.flatnonzero((self.bits[bit >> np.uint64(3)] >> (bit & np.uint64(7)).astype(np.uint8)) & 1)
