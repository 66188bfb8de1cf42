"""Labelled examples: texts that come with a translation, a class, tags or an answer.

An example is one or two documents of the stream, one after the other; its labels are a second stream, an int32 for
each token (-1: none), written and cut as the tokens are. What a class as a whole is stands at the separator that
opens its text. So examples share shards, rows and loader with plain text.
"""

import copy
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
import pydantic

from jaxlm.batch import Batch, Source
from jaxlm.config import Config
from jaxlm.data.pack import Packed, Part, fill_rows
from jaxlm.data.rows import Rows, Spans, closed, cut
from jaxlm.data.shards import NOTHING, Shards

FIRST, LAST = 1, 2  # labels of an answer's two ends; one token that is both has their sum
_OPEN_ROWS = 256  # chosen: a pair is tried in this many rows; more fill no better


def _no_class_twice(classes: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for number, name in enumerate(classes) if name in classes[:number]]:
        raise ValueError(f"{twice[0]!r} stands there twice: name each class once")
    return classes


Classes = Annotated[tuple[str, ...], pydantic.Field(min_length=2), pydantic.AfterValidator(_no_class_twice)]


class SequenceToSequence(Config):
    """Write one text from another: translation, summaries."""

    kind: Literal["seq2seq"] = "seq2seq"
    source_field: str = "source"
    target_field: str = "target"
    source_length: int = pydantic.Field(gt=0)  # tokens of a row of sources; data.length is that of targets


class Classification(Config):
    """Say of which class a text is, or two texts together."""

    kind: Literal["classification"] = "classification"
    second_field: str | None = None  # of the other text; the first is in data.text_field
    label_field: str = "label"
    classes: Classes
    at: Literal["first", "last"] = "first"  # token that is asked; a causal model knows the whole text at the last only
    texts: int = pydantic.Field(default=8, gt=0)  # most examples of a row


class Tagging(Config):
    """Say of which class each word is: data.text_field holds a list of words."""

    kind: Literal["tagging"] = "tagging"
    label_field: str = "tags"
    classes: Classes


class Extraction(Config):
    """Find the first and the last token of an answer (SQuAD, Rajpurkar et al. 2016, arXiv:1606.05250).

    Where a row holds no answer, the answer is the row's first token (Devlin et al. 2019, section 4.3).
    """

    kind: Literal["extraction"] = "extraction"
    question_field: str = "question"
    answers_field: str = "answers"  # {"text": [...], "answer_start": [characters]}; the first is learned
    question_length: int = pydantic.Field(default=64, gt=0)  # most tokens of a question
    stride: int = pydantic.Field(default=128, gt=0)  # tokens that two rows of one long text share


Labelled = SequenceToSequence | Classification | Tagging | Extraction


class Pairs:
    """Rows of sources and rows of targets; document 2 i is the source of 2 i + 1, and they lie in equal rows."""

    def __init__(
        self, offsets: np.ndarray, source_length: int, length: int, opens: bool = True, part: Part | None = None
    ):
        """`opens`: a source has both of its separators, and not only the one that closes it (data/source.py)."""
        self.length, self.source_length = length, source_length
        start, sizes = pairs_of(offsets, part)
        sizes = sizes + np.array([int(opens), 0])
        self._start = start + np.array([int(not opens), 0])
        self._count = np.minimum(sizes, [source_length, length])
        row = place_pairs(self._count, np.array([source_length, length]))
        self._order = np.argsort(row, kind="stable")
        self._first = np.searchsorted(row[self._order], np.arange(row.max(initial=-1) + 2))
        self.rows, self.tokens = self._first.size - 1, int(self._count[:, 1].sum())

    @classmethod
    def joined(cls, plans: "Sequence[Pairs]") -> "Pairs":
        made = copy.copy(plans[0])
        pairs = np.append(0, np.cumsum([plan._order.size for plan in plans]))
        made._start, made._count = (np.concatenate([getattr(p, name) for p in plans]) for name in ("_start", "_count"))
        made._order = np.concatenate([plan._order + base for plan, base in zip(plans, pairs[:-1], strict=True)])
        made._first = np.append(0, np.cumsum(np.concatenate([np.diff(plan._first) for plan in plans])))
        made.rows, made.tokens = made._first.size - 1, sum(plan.tokens for plan in plans)
        return made

    def spans(self, rows: np.ndarray) -> tuple[Spans, Spans]:
        """Of the sources and of the targets of `rows`."""
        first, last = (self._first[np.minimum(rows + end, self.rows)] for end in (0, 1))
        row = np.repeat(np.arange(rows.size), last - first)
        within = np.arange(row.size) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
        pair = self._order[first[row] + within]
        nowhere = np.zeros(pair.size, np.int64)
        source, target = (Spans(row, self._start[pair, n], self._count[pair, n], nowhere) for n in (0, 1))
        return source, target


def pairs_of(offsets: np.ndarray, part: Part | None) -> tuple[np.ndarray, np.ndarray]:
    """(start, size) of both documents of each example."""
    both = offsets[:-1].reshape(-1, 2), np.diff(offsets).reshape(-1, 2)
    return both if part is None else (both[0][part.documents], both[1][part.documents])


def place_pairs(count: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The row of each pair of sizes, largest share first, each where it leaves the least room."""
    order = np.argsort(-(count / room).max(axis=1), kind="stable")
    row = np.empty(len(count), np.int64)
    left = np.zeros((_OPEN_ROWS, 2), np.int64)  # of the open rows; a row that is nearly full makes place for a new one
    names, rows = np.zeros(_OPEN_ROWS, np.int64), 0
    for pair in order:
        after = left - count[pair]
        fits = np.min(after, axis=1) >= 0
        slot = int(np.argmin(np.where(fits, after.sum(axis=1), np.iinfo(np.int64).max)))
        if not fits[slot]:
            slot = int(np.argmin(left.min(axis=1)))
            left[slot], names[slot], rows = room, rows, rows + 1
        row[pair] = names[slot]
        left[slot] -= count[pair]
    return row


class Questions:
    """Row by row a question, a separator and a piece of the text that may answer it; long texts have several rows."""

    def __init__(self, offsets: np.ndarray, objective: Extraction, length: int, part: Part | None = None):
        self.length = length
        start, sizes = pairs_of(offsets, part)
        asked, text = (sizes - [0, 1]).T  # the separator before the text is in each row
        asked = np.minimum(asked, objective.question_length)
        room = length - asked - 1
        step = room - objective.stride
        pieces = 1 + np.maximum(-(-(text - room) // step), 0)
        example = np.repeat(np.arange(len(start)), pieces)
        piece = np.arange(example.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        begin = piece * step[example]
        separator = start[example, 1]
        self._parts = (
            (start[example, 0], asked[example]),
            (separator, np.ones_like(separator)),
            (separator + 1 + begin, np.minimum(text[example] - begin, room[example])),
        )
        self.rows, self.tokens = example.size, int(sum(count.sum() for _, count in self._parts))

    @classmethod
    def joined(cls, plans: "Sequence[Questions]") -> "Questions":
        made = copy.copy(plans[0])
        joined = lambda part, end: np.concatenate([plan._parts[part][end] for plan in plans])
        made._parts = tuple((joined(part, 0), joined(part, 1)) for part in range(3))
        made.rows, made.tokens = sum(plan.rows for plan in plans), sum(plan.tokens for plan in plans)
        return made

    def spans(self, rows: np.ndarray) -> Spans:
        there = np.flatnonzero(rows < self.rows)
        of_all = lambda n: np.stack([part[n][rows[there]] for part in self._parts], axis=1).ravel()
        return Spans(np.repeat(there, 3), of_all(0), of_all(1), np.zeros(3 * there.size, np.int64))


def plan(
    shards: Shards, split: str, objective: Labelled, length: int, part: Part | None = None
) -> "Pairs | Questions | Packed":
    """The rows that the examples of a split make, or some of them: those that `part` numbers."""
    offsets = np.asarray(shards.offsets(split), np.int64)
    if isinstance(objective, SequenceToSequence):
        return Pairs(offsets, objective.source_length, length, opens=shards.start == shards.separator, part=part)
    if isinstance(objective, Extraction):
        return Questions(offsets, objective, length, part)
    examples = None if part is None else part.documents
    if isinstance(objective, Tagging):
        return fill_rows(offsets, length, documents=examples)
    more = int(closes(objective, shards))
    of = offsets[:: shards.parts]
    return fill_rows(of, length, most=objective.texts, whole=True, more=more, documents=examples)


def closes(objective: Labelled, shards: Shards) -> bool:
    """Does each text end with a token of its own, as BERT has it?

    Where the last token is asked, that is a text's own: a model that is read from one side ends its rows so.
    """
    return shards.closing != shards.separator and isinstance(objective, Classification) and objective.at == "first"


class Cut(NamedTuple):
    """Texts that are longer than their rows, and so lose their end."""

    count: int
    texts: int
    what: str
    field: str  # that says how long a row is


def cuts(shards: Shards, split: str, objective: Labelled, length: int) -> list[Cut]:
    """What a plan leaves out; [] where nothing."""
    offsets = np.asarray(shards.offsets(split), np.int64)
    documents = np.diff(offsets)
    rooms: list[tuple[str, str, np.ndarray, int]] = []
    if isinstance(objective, SequenceToSequence):
        sources = documents[::2] + int(shards.start == shards.separator)
        rooms = [
            ("sources", "data.objective.source_length", sources, objective.source_length),
            ("targets", "data.length", documents[1::2], length),
        ]
    elif isinstance(objective, Extraction):
        rooms = [("questions", "data.objective.question_length", documents[::2], objective.question_length)]
    elif isinstance(objective, Classification):
        whole = np.diff(offsets[:: shards.parts]) + int(closes(objective, shards))
        rooms = [("examples", "data.length", whole, length)]
    found = [Cut(int((sizes > room).sum()), sizes.size, what, field) for what, field, sizes, room in rooms]
    return [cut for cut in found if cut.count]


def build(objective: Labelled, plan, shards: Shards, split: str, rows: np.ndarray) -> Batch:
    """The Batch of the rows numbered `rows` of `plan`."""
    stream, spans = shards.tokens(split), plan.spans(rows)
    if isinstance(objective, SequenceToSequence):
        read, text = (
            cut(stream, s, rows.size, n) for s, n in zip(spans, (plan.source_length, plan.length), strict=True)
        )
        source, text = Source(read.token, read.segment, read.position), closed(text, shards.separator, shards.closing)
        first = (text.position == 0) & (text.segment > 0)
        token = np.where(first, np.int32(shards.start), text.token)
        return Batch(token, text.following, text.weight, text.segment, text.position, source=source)
    text = cut(stream, spans, rows.size, plan.length)
    label_BL = np.where(text.segment > 0, cut(shards.labels(split), spans, rows.size, plan.length).token, NOTHING)
    if isinstance(objective, Tagging):
        asked = (label_BL >= 0).astype(np.float32)
        return Batch(text.token, np.maximum(label_BL, 0), asked, text.segment, text.position)
    if isinstance(objective, Extraction):
        return answers(text, label_BL)
    return classes(objective, text, label_BL, shards.separator, shards.closing if closes(objective, shards) else None)


def classes(
    objective: Classification, text: Rows, label_BL: np.ndarray, separator: int, closing: int | None = None
) -> Batch:
    """`where` is the first or the last token of each example of a row.

    With `closing`, it stands after each text, and the separator before each example alone, as BERT has it.
    """
    B, L = text.token.shape
    opens = (text.position == 0) & (text.segment > 0)
    ends = (text.segment > 0) & (np.diff(text.segment, axis=1, append=0) != 0)
    where, target = np.zeros((B, objective.texts), np.int32), np.zeros((B, objective.texts), np.int32)
    weight = np.zeros((B, objective.texts), np.float32)
    row, place = np.nonzero(opens if objective.at == "first" else ends)
    turn = text.segment[row, place] - 1
    label = label_BL[opens]  # in the order of `row` and `turn`, as each example opens once and ends once
    where[row, turn], target[row, turn], weight[row, turn] = place, np.maximum(label, 0), label >= 0
    kind, second = None, (text.token == separator) & ~opens & (text.segment > 0)
    if objective.second_field is not None:
        so_far = np.cumsum(second, axis=1) - (0 if closing is None else second)  # what closes a text is its own
        before = np.take_along_axis(so_far, np.maximum.accumulate(np.where(opens, np.arange(L), 0), axis=1), axis=1)
        kind = ((so_far - before) * (text.segment > 0)).astype(np.int32)
    token = text.token if closing is None else np.where(second | ends, np.int32(closing), text.token)
    return Batch(token, target, weight, text.segment, text.position, kind=kind, where=where)


def answers(text: Rows, label_BL: np.ndarray) -> Batch:
    """`target` is the first and the last token of the answer, "B 2"; a row's spans are its question and two of text."""
    real = text.segment > 0
    marks_BL = np.maximum(label_BL, 0)
    first_BL, last_BL = (marks_BL & FIRST) > 0, (marks_BL & LAST) > 0
    found = np.any(first_BL, axis=1) & np.any(last_BL, axis=1)
    ends = np.stack([np.argmax(first_BL, axis=1), np.argmax(last_BL, axis=1)], axis=1)
    target = np.where(np.expand_dims(found, 1), ends, 0).astype(np.int32)
    weight = np.tile(real[:, :1].astype(np.float32), 2)
    place = np.where(real, np.arange(real.shape[1], dtype=np.int32)[None], 0)
    kind = (text.segment > 1).astype(np.int32)
    return Batch(text.token, target, weight, real.astype(np.int32), place, kind=kind)
