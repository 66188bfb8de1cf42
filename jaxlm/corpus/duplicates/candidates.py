"""Second pass, a task a range of keys: pairs of documents that share a band.

In a bucket every document is compared with those before it in the order of keeping, up to a cap: the first
`representatives`. A bucket no larger than that is compared whole; a larger one costs its size times the cap and not
its square. What the cap loses are pairs in large buckets of which neither is among the first.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxlm.corpus.duplicates import part
from jaxlm.corpus.duplicates.arrays import load, offsets_of, save
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.passes import result

CANDIDATES, _FILE = "candidates", "pairs.npy"
_BYTES = 128  # of a task's memory for each key: it, its place, its entry in the order, and copies that sorting makes


def partitions(keys: int, cfg: NearConfig) -> int:
    return max(1, math.ceil(keys * _BYTES / cfg.memory))


def candidates(here: Path, partition: int, of: int, parts: int, folder: Path, cfg: NearConfig) -> dict:
    """Write the pairs that a bucket among the keys of `partition` proposes: (later, earlier) places, sorted."""
    keys, places = _read(partition, of, parts, folder)
    shared = _is_shared(keys)
    keys, places = keys[shared], places[shared]
    order = part.Documents(folder, parts).order(places, before=[keys])
    # A pair as one u64, of indices into the places, which keep their order: two keys sort several times slower
    own, index = np.unique(places[order], return_inverse=True)
    index = index.astype(np.uint64)
    at_once = cfg.memory // _BYTES
    found, waiting = np.zeros(0, np.uint64), [np.zeros(0, np.uint64)]
    for later, earlier in pairs(keys[order], cfg.representatives, at_once):
        waiting.append(_once(index[later] << np.uint64(32) | index[earlier]))
        if sum(map(len, waiting)) > max(len(found), at_once):
            found, waiting = _once(np.concatenate([found, *waiting])), []
    found = _once(np.concatenate([found, *waiting]))
    later, earlier = own[found >> np.uint64(32)], own[found & np.uint64(2**32 - 1)]
    save(here / _FILE, np.stack((later, earlier))[:, later != earlier])
    return {}


def pairs(keys: np.ndarray, representatives: int, at_once: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices (later, earlier) of the pairs within runs of equal keys, some `at_once` in a block.

    >>> for later, earlier in pairs(np.array([5, 5, 5, 5, 9, 9]), representatives=2, at_once=5):
    ...     print([f"{a}-{b}" for a, b in zip(later, earlier)])
    ['1-0', '2-0', '2-1', '3-0', '3-1']
    ['5-4']
    """
    index = np.arange(len(keys))
    begins = np.ones(len(keys), bool)
    begins[1:] = keys[1:] != keys[:-1]
    first = np.maximum.accumulate(np.where(begins, index, 0))
    counts = np.minimum(index - first, representatives)
    totals, start = offsets_of(counts), 0
    while start < len(keys):
        end = max(int(np.searchsorted(totals, totals[start] + at_once, side="right")) - 1, start + 1)
        block = slice(start, end)
        steps = np.arange(totals[end] - totals[start]) - np.repeat(totals[block] - totals[start], counts[block])
        yield np.repeat(index[block], counts[block]), np.repeat(first[block], counts[block]) + steps
        start = end


def of_part(number: int, partitions: int, folder: Path) -> np.ndarray:
    """Every proposed pair whose later document is in this part, once: (later, earlier)."""
    low, high = part.places(number, np.array([0])), part.places(number + 1, np.array([0]))
    found = []
    for partition in range(partitions):
        both = load(result(folder, CANDIDATES, partition) / _FILE)
        start, end = np.searchsorted(both[0], np.concatenate((low, high)))
        found.append(np.array(both[:, start:end]))
    ordered = np.concatenate(found, axis=1)
    ordered = ordered[:, np.lexsort(ordered[::-1])]
    new = np.ones(ordered.shape[1], bool)
    new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return ordered[:, new]


def _read(partition: int, of: int, parts: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The keys of this partition in all parts, and the places they are of."""
    keys, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for number in range(parts):
        here = part.part_folder(folder, number)
        own = load(here / "keys.npy")
        span = slice(*range_of(own, partition, of))
        keys.append(np.array(own[span]))  # a copy: what was searched need not stay in memory
        places.append(part.places(number, load(here / "owners.npy")[span]))
    return np.concatenate(keys), np.concatenate(places)


def range_of(keys: np.ndarray, partition: int, of: int) -> tuple[int, int]:
    """Where the `partition`th of `of` equal ranges of u64 begins and ends among sorted `keys`."""
    start = int(np.searchsorted(keys, np.uint64(partition * 2**64 // of)))
    last = partition + 1 == of
    return start, len(keys) if last else int(np.searchsorted(keys, np.uint64((partition + 1) * 2**64 // of)))


def _is_shared(keys: np.ndarray) -> np.ndarray:
    order = np.argsort(keys)
    same = keys[order][1:] == keys[order][:-1]
    shared = np.zeros(len(keys), bool)
    shared[order[1:][same]] = shared[order[:-1][same]] = True
    return shared


def _once(values: np.ndarray) -> np.ndarray:
    """Sorted, each once; `np.unique` hashes, which is slower here."""
    values = np.sort(values)
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    return values[new]
