"""Exact duplicates: documents, paragraphs or lines that are equal, by a 128-bit hash in three passes.

    units       a task a part: the hash and the span of every unit, and the first of each hash, as keeping orders them
    repeats     a task a range of hashes: of the parts' first ones the one that stays
    cuts        a task a part: every other unit is cut out of it; and the tally of the cap

A line that every document has is then one row a part where parts are joined, and no task is larger for it.
Within a document the first occurrence stays. xxh3_128 is no defence against a forger, but against accidents: among
10^12 units two differ under one hash with a chance of 10^-15.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from jaxlm.corpus.duplicates import cap, part, passes
from jaxlm.corpus.duplicates.arrays import load, save
from jaxlm.corpus.duplicates.candidates import range_of
from jaxlm.corpus.duplicates.config import ExactConfig, PassagesConfig

UNIT = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<u4"), ("start", "<u8"), ("end", "<u8")])
_REPEATS, _CUTS = "repeats", "cuts"  # passes
EqualConfig = ExactConfig | PassagesConfig
KEPT = np.dtype([("part", "<u4"), ("group", "<u4"), ("place", "<u8"), ("start", "<u8"), ("end", "<u8")])
CUT = np.dtype([(f"{whose}{field}", "<u8") for whose in ("", "kept_") for field in ("place", "start", "end")])
_BYTES = 192  # of a task's memory for each unit: it, its entry in the order, and copies that sorting makes
_WHITE = bytes(code for code in range(128) if chr(code).isspace())  # NFKC makes most other spaces this one
_BETWEEN = {"paragraph": re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+"), "line": re.compile(r"\n")}


class Cuts(NamedTuple):
    """Read from files part by part."""

    folder: Path
    parts: int

    def of(self, number: int) -> np.ndarray:
        """CUT of the documents of a part, sorted by place and start: characters of the raw text."""
        return np.array(load(passes.result(self.folder, _CUTS, number) / "cuts.npy"))


def find(parts: Sequence[Iterable[part.Row]], folder: Path, cfg: EqualConfig, run: passes.Run = passes.here) -> Cuts:
    """What of `parts` is an equal copy of a unit that stays; parts, `folder`, `run` and errors as in `near.find`."""
    count = len(parts)
    read = run(passes.each(part.PARTS, units, [(rows, cfg) for rows in parts]), folder)
    of = max(1, math.ceil(sum(one["firsts"] for one in read) * _BYTES / cfg.memory))
    run(passes.each(_REPEATS, repeats, [(n, of, count, folder) for n in range(of)]), folder)
    tallies = run(passes.each(_CUTS, cuts, [(n, of, count, folder) for n in range(count)]), folder)
    passages = isinstance(cfg, PassagesConfig)
    what, kind = (f"equal {cfg.unit}s", cap.PASSAGES) if passages else ("equal documents", cap.EXACT)
    cap.check(tallies, cfg.cap, what, kind)
    return Cuts(folder, count)


def units(here: Path, rows: Iterable[part.Row], cfg: EqualConfig) -> dict[str, int]:
    """Write the units of a part, in the order of hash and keeping; returns how many differ."""
    rows = list(rows)
    documents = part.write(here, rows)
    digests, spans_ = [], []
    for row, document in enumerate(rows):
        for digest, start, end in _hashed(document.text, cfg):
            digests.append(digest)
            spans_.append((row, start, end))
    table = np.zeros(len(digests), UNIT)
    table["high"], table["low"] = np.frombuffer(b"".join(digests), ">u8").reshape(-1, 2).T
    table["row"], table["start"], table["end"] = np.array(spans_, np.int64).reshape(-1, 3).T
    table = table[_order(table, table["row"], documents[table["row"]])]
    first = table[_new(table)]
    save(here / "units.npy", table)
    save(here / "firsts.npy", first)
    return {"firsts": len(first)}


def _order(table: np.ndarray, places: np.ndarray, documents: np.ndarray) -> np.ndarray:
    return part.order(documents, before=[table["high"], table["low"]], after=[places, table["start"]])


def _new(table: np.ndarray) -> np.ndarray:
    """Where a hash is another than before."""
    new = np.ones(len(table), bool)
    new[1:] = (table["high"][1:] != table["high"][:-1]) | (table["low"][1:] != table["low"][:-1])
    return new


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


def _hashed(text: str, cfg: EqualConfig) -> Iterator[tuple[bytes, int, int]]:
    unit, shortest = (cfg.unit, cfg.shortest) if isinstance(cfg, PassagesConfig) else ("document", 1)
    for start, end in spans(text, unit):
        if end - start >= shortest and (shortest == 1 or len(text[start:end].strip()) >= shortest):
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


def repeats(here: Path, partition: int, of: int, parts: int, folder: Path) -> dict:
    """Write for each part, of whose units with a hash in `partition` none stays, the one that does."""
    found, places, groups = [np.zeros(0, UNIT)], [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for number in range(parts):
        own = load(part.part_folder(folder, number) / "firsts.npy")
        start, end = range_of(own["high"], partition, of)
        found.append(np.array(own[start:end]))
        places.append(part.places(number, found[-1]["row"]))
        groups.append(np.arange(start, end))
    table, place, group = np.concatenate(found), np.concatenate(places), np.concatenate(groups)
    order = _order(table, place, part.Documents(folder, parts).of(place))
    table, place, group = table[order], place[order], group[order]
    new = _new(table)
    kept = np.maximum.accumulate(np.where(new, np.arange(len(table)), 0))[~new]
    told = np.zeros(len(kept), KEPT)
    told["part"], told["group"] = part.part_of(place)[~new], group[~new]
    told["place"], told["start"], told["end"] = place[kept], table["start"][kept], table["end"][kept]
    save(here / "repeats.npy", told[np.argsort(told["part"], kind="stable")])
    return {}


def cuts(here: Path, number: int, of: int, parts: int, folder: Path) -> cap.Tallies:
    """Write what is cut out of part `number`: every unit but the one of its hash that stays."""
    table = np.array(load(part.part_folder(folder, number) / "units.npy"))
    new, places = _new(table), part.places(number, table["row"])
    kept = np.zeros(np.count_nonzero(new), KEPT)
    kept["place"], kept["start"], kept["end"] = places[new], table["start"][new], table["end"][new]
    for partition in range(of):
        told = load(passes.result(folder, _REPEATS, partition) / "repeats.npy")
        told = np.array(told[slice(*np.searchsorted(told["part"], (number, number + 1)))])
        kept[told["group"]] = told
    kept = kept[np.cumsum(new) - 1]
    goes = (kept["place"] != places) | (kept["start"] != table["start"])
    gone = np.zeros(np.count_nonzero(goes), CUT)
    gone["place"], gone["start"], gone["end"] = places[goes], table["start"][goes], table["end"][goes]
    for field in ("place", "start", "end"):
        gone[f"kept_{field}"] = kept[field][goes]
    gone = gone[np.lexsort((gone["start"], gone["place"]))]
    save(here / "cuts.npy", gone)
    documents = part.Documents(folder, parts)
    shares = (gone["end"] - gone["start"]) / np.maximum(documents.of(gone["place"])["length"], 1)
    return cap.tally(number, gone["place"], gone["kept_place"], shares, documents)
