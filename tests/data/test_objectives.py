"""An objective decides what is hidden and what is asked."""

from typing import NamedTuple

import numpy as np

from jaxlm.data.ids import Ids
from jaxlm.data.masking import Masked, Spans
from jaxlm.data.objectives import NextToken, build, ids, vocabulary
from jaxlm.data.pack import fill_rows
from jaxlm.data.rows import Rows, cut


def built(rows):
    known = Ids(6, separator=0, start=0, mask=6, sentinels=np.arange(0), begins_word_V=np.ones(6, bool))
    return build(NextToken(), rows, known, seed=0, numbers=np.arange(len(rows.token)))


def test_next_token_asks_for_the_token_that_follows_within_each_document():
    stream = np.array([0, 1, 2, 3, 0, 4, 0, 5, 0], np.uint16)  # 0 opens documents and closes the stream
    packed = fill_rows(np.array([0, 4, 6, 8]), length=6)
    batch = built(cut(stream, packed.spans(np.arange(2)), 2, 6))
    assert batch.token.tolist() == [[0, 1, 2, 3, 0, 4], [0, 5, 0, 0, 0, 0]]
    assert batch.target.tolist() == [[1, 2, 3, 0, 4, 0], [5, 0, 0, 0, 0, 0]]
    assert batch.weight.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]]
    assert batch.segment.tolist() == [[1, 1, 1, 1, 2, 2], [1, 1, 0, 0, 0, 0]]
    assert batch.position.tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 0, 0, 0, 0]]
    assert [field.dtype for field in batch[:5]] == [np.int32, np.int32, np.float32, np.int32, np.int32]


def test_the_rest_of_a_long_document_opens_with_the_token_before_it():
    stream = np.array([0, 1, 2, 3, 4, 0, 5, 0], np.uint16)
    packed = fill_rows(np.array([0, 5, 7]), length=4)
    batch = built(cut(stream, packed.spans(np.arange(2)), 2, 4))
    assert batch.token.tolist() == [[0, 1, 2, 3], [4, 0, 5, 0]]
    assert batch.target.tolist() == [[1, 2, 3, 4], [0, 5, 0, 0]]
    assert batch.weight.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.segment.tolist() == [[1, 1, 1, 1], [1, 2, 2, 0]]


# --- ids of tokenizers made elsewhere


class Known(NamedTuple):
    vocab: int = 50
    separator: int = 1
    closing: int = 1
    start: int = 1
    sentinels: tuple[int, ...] = ()
    mask: int | None = None


T5 = Known(start=0, sentinels=tuple(range(49, 29, -1)))


def test_an_objective_uses_the_ids_that_a_tokenizer_has_and_adds_the_rest():
    of = lambda objective, known: ids(objective, 40, known, np.ones(50, bool))
    spans = Spans()  # 6 of 40 tokens, in 2 spans
    assert of(spans, Known()).sentinels.tolist() == [50, 51] and vocabulary(spans, 40, Known()) == 52
    assert of(spans, T5).sentinels.tolist() == list(range(49, 29, -1)) and vocabulary(spans, 40, T5) == 50
    one = T5._replace(sentinels=(49,))
    assert of(spans, one).sentinels.tolist() == [49, 50] and vocabulary(spans, 40, one) == 51
    assert (of(spans, T5).start, of(spans, Known()).start) == (0, 1)
    assert (of(Masked(), Known()).mask, of(Masked(), Known(mask=3)).mask) == (50, 3)
    assert (of(Masked(), Known(closing=2)).end, of(Masked(), Known()).end) == (2, 1)


def test_spans_are_framed_as_t5_frames_them():
    """No token opens the source, the end closes both, padding begins what is written; sentinels count down."""
    text = np.array([[1, *range(10, 25), *range(10, 24)]])  # the separator and 29 tokens
    there = np.ones((1, 30), np.int32)
    rows = Rows(
        text.astype(np.int32),
        text.astype(np.int32),
        there.astype(np.float32),
        there,
        there.cumsum(1, dtype=np.int32) - 1,
    )
    known = ids(Spans(), 30, T5, np.ones(50, bool))
    batch = build(Spans(), rows, known, seed=0, numbers=np.arange(1))
    read, written = batch.source.token[0][batch.source.segment[0] > 0].tolist(), batch.target[0].tolist()
    written = written[: int(batch.weight.sum())]
    assert batch.token[0, : len(written)].tolist() == [0, *written[:-1]]
    assert read[-1] == written[-1] == 1 and 1 not in read[:-1] + written[:-1] and written[0] == 49
    assert [token for token in read if token > 29] == [token for token in written if token > 29] == [49]
    at = read.index(49)
    assert read[:at] + written[1:-1] + read[at + 1 : -1] == text[0, 1:].tolist()


def test_two_pieces_are_framed_as_bert_frames_them():
    text = np.array([[2, *range(10, 29)]], np.int32)
    there = np.ones((1, 20), np.int32)
    rows = Rows(text, text, there.astype(np.float32), there, there.cumsum(1, dtype=np.int32) - 1)
    bert = Known(separator=2, closing=3, start=2, mask=4)
    objective = Masked(sentence_order=True, kept=1.0, replaced=0.0)
    batch = build(objective, rows, ids(objective, 20, bert, np.ones(50, bool)), seed=0, numbers=np.arange(1))
    token, kind = batch.token[0].tolist(), batch.kind[0].tolist()
    assert token[0] == 2 and token[-1] == 3 and token.count(2) == 1 and token.count(3) == 2
    assert kind == [0] * (token.index(3) + 1) + [1] * (19 - token.index(3))
    assert not {2, 3} & {*batch.target[0].tolist()}
