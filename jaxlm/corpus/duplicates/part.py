"""What the passes know of the documents: their names, and what orders them.

The order of keeping is total and does not know the parts: the lower priority first, then the longer text, then a hash
of id and source. Documents alike in all of these are the same text under the same name.
A document's place is one u64: its part in the upper half, its row in the lower.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from jaxlm.corpus.duplicates.arrays import load, save
from jaxlm.corpus.duplicates.passes import result
from jaxlm.hashing import write_atomically

DOCUMENT = np.dtype([("priority", "<i8"), ("length", "<i8"), ("high", "<u8"), ("low", "<u8"), ("source", "<u4")])
PARTS = "parts"  # the pass that reads them, of whatever search
_HALF = np.uint64(32)


class Row(NamedTuple):
    """A document of a part."""

    id: str
    text: str
    source: str
    priority: int = 0  # of its source: the copy with the lowest stays


def write(folder: Path, rows: Sequence[Row]) -> np.ndarray:
    """`documents.npy`, `sources.json` and `ids.npy` of a part; returns DOCUMENT of its rows."""
    sources = sorted({row.source for row in rows})
    code = {source: number for number, source in enumerate(sources)}
    table = np.zeros(len(rows), DOCUMENT)
    for number, row in enumerate(rows):
        name = xxhash.xxh3_128_intdigest(f"{row.id}\0{row.source}".encode())
        table[number] = (row.priority, len(row.text), name >> 64, name & (2**64 - 1), code[row.source])
    save(folder / "documents.npy", table)
    write_atomically(folder / "sources.json", json.dumps(sources).encode())
    save(folder / "ids.npy", np.array([row.id.encode() for row in rows], np.bytes_))
    return table


class Documents:
    """Of every part below a folder, read where they are asked for: of one part at a time, and no more than that."""

    def __init__(self, folder: Path, parts: int):
        self.parts = parts
        self._folder = folder

    def table(self, part: int) -> np.ndarray:
        """DOCUMENT of every row, mapped."""
        return load(part_folder(self._folder, part) / "documents.npy")

    def sources(self, part: int) -> list[str]:
        """By the code that `table` holds."""
        return json.loads((part_folder(self._folder, part) / "sources.json").read_bytes())

    def of(self, places: np.ndarray) -> np.ndarray:
        found = np.zeros(len(places), DOCUMENT)
        parts, rows = part_of(places), row_of(places)
        for part in np.unique(parts).tolist():
            found[parts == part] = self.table(part)[rows[parts == part]]
        return found

    def ids(self, places: np.ndarray) -> list[str]:
        found = [""] * len(places)
        parts, rows = part_of(places), row_of(places)
        for part in np.unique(parts).tolist():
            here = np.flatnonzero(parts == part)
            ids = load(part_folder(self._folder, part) / "ids.npy")[rows[here]]
            for index, id_ in zip(here.tolist(), ids.tolist(), strict=True):
                found[index] = id_.decode()
        return found

    def keys(self, places: np.ndarray) -> np.ndarray:
        """Bytes that sort as `order` does, and equal places apart: fit for merging what is sorted."""
        table, fields = self.of(places), np.zeros((len(places), 5), ">u8")
        fields[:, 0] = table["priority"].view(np.uint64) ^ np.uint64(1 << 63)  # below zero comes first
        fields[:, 1] = ~table["length"].astype(np.uint64)
        fields[:, 2], fields[:, 3], fields[:, 4] = table["high"], table["low"], places
        return fields.view(f"S{fields.itemsize * 5}").ravel()

    def order(self, places: np.ndarray, before: Sequence[np.ndarray] = (), after: Sequence[np.ndarray] = ()):
        """Indices that sort `places` in the order of keeping; keys go `before` it or `after` it, the first foremost."""
        return order(self.of(places), before, after)


def order(table: np.ndarray, before: Sequence[np.ndarray] = (), after: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The same of the rows of a DOCUMENT table."""
    own = (table["priority"], -table["length"], table["high"], table["low"])
    return np.lexsort((*before, *own, *after)[::-1])


def part_folder(folder: Path, part: int) -> Path:
    """What the first pass wrote of a part."""
    return result(folder, PARTS, part)


def places(part: int, rows: np.ndarray) -> np.ndarray:
    return np.uint64(part) << _HALF | rows.astype(np.uint64)


def part_of(places: np.ndarray) -> np.ndarray:
    return (places >> _HALF).astype(np.int64)


def row_of(places: np.ndarray) -> np.ndarray:
    return (places & np.uint64(2**32 - 1)).astype(np.int64)
