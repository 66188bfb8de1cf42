"""An objective decides what is hidden and what is asked."""

import numpy as np

from jaxlm.data.ids import Ids
from jaxlm.data.objectives import NextToken, build
from jaxlm.data.pack import best_fit_decreasing
from jaxlm.data.rows import cut


def built(rows):
    known = Ids(6, separator=0, start=0, mask=6, sentinels=np.arange(0), begins_word_V=np.ones(6, bool))
    return build(NextToken(), rows, known, seed=0, numbers=np.arange(len(rows.token)))


def test_next_token_asks_for_the_token_that_follows_within_each_document():
    stream = np.array([0, 1, 2, 3, 0, 4, 0, 5, 0], np.uint16)  # 0 opens documents and closes the stream
    packed = best_fit_decreasing(np.array([0, 4, 6, 8]), length=6)
    batch = built(cut(stream, packed.spans(np.arange(2)), 2, 6))
    assert batch.token.tolist() == [[0, 1, 2, 3, 0, 4], [0, 5, 0, 0, 0, 0]]
    assert batch.target.tolist() == [[1, 2, 3, 0, 4, 0], [5, 0, 0, 0, 0, 0]]
    assert batch.weight.tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]]
    assert batch.segment.tolist() == [[1, 1, 1, 1, 2, 2], [1, 1, 0, 0, 0, 0]]
    assert batch.position.tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 0, 0, 0, 0]]
    assert [field.dtype for field in batch[:5]] == [np.int32, np.int32, np.float32, np.int32, np.int32]


def test_the_rest_of_a_long_document_opens_with_the_token_before_it():
    stream = np.array([0, 1, 2, 3, 4, 0, 5, 0], np.uint16)
    packed = best_fit_decreasing(np.array([0, 5, 7]), length=4)
    batch = built(cut(stream, packed.spans(np.arange(2)), 2, 4))
    assert batch.token.tolist() == [[0, 1, 2, 3], [4, 0, 5, 0]]
    assert batch.target.tolist() == [[1, 2, 3, 4], [0, 5, 0, 0]]
    assert batch.weight.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.segment.tolist() == [[1, 1, 1, 1], [1, 2, 2, 0]]
