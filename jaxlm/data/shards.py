"""Shards: the token stream on disk, and the manifest that proves it.

A folder holds, for each split, flat little-endian files that numpy maps into memory:

    <split>.tokens    u16 (u32 where vocab > 65,536): S d d d S d d S; S, the separator, opens every
                      document, and a last S closes the stream
    <split>.offsets   u64, documents + 1: where each opening S stands, then the closing S
    <split>.bytes     u64, documents: length of each document's source text in bytes of UTF-8
    <split>.labels    i32, one for each token, where there are labels (data/examples.py)
    <split>.sources   u16, documents: the number of its source, and of its language in <split>.languages
                      (data/components.py); shards of before rules 3 have neither

Document i is stream[offsets[i] : offsets[i+1] + 1], both ends S: it predicts its text and the next S,
offsets[i+1] - offsets[i] tokens. For models made elsewhere that open a text with one token and close it with another,
S is the first, and the manifest's `closing` is what an S that is to be predicted is read as. Beside them `tokenizer/`
and `manifest.json`, sealed with its own hash, with the hash and size of every other file: together they notice every
flipped bit.

Left out: reading text (corpus/), cutting the stream into rows (data/pack.py).
"""

import contextlib
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import jaxlm
from jaxlm import hashing
from jaxlm.data.components import KINDS, By, Names
from jaxlm.data.shard_facts import SPLITS, require_sound, token_dtype
from jaxlm.errors import Damaged, UserError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
NOTHING = -1  # the label of a token that has none
PLANS = "plans"  # row plans are made from the shards, so they are no part of them


class Writer:
    """Appends documents to one split in `folder`; memory does not grow with the number of documents.

    `close` completes the files; leaving its `with` only lets go of them. `names` are those of all splits' components.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        vocab: int,
        separator: int,
        labelled: bool = False,
        names: Names | None = None,
    ):
        assert split in SPLITS and 0 <= separator < vocab
        self.vocab, self.separator, self.dtype = vocab, separator, token_dtype(vocab)
        folder.mkdir(parents=True, exist_ok=True)
        self._tokens, self._offsets, self._bytes = (
            open(folder / f"{split}.{part}", "wb")  # noqa: SIM115 (closed by close or __exit__)
            for part in ("tokens", "offsets", "bytes")
        )
        self._labels = open(folder / f"{split}.labels", "wb") if labelled else None  # noqa: SIM115
        self._names = names
        parts = KINDS if names is not None else ()
        self._components = [open(folder / f"{split}.{by}s", "wb") for by in parts]  # noqa: SIM115
        self._separator_bytes = np.array([separator], self.dtype).tobytes()
        self._end = self._documents = self._source_bytes = 0

    def add(
        self,
        tokens: np.ndarray,
        source_bytes: int,
        labels: np.ndarray | None = None,
        component: tuple[str, str] = (".", "und"),
    ) -> None:
        """Append one document: its tokens without any separator, and the length of its text in bytes.

        `labels` are those of the separator before it and of each token, where this split has labels. `component` is
        its source and language.
        """
        tokens = np.asarray(tokens)
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.vocab or (tokens == self.separator).any()):
            raise ValueError(
                f"document {self._documents}: tokens span {tokens.min()}..{tokens.max()}, but must be 0 to "
                f"vocab - 1 = {self.vocab - 1} and must not hold the separator {self.separator}"
            )
        self._offsets.write(struct.pack("<Q", self._end))
        self._bytes.write(struct.pack("<Q", source_bytes))
        if self._names is not None:
            for file, number in zip(self._components, self._names.numbers(component), strict=True):
                file.write(struct.pack("<H", number))
        self._tokens.write(self._separator_bytes)
        self._tokens.write(tokens.astype(self.dtype).tobytes())
        if self._labels is not None:
            assert labels is not None and labels.size == 1 + tokens.size
            self._labels.write(labels.astype("<i4").tobytes())
        self._end += 1 + tokens.size
        self._documents += 1
        self._source_bytes += int(source_bytes)

    def close(self) -> dict[str, int]:
        """Close the stream and count it: `tokens` includes every separator, `predicted` all but the first."""
        self._offsets.write(struct.pack("<Q", self._end))
        self._tokens.write(self._separator_bytes)
        if self._labels is not None:
            self._labels.write(np.array([NOTHING], "<i4").tobytes())
        for file in self._files():
            file.close()
        return {
            "documents": self._documents,
            "tokens": self._end + 1,
            "predicted": self._end,
            "bytes": self._source_bytes,
        }

    def _files(self) -> Sequence[BinaryIO]:
        labels = [self._labels] if self._labels else []
        return [self._tokens, self._offsets, self._bytes, *labels, *self._components]

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files():
            with contextlib.suppress(OSError):  # on a full disk, closing fails as writing did
                file.close()


def commit(building: Path, final: Path, *, facts: dict[str, Any]) -> None:
    """Hash what `building` holds, write its manifest, and rename it to `final`: all or nothing.

    `facts` are plain JSON values that any machine would write alike (no time, no path); `vocab`, `separator`
    and `splits` (split -> counts of `Writer.close`) are needed, `closing` where it is not the separator, `components`
    (`Names.facts`) where its writers had names. Intact shards at `final` are kept.
    """
    _write_manifest(building, facts)
    while True:
        try:
            os.rename(building, final)
            hashing.sync(final.parent)
            return
        except OSError:
            if not final.exists():
                raise
        if _intact(final):
            shutil.rmtree(building)
            return
        shutil.rmtree(final)  # damaged or foreign: what was just built replaces it


class Shards:
    """Committed shards, read through memory maps."""

    def __init__(self, folder: Path, manifest: dict[str, Any], digest: str):
        self.folder, self.manifest, self.digest = folder, manifest, digest
        self.vocab: int = manifest["vocab"]
        self.separator: int = manifest["separator"]
        self.parts: int = manifest.get("parts", 1)  # documents of an example
        self.closing: int = manifest.get("closing", self.separator)
        self.start: int = manifest.get("start", self.separator)  # what an encoder-decoder begins to write with
        self.sentinels: Sequence[int] = manifest.get("sentinels", ())  # the tokenizer's own ids for hidden spans
        self.mask: int | None = manifest.get("mask")  # the tokenizer's own id for what is hidden

    @classmethod
    def open(cls, folder: str | Path) -> "Shards":
        """Open a folder of shards: checks the manifest and all sizes; `verify` reads every byte."""
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise UserError(f"{folder} has no {MANIFEST}: shards are a folder made by `jaxlm prepare`")
        manifest, digest = _read_manifest(folder)
        shards = cls(folder, manifest, digest)
        wrong = [problem for name in manifest["files"] if (problem := shards._wrong_size(name))]
        if wrong:
            raise Damaged(f"{folder}: {'; '.join(wrong)}: delete the folder and run `jaxlm prepare` again")
        return shards

    def tokens(self, split: str) -> np.ndarray:
        return self._map(split, "tokens", token_dtype(self.vocab))

    def offsets(self, split: str) -> np.ndarray:
        return self._map(split, "offsets", np.dtype("<u8"))

    def require_in_order(self, split: str) -> None:
        """Damaged where the documents of a split do not lie one after the other, up to the end of its tokens."""
        offsets, end = self.offsets(split), self.counts(split)["predicted"]
        if not (offsets[0] == 0 and offsets[-1] == end and (offsets[1:] > offsets[:-1]).all()):
            raise Damaged(
                f"{self.folder}: {split}.offsets does not cut the {end + 1:,} tokens into documents: delete the folder "
                f"and run `jaxlm prepare` again"
            )

    def labels(self, split: str) -> np.ndarray:
        return self._map(split, "labels", np.dtype("<i4"))

    def source_bytes(self, split: str) -> np.ndarray:
        return self._map(split, "bytes", np.dtype("<u8"))

    def components(self, split: str, by: By) -> np.ndarray:
        """The number of each document's source or language among `names`."""
        return self._map(split, f"{by}s", np.dtype("<u2"))

    def names(self, by: By) -> list[str]:
        """Of sources or languages; none where the shards are older than those."""
        return self.manifest.get("components", {}).get(by, [])

    def counts(self, split: str) -> dict[str, int]:
        """documents, tokens, predicted (tokens) and bytes (of source text) in a split."""
        self._check_split(split)
        return self.manifest["splits"][split]

    def verify(self) -> list[str]:
        """Read every byte; one line for each file that is not what was written."""
        if hashing.file_hash(self.folder / MANIFEST) != self.digest:
            return [f"{MANIFEST}: changed since it was opened"]
        return hashing.folder_problems(self.folder, self.manifest["files"])

    def _map(self, split: str, part: str, dtype: np.dtype) -> np.ndarray:
        self._check_split(split)
        path = self.folder / f"{split}.{part}"
        if path.stat().st_size == 0:  # mmap refuses an empty file
            return np.zeros(0, dtype)
        return np.memmap(path, dtype, mode="r")

    def _check_split(self, split: str) -> None:
        known = self.manifest["splits"]
        if split not in known:
            raise UserError(f"split {split!r}: {self.folder} has {', '.join(s for s in SPLITS if s in known)}")

    def _wrong_size(self, name: str) -> str | None:
        path, size = self.folder / name, self.manifest["files"][name][0]
        if not path.is_file():
            return f"{name}: missing"
        found = path.stat().st_size
        return None if found == size else f"{name}: {found} bytes, but {size} were written"


def _write_manifest(building: Path, facts: dict[str, Any]) -> None:
    manifest = {
        "format_version": FORMAT_VERSION,
        "jaxlm": jaxlm.__version__,
        "dtype": token_dtype(facts["vocab"]).str,
        **facts,
        "files": hashing.hash_folder(building),
    }
    (building / MANIFEST).write_bytes(hashing.seal(manifest))
    for path in [*building.rglob("*"), building]:
        _sync(path)


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    manifest = hashing.read_sealed(folder / MANIFEST)
    if "format_version" not in manifest:
        raise UserError(f"{folder / MANIFEST} is no manifest of shards: name a folder made by `jaxlm prepare`")
    if manifest["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{folder}: format_version={manifest['format_version']}, this jaxlm reads {FORMAT_VERSION}: "
            f"run `jaxlm prepare` again, or use jaxlm {manifest.get('jaxlm')}"
        )
    require_sound(folder, manifest)
    return manifest, hashing.file_hash(folder / MANIFEST)


def _intact(folder: Path) -> bool:
    try:
        return not Shards.open(folder).verify()
    except (UserError, Damaged):
        return False


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
