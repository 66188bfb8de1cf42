"""Who goes, and for whom: a document goes only if one that stays is its verified neighbour.

Documents are judged in the order of keeping, so a cluster is a star around one that stays. Neighbours of neighbours
are none: chains of small steps joined a whole source into one cluster elsewhere (marin-community/marin#6854).

    stars      the verified pairs of all parts, merged in that order, a block at a time: a byte a document says who goes
    removals   a task a part: for whom, and the tally of the cap
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxlm.corpus.duplicates import cap, part
from jaxlm.corpus.duplicates.arrays import load, offsets_of, save
from jaxlm.corpus.duplicates.passes import result
from jaxlm.corpus.duplicates.verify import verified_file

_AT_ONCE = 1 << 18  # pairs; chosen: some 60 MB, with their keys and as Python's integers
_BLOCK = 1 << 20  # bytes written at once; chosen: little memory
STARS, REMOVALS = "stars", "removals"
_STARTS, _GOES, _FILE = "starts.npy", "goes", "removals.npy"
REMOVAL = np.dtype([("place", "<u8"), ("kept", "<u8"), ("jaccard", "<f8")])


class NearCopy(NamedTuple):
    """Evidence in words."""

    id: str
    kept_id: str
    jaccard: float


class NearCopies(NamedTuple):
    """Read from files part by part."""

    folder: Path
    parts: int

    def of(self, number: int) -> np.ndarray:
        """REMOVAL of the documents of a part that go, sorted by place."""
        return np.array(load(result(self.folder, REMOVALS, number) / _FILE))

    def evidence(self, number: int) -> list[NearCopy]:
        """In the order of `of`."""
        documents, table = part.Documents(self.folder, self.parts), self.of(number)
        ids, kept = documents.ids(table["place"]), documents.ids(table["kept"])
        return [NearCopy(*one) for one in zip(ids, kept, table["jaccard"].tolist(), strict=True)]


def stars(here: Path, parts: int, folder: Path) -> dict:
    """Judge every document; the one that goes costs no other its place."""
    documents = part.Documents(folder, parts)
    starts = offsets_of(np.array([len(documents.table(number)) for number in range(parts)], np.int64))
    save(here / _STARTS, starts)
    with open(here / _GOES, "w+b") as file:
        _fill(file, max(int(starts[-1]), 1))  # nothing cannot be mapped
        with mmap.mmap(file.fileno(), 0) as goes:
            for block in _blocks(parts, folder, documents):
                later, earlier = _index(block["later"], starts), _index(block["earlier"], starts)
                for a, b in zip(later.tolist(), earlier.tolist(), strict=True):
                    if not goes[b]:  # b comes before a, so whether it goes is known
                        goes[a] = 1
    return {}


def _fill(file: BinaryIO, size: int) -> None:
    """Make `file` so many zeros that have their place on the disk; OSError where it is full.

    A hole finds that out when it is written through the map, and then the kernel kills the process (SIGBUS).
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, _BLOCK):  # macOS has no such call
        file.write(bytes(min(_BLOCK, size - start)))
    file.flush()


def _blocks(parts: int, folder: Path, documents: part.Documents) -> Iterator[np.ndarray]:
    """The pairs of all parts in the order of keeping of the later document, at most `_AT_ONCE` at a time.

    Each part has its own in order. Of the parts' next ones all go that are not beyond what some part has yet to show.
    """
    lengths = [len(load(verified_file(folder, number))) for number in range(parts)]
    done = [0] * parts
    while left := [number for number in range(parts) if done[number] < lengths[number]]:
        each = max(1, _AT_ONCE // len(left))
        chunks = [np.array(load(verified_file(folder, n))[done[n] : done[n] + each]) for n in left]
        keys = [documents.keys(chunk["later"]) for chunk in chunks]
        more = [k[-1] for n, k in zip(left, keys, strict=True) if done[n] + len(k) < lengths[n]]
        ends = [int(np.searchsorted(k, min(more), side="right")) if more else len(k) for k in keys]
        for n, end in zip(left, ends, strict=True):
            done[n] += end
        block = np.concatenate([chunk[:end] for chunk, end in zip(chunks, ends, strict=True)])
        order = np.argsort(np.concatenate([k[:end] for k, end in zip(keys, ends, strict=True)]), kind="stable")
        yield block[order]


def removals(here: Path, number: int, parts: int, folder: Path) -> cap.Tallies:
    """Write who goes from part `number`; the evidence is the most similar document that stays."""
    documents, pairs = part.Documents(folder, parts), np.array(load(verified_file(folder, number)))
    judged = result(folder, STARS, 0)
    goes = np.memmap(judged / _GOES, np.uint8, "r")
    pairs = pairs[goes[_index(pairs["earlier"], load(judged / _STARTS))] == 0]
    order = np.lexsort((documents.keys(pairs["earlier"]), -pairs["jaccard"], pairs["later"]))
    pairs = pairs[order]
    first = np.ones(len(pairs), bool)
    first[1:] = pairs["later"][1:] != pairs["later"][:-1]
    table = np.zeros(np.count_nonzero(first), REMOVAL)
    for field, of in (("place", "later"), ("kept", "earlier"), ("jaccard", "jaccard")):
        table[field] = pairs[of][first]
    save(here / _FILE, table)
    return cap.tally(number, table["place"], table["kept"], np.ones(len(table)), documents)


def _index(places: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Of documents counted through all parts."""
    return starts[part.part_of(places)] + part.row_of(places)
