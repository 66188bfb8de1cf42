"""Objectives: how rows of the stream become a Batch, that is what is hidden and what is asked.

The default loss, weighted cross-entropy, serves them all. An objective is a config; `build` makes its batches.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeGuard, get_args, runtime_checkable

import numpy as np
import pydantic

from jaxlm.batch import Batch, Source
from jaxlm.config import Config, dump
from jaxlm.data import examples, masking
from jaxlm.data.examples import Classification, Extraction, Labelled, SequenceToSequence, Tagging
from jaxlm.data.ids import Ids
from jaxlm.data.masking import Masked, Prefix, Spans
from jaxlm.data.pack import Kind, Part
from jaxlm.data.pack import plan as text_plan
from jaxlm.data.rows import Rows, closed, cut
from jaxlm.data.shards import Shards

_FIELDS = {"source_field", "target_field", "second_field", "label_field", "classes", "question_field", "answers_field"}

ASKED = {"classification": "example", "tagging": "word", "extraction": "answer end"}  # of other kinds a token


class NextToken(Config):
    """Predict each token from those before it."""

    kind: Literal["next_token"] = "next_token"


ObjectiveConfig = Annotated[
    NextToken | Masked | Spans | Prefix | SequenceToSequence | Classification | Tagging | Extraction,
    pydantic.Field(discriminator="kind"),
]


def labelled(objective: ObjectiveConfig) -> TypeGuard[Labelled]:
    """Does it need examples with labels, and not just text?"""
    return isinstance(objective, get_args(Labelled))


def answers(objective: ObjectiveConfig) -> bool:
    """Is what it learns to say no text, but classes or places?"""
    return isinstance(objective, Classification | Tagging | Extraction)


def asked(objective: ObjectiveConfig) -> str:
    """What it asks for, one by one, in the plural."""
    return ASKED.get(objective.kind, "token") + "s"


def parts(objective: ObjectiveConfig) -> int:
    """How many documents of the stream an example is."""
    two = isinstance(objective, SequenceToSequence | Extraction)
    return 2 if two or (isinstance(objective, Classification) and objective.second_field is not None) else 1


def fields(objective: ObjectiveConfig) -> dict[str, Any]:
    """What of a labelled objective decides what its shards hold."""
    return {name: value for name, value in dump(objective).items() if name == "kind" or name in _FIELDS}


@runtime_checkable
class Known(Protocol):
    """What shards and tokenizers know of ids."""

    vocab: int
    separator: int
    closing: int

    @property
    def sentinels(self) -> Sequence[int]: ...

    @property
    def mask(self) -> int | None: ...

    @property
    def start(self) -> int: ...


def vocabulary(objective: ObjectiveConfig, length: int, known: Known) -> int:
    """How many ids a model needs: the tokenizer's, and those that the objective adds."""
    if isinstance(objective, Masked):
        return known.vocab + (known.mask is None)
    spans = masking.hidden_spans(objective, length)[1] if isinstance(objective, Spans) else 0
    return known.vocab + max(0, spans - len(known.sentinels))


def ids(objective: ObjectiveConfig, length: int, known: Known, begins_word_V: np.ndarray) -> Ids:
    """The tokenizer's ids and, after them, those that the objective adds, where the tokenizer has none of its own."""
    more = np.arange(known.vocab, vocabulary(objective, length, known), dtype=np.int32)
    mask = known.vocab if known.mask is None else known.mask
    sentinels = np.concatenate([np.array(known.sentinels, np.int32), more])
    return Ids(known.vocab, known.separator, known.start, mask, sentinels, begins_word_V, known.closing)


def build(objective: ObjectiveConfig, rows: Rows, ids: Ids, seed: int, numbers: np.ndarray) -> Batch:
    """The Batch that `objective` makes of rows of text; arrays are shared with them where nothing is hidden.

    `numbers` are those of the rows in all that is read, epoch after epoch: with `seed`, they decide what is hidden.

    >>> import numpy as np
    >>> row = np.array([[0, 7, 8, 0]], np.int32)
    >>> segment, position = np.ones((1, 3), np.int32), np.arange(3, dtype=np.int32)[None]
    >>> rows = Rows(row[:, :-1], row[:, 1:], segment.astype(np.float32), segment, position)
    >>> of_text = Ids(9, separator=0, start=0, mask=9, sentinels=np.arange(0), begins_word_V=np.ones(9, bool))
    >>> build(NextToken(), rows, of_text, seed=0, numbers=np.arange(1)).target
    array([[7, 8, 0]], dtype=int32)
    """
    if isinstance(objective, Masked):
        return masking.masked(objective, rows, ids, seed, numbers)
    if isinstance(objective, Spans):
        return masking.spans(objective, rows, ids, seed, numbers)
    if isinstance(objective, Prefix) and objective.source:
        return masking.prefix_and_rest(objective, rows, ids)
    if isinstance(objective, Prefix):
        return masking.prefix(objective, rows, seed, numbers)
    return Batch(rows.token, rows.following, rows.weight, rows.segment, rows.position)


BatchOfRows = Callable[[np.ndarray, np.ndarray], Batch]


def reader(shards: Shards, split: str, plan, objective: ObjectiveConfig, ids: Ids, seed: int) -> BatchOfRows:
    """(rows of the plan, their numbers in all that is read) -> Batch."""
    stream = np.asarray(shards.tokens(split))  # memmap's own indexing is slower
    if labelled(objective):
        return lambda rows, numbers: examples.build(objective, plan, shards, split, rows)
    ends = shards.separator, shards.closing
    text = lambda rows: closed(cut(stream, plan.spans(rows), rows.size, plan.length), *ends)
    return lambda rows, numbers: build(objective, text(rows), ids, seed, numbers)


def row_plan(
    shards: Shards,
    split: str,
    objective: ObjectiveConfig,
    rows: Kind,
    length: int,
    batch: int,
    part: Part | None = None,
):
    """How a split, or a part of its documents or examples, becomes rows: `rows` is data.rows."""
    if labelled(objective):
        return examples.plan(shards, split, objective, length, part)
    closed = isinstance(objective, Masked) and shards.closing != shards.separator
    return text_plan(shards, split, rows, length, batch, closed=closed, part=part)


def example(objective: ObjectiveConfig, batch: int, length: int) -> Batch:
    """A Batch of the shapes that `build` makes of `batch` rows of `length`, each one document of token 1."""
    ones = np.ones((batch, length), np.int32)
    position = np.tile(np.arange(length, dtype=np.int32), (batch, 1))
    rows = Rows(ones, ones, ones.astype(np.float32), ones, position)
    some = lambda count: np.ones((batch, count), np.int32)
    if isinstance(objective, SequenceToSequence):
        M = objective.source_length
        source = Source(some(M), some(M), np.tile(np.arange(M, dtype=np.int32), (batch, 1)))
        return Batch(ones, ones, rows.weight, ones, position, source=source)
    if isinstance(objective, Classification):
        where = np.tile(np.arange(objective.texts, dtype=np.int32) % length, (batch, 1))
        kind = None if objective.second_field is None else ones
        return Batch(ones, where * 0, where * 0 + np.float32(1), ones, position, kind=kind, where=where)
    if isinstance(objective, Extraction):
        return Batch(ones, some(2), some(2).astype(np.float32), ones, position, kind=ones)
    few = Ids(2, 0, 0, 1, np.ones(length, np.int32), np.ones(2, bool))
    return build(objective, rows, few, seed=0, numbers=np.arange(batch))
