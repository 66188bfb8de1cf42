"""Exact duplicates: documents, paragraphs or lines that are equal, by a 128-bit hash in two passes.

    units       a task a part: the hash and the span of every unit, sorted by hash
    repeats     a task a range of hashes: all but the first unit of each hash, in the order of keeping

Within a document the first occurrence stays. xxh3_128 is no defence against a forger, but against accidents: among
10^12 units two differ under one hash with a chance of 10^-15.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from jaxlm.corpus.duplicates import cap, part
from jaxlm.corpus.duplicates.arrays import load, save
from jaxlm.corpus.duplicates.candidates import range_of
from jaxlm.corpus.duplicates.config import ExactConfig

UNIT = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u4"), ("start", "<u8"), ("end", "<u8")])
CUT = np.dtype([(f"{whose}{field}", "<u8") for whose in ("", "kept_") for field in ("place", "start", "end")])
_BYTES = 192  # of a task's memory for each unit: it, its entry in the order, and copies that sorting makes
_WHITE = bytes(code for code in range(128) if chr(code).isspace())  # NFKC makes most other spaces this one
_BETWEEN = {"paragraph": re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+"), "line": re.compile(r"\n")}


class Cuts(NamedTuple):
    table: np.ndarray  # CUT, sorted by place and start; starts and ends are characters of the raw text
    folder: Path

    def spans(self, number: int) -> Iterator[tuple[int, int, int]]:
        """(row, start, end) of what to cut from the documents of part `number`, in order."""
        places = self.table["place"]
        here = self.table[part.part_of(places) == number]
        return zip(part.row_of(here["place"]).tolist(), here["start"].tolist(), here["end"].tolist(), strict=True)


def find(
    parts: Sequence[Iterable[part.Row]], folder: Path, cfg: ExactConfig, run: Callable[..., Iterable] = map
) -> Cuts:
    """What of `parts` is an equal copy of a unit that stays; parts, `folder`, `run` and errors as in `near.find`."""
    count = len(parts)
    total = sum(run(partial(units, folder=folder, cfg=cfg), range(count), parts))
    of = max(1, math.ceil(total * _BYTES / cfg.memory))
    list(run(partial(repeats, of=of, parts=count, folder=folder), range(of)))
    table = np.concatenate([load(_file(folder, partition)) for partition in range(of)])
    table = table[np.lexsort((table["start"], table["place"]))]
    documents = part.Documents(folder, count)
    shares = (table["end"] - table["start"]) / np.maximum(documents.of(table["place"])["length"], 1)
    cap.check(table["place"], table["kept_place"], shares, documents, cfg.cap, f"equal {cfg.unit}s")
    save(folder / "cuts.npy", table)
    return Cuts(table, folder)


def units(number: int, rows: Iterable[part.Row], folder: Path, cfg: ExactConfig) -> int:
    """Write the units of part `number`, sorted by hash; returns how many."""
    here, rows = part.part_folder(folder, number), list(rows)
    part.write(here, rows)
    digests, spans_ = [], []
    for row, document in enumerate(rows):
        for digest, start, end in _hashed(document.text, cfg):
            digests.append(digest)
            spans_.append((row, start, end))
    table = np.zeros(len(digests), UNIT)
    table["high"], table["low"] = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2).T
    table["row"], table["start"], table["end"] = np.array(spans_, np.int64).reshape(-1, 3).T
    save(here / "units.npy", table[np.argsort(table["high"], kind="stable")])
    return len(table)


def spans(text: str, unit: str) -> Iterator[tuple[int, int]]:
    """Where each unit starts and ends; what lies between units is not part of any.

    >>> list(spans("one\\n \\ntwo\\nthree", "paragraph"))
    [(0, 3), (6, 15)]
    """
    start = 0
    if unit in _BETWEEN:
        for gap in _BETWEEN[unit].finditer(text):
            yield start, gap.start()
            start = gap.end()
    yield start, len(text)


def _hashed(text: str, cfg: ExactConfig) -> Iterator[tuple[bytes, int, int]]:
    shortest = 1 if cfg.unit == "document" else cfg.shortest
    for start, end in spans(text, cfg.unit):
        if end - start >= shortest:
            own = text[start:end].encode() if cfg.form == "raw" else normal(text[start:end])
            if own:
                yield xxhash.xxh3_128_digest(own), start, end


def normal(text: str) -> bytes:
    """Compatible characters are one (NFKC), so are cases, and white space is left out.

    >>> normal("Fine  WORDS ") == normal("ﬁne words")
    True
    """
    if text.isascii():
        return text.encode().lower().translate(None, _WHITE)
    return unicodedata.normalize("NFKC", text).casefold().encode().translate(None, _WHITE)


def repeats(partition: int, of: int, parts: int, folder: Path) -> None:
    """Write the cuts that units with a hash in `partition` lead to."""
    found, places = [np.zeros(0, UNIT)], [np.zeros(0, np.uint64)]
    for number in range(parts):
        own = load(part.part_folder(folder, number) / "units.npy")
        found.append(own[slice(*range_of(own["high"], partition, of))])
        places.append(part.places(number, found[-1]["row"]))
    table, place = np.concatenate(found), np.concatenate(places)
    documents = part.Documents(folder, parts)
    order = documents.order(place, before=[table["high"], table["low"]], after=[place, table["start"]])
    table, place = table[order], place[order]
    new = np.ones(len(table), bool)
    new[1:] = (table["high"][1:] != table["high"][:-1]) | (table["low"][1:] != table["low"][:-1])
    kept = np.maximum.accumulate(np.where(new, np.arange(len(table)), 0))[~new]
    cuts = np.zeros(len(kept), CUT)
    for whose, rows in (("", np.flatnonzero(~new)), ("kept_", kept)):
        cuts[f"{whose}place"] = place[rows]
        cuts[f"{whose}start"], cuts[f"{whose}end"] = table["start"][rows], table["end"][rows]
    save(_file(folder, partition), cuts)


def _file(folder: Path, partition: int) -> Path:
    return folder / "repeats" / f"{partition:06}.npy"
