"""Arrays in files, written whole or not at all, and rows of unequal length in one flat array."""

import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np


def save(path: Path, array: np.ndarray) -> None:
    """Write beside `path`, then rename: a task that is killed leaves no half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            _write(file, np.asarray(array, order="C"))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _write(file: BinaryIO, array: np.ndarray) -> None:
    """As `np.save`, whose own error of a full disk has no number that says so."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.reshape(-1).view(np.uint8).data)


def load(path: Path) -> np.ndarray:
    """The array as a map of the file: only what is read is in memory, and the system may drop it again."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


class Ragged(NamedTuple):
    """Row i is `flat[offsets[i] : offsets[i + 1]]`."""

    flat: np.ndarray
    offsets: np.ndarray  # i64, one more than rows

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)

    def row(self, index: int) -> np.ndarray:
        return self.flat[self.offsets[index] : self.offsets[index + 1]]

    def take(self, rows: np.ndarray) -> "Ragged":
        counts = self.counts[rows]
        offsets = offsets_of(counts)
        steps = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
        return Ragged(self.flat[np.repeat(self.offsets[:-1][rows], counts) + steps], offsets)

    def where(self, keep: np.ndarray) -> "Ragged":
        """The rows without the elements that `keep` leaves out."""
        kept_before = np.concatenate(([0], np.cumsum(keep)))
        return Ragged(self.flat[keep], kept_before[self.offsets])


def joined(parts: list[Ragged]) -> Ragged:
    counts = np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)])
    flat = [part.flat for part in parts] or [np.zeros(0, np.uint64)]
    return Ragged(np.concatenate(flat), offsets_of(counts))


def offsets_of(counts: np.ndarray) -> np.ndarray:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))
