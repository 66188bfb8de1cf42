"""Row plans: how the token stream becomes rows of `length` predicted tokens.

    packed    whole documents (data/fit.py); one longer than a row is cut into full rows and a rest.
              Documents of a row do not see each other (Ding et al. 2024, arXiv:2404.10830)
    chunked   row r predicts the r-th `length` tokens of the stream; documents run on, as in GPT-2, nanoGPT
    lanes     the stream in `batch` equal lanes; lane b of batch t goes on where it stopped in batch t - 1,
              for recurrent state carried over (truncated backpropagation through time)

Each plan predicts each token but the first exactly once; what is left of a row is padding, in training too.
`chunked` and `lanes` are arithmetic, `packed` is an index kept in `plans/` beside the shards. Another length
or batch needs another plan, not another tokenisation. Where text is mixed (data/mixed.py) each component has a plan of
its own, of its documents alone, and these are joined, the rows of one after those of the other.
Left out: reading the stream (data/rows.py), the order of rows (data/order.py).
"""

import logging
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import xxhash

from jaxlm.data import fit
from jaxlm.data.rows import Spans
from jaxlm.data.shards import PLANS, Shards
from jaxlm.errors import UserError

log = logging.getLogger(__name__)

Kind = Literal["packed", "chunked", "lanes"]
_VERSION = 2  # of what `fill_rows` makes: a plan of another version is made anew


class Part(NamedTuple):
    """Some documents of a split, which have a plan of their own."""

    name: str  # in files
    documents: np.ndarray  # their numbers, ascending


class Chunked:
    def __init__(self, predicted: int, length: int):
        self.length, self.rows = length, -(-predicted // length)
        self._end = predicted

    def spans(self, rows: np.ndarray) -> Spans:
        count = np.clip(self._end - rows * self.length, 0, self.length)
        row = np.flatnonzero(count)
        return Spans(row, rows[row] * self.length, count[row], np.zeros(row.size, np.int64))


class Runs:
    """As chunked, of documents that lie apart: each run of neighbours goes on where the one before it stopped.

    Run i fills the row tokens from place[i] on, row tokens being counted through all rows.
    """

    def __init__(self, length: int, rows: int, place: np.ndarray, start: np.ndarray, count: np.ndarray):
        self.length, self.rows = length, rows
        self.place, self.end, self.start, self.count = place, place + count, start, count
        self.tokens = int(count.sum())

    @classmethod
    def of(cls, offsets: np.ndarray, documents: np.ndarray, length: int) -> "Runs":
        begin, end = offsets[documents], offsets[documents + 1]
        opens = np.flatnonzero(np.append(True, begin[1:] != end[:-1]))
        start = begin[opens]
        count = end[np.append(opens[1:], documents.size) - 1] - start
        return cls(length, -(-int(count.sum()) // length), np.cumsum(count) - count, start, count)

    @classmethod
    def joined(cls, plans: "Sequence[Runs]") -> "Runs":
        places = [plan.place + base * plan.length for plan, base in zip(plans, bases(plans)[:-1], strict=True)]
        start, count = (np.concatenate([getattr(plan, name) for plan in plans]) for name in ("start", "count"))
        return cls(plans[0].length, sum(plan.rows for plan in plans), np.concatenate(places), start, count)

    def spans(self, rows: np.ndarray) -> Spans:
        begin = rows * self.length
        first = np.searchsorted(self.end, begin, side="right")
        last = np.searchsorted(self.place, begin + self.length, side="left")
        row, run = _ranges(first, np.maximum(first, last))
        at = np.maximum(begin[row], self.place[run])
        end = np.minimum(begin[row] + self.length, self.end[run])
        return Spans(row, self.start[run] + at - self.place[run], end - at, at - begin[row])


class Lanes:
    """Row t * lanes + b is step t of lane b; only the last rows of a lane are short or empty.

    A lane opens a document where it begins, even inside one: position 0 always means a fresh state.
    """

    def __init__(self, offsets: np.ndarray, length: int, lanes: int):
        self._offsets, self._lanes = offsets, lanes
        self._lane_tokens = -(-int(offsets[-1]) // lanes)
        self.length, self.rows = length, -(-self._lane_tokens // length) * lanes

    def spans(self, rows: np.ndarray) -> Spans:
        step, lane = np.divmod(rows, self._lanes)
        lane_start = np.minimum(lane * self._lane_tokens, self._offsets[-1])
        lane_end = np.minimum(lane_start + self._lane_tokens, self._offsets[-1])
        start = np.minimum(lane_start + step * self.length, lane_end)
        end = np.minimum(start + self.length, lane_end)
        first = np.searchsorted(self._offsets, start, side="right") - 1  # the documents that the row touches
        last = np.searchsorted(self._offsets, end, side="left")
        row, document = _ranges(first, np.where(end > start, last, first))
        span_start = np.maximum(start[row], self._offsets[document])
        span_end = np.minimum(end[row], self._offsets[document + 1])
        opened = np.maximum(lane_start[row], self._offsets[document])
        return Spans(row, span_start, span_end - span_start, span_start - opened)


class Packed:
    """Row r is the spans first[r] to first[r + 1] - 1."""

    def __init__(self, length: int, first: np.ndarray, start: np.ndarray, count: np.ndarray):
        self.length, self.rows = length, first.size - 1
        self.first, self.start, self.count = first, start, count
        self.tokens = int(count.sum())

    @classmethod
    def joined(cls, plans: "Sequence[Packed]") -> "Packed":
        sizes = np.concatenate([np.diff(plan.first) for plan in plans])
        start, count = (np.concatenate([getattr(plan, name) for plan in plans]) for name in ("start", "count"))
        return cls(plans[0].length, np.append(0, np.cumsum(sizes)), start, count)

    def spans(self, rows: np.ndarray) -> Spans:
        row, span = _ranges(self.first[np.minimum(rows, self.rows)], self.first[np.minimum(rows + 1, self.rows)])
        return Spans(row, self.start[span], self.count[span], np.zeros(span.size, np.int64))


Plan = Packed | Chunked | Runs | Lanes  # `rows` rows of `length` tokens; a row asked for beyond them is empty


def bases(plans: Sequence) -> np.ndarray:
    """The first row of each plan where they are joined, and how many rows there are in all."""
    return np.append(0, np.cumsum([plan.rows for plan in plans]))


def plan(
    shards: Shards,
    split: str,
    kind: Kind,
    length: int,
    batch: int,
    *,
    closed: bool = False,
    part: Part | None = None,
) -> Plan:
    """The row plan of a split or a part of it; `batch` is the number of lanes, the other kinds do not depend on it.

    `closed`: packed documents are read with the separator after them.
    """
    predicted = shards.counts(split)["predicted"]
    if predicted == 0:
        raise UserError(
            f"split {split!r} of {shards.folder} has no documents: give it a larger fraction in data.split, "
            f"or more text in data.source"
        )
    if kind != "chunked" or part is not None:
        shards.require_in_order(split)
    if kind == "chunked" and part is not None:
        return Runs.of(np.asarray(shards.offsets(split), np.int64), part.documents, length)
    if kind == "chunked":
        return Chunked(predicted, length)
    if kind == "lanes":
        return Lanes(np.asarray(shards.offsets(split), np.int64), length, batch)
    return _stored(shards, split, length, closed, part)


def fill_rows(
    offsets: np.ndarray,
    length: int,
    most: int | None = None,
    whole: bool = False,
    more: int = 0,
    documents: np.ndarray | None = None,
) -> Packed:
    """Pack the documents that lie between `offsets` into as few rows as data/fit.py finds.

    `documents` are the numbers of those that are packed; None: all.

    A document longer than a row is first cut into pieces of exactly `length` and a rest; where it must stay `whole`
    the rest is left out. `most` documents share a row; None: as many as fit. `more` tokens after a document belong to
    it too: the separator that opens the next, for a model that reads what closes a text.
    """
    begin, end = (offsets[:-1], offsets[1:]) if documents is None else (offsets[documents], offsets[documents + 1])
    document_tokens = end - begin + more
    if whole:
        document_tokens = np.minimum(document_tokens, length)
    document, piece = _ranges(np.zeros_like(document_tokens), -(-document_tokens // length))
    start = begin[document] + piece * length
    count = np.minimum(begin[document] + document_tokens[document] - start, length)
    order = np.argsort(-count, kind="stable")
    row = np.empty(count.size, np.int64)
    row[order] = fit.rows_of(count[order].tolist(), length, most or length)
    order = np.lexsort((start, row))
    first = np.searchsorted(row[order], np.arange(row.max() + 2))
    return Packed(length, first, start[order], count[order])


def _ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(i, x) for every i and every x from start[i] to stop[i] - 1."""
    sizes = stop - start
    owner = np.repeat(np.arange(sizes.size), sizes)
    return owner, np.arange(owner.size) + np.repeat(start - (np.cumsum(sizes) - sizes), sizes)


def _stored(shards: Shards, split: str, length: int, closed: bool, part: Part | None) -> Packed:
    """The packed plan from `plans/`, made and kept there if it is missing or damaged."""
    of = "" if part is None else f"-{part.name}"
    path = shards.folder / PLANS / f"{split}-packed-{length}{'-closed' if closed else ''}{of}.plan"
    stored = _read(path, shards.digest, length, shards.counts(split)["predicted"])
    if stored is not None:
        return stored
    documents = None if part is None else part.documents
    offsets = np.asarray(shards.offsets(split), np.int64)
    packed = fill_rows(offsets, length, more=int(closed), documents=documents)
    content = np.concatenate([[packed.rows], packed.first, packed.start, packed.count]).astype("<i8").tobytes()
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")  # processes may share the folder
    try:
        path.parent.mkdir(exist_ok=True)
        if path.parent.is_symlink():
            raise OSError(f"{path.parent} is a link")
        beside.write_bytes(_seal(content, path.name, shards.digest) + content)
        os.replace(beside, path)
    except OSError as error:  # a read-only or full disk: the plan is right, only not kept
        log.warning("%s is not kept, so the next run packs again: %s", path, error)
        if beside.is_file():
            beside.unlink()
    return packed


def _read(path: Path, digest: str, length: int, predicted: int) -> Packed | None:
    if not path.is_file():
        return None
    sealed = path.read_bytes()
    seal, content = sealed[:16], sealed[16:]
    if seal != _seal(content, path.name, digest):
        log.warning("%s is damaged or belongs to other shards: packing again", path)
        return None
    numbers = np.frombuffer(content, "<i8")
    try:
        first, rest = np.split(numbers[1:], [numbers[0] + 1])
        start, count = np.split(rest, 2)
    except (ValueError, IndexError):
        first = start = count = np.zeros(0, np.int64)
    if not _is_within(first, start, count, length, predicted):
        log.warning("%s is no plan of these shards: packing again", path)
        return None
    return Packed(length, first, start, count)


def _is_within(first: np.ndarray, start: np.ndarray, count: np.ndarray, length: int, predicted: int) -> bool:
    """Do the spans lie in the stream, and fill no row beyond its end? A plan may come with shards from elsewhere."""
    if not first.size or first[0] != 0 or first[-1] != start.size or (np.diff(first) < 0).any() or not start.size:
        return False
    ends = start + count
    tokens = np.append(0, np.cumsum(count))[first]
    return bool(
        start.min() >= 0 and count.min() > 0 and count.max() <= length and ends.max() <= predicted + 1
        and np.diff(tokens).max() <= length
    )  # fmt: skip


def _seal(content: bytes, name: str, digest: str) -> bytes:
    seal = xxhash.xxh3_128(f"{_VERSION} {digest} {name}".encode())
    seal.update(content)
    return seal.digest()
