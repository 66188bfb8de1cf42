"""Rows hold what their spans say, whichever way they are read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.data.pack import Chunked, Lanes, fill_rows
from jaxlm.data.rows import cut


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 50), st.integers(1, 9))
def test_rows_read_the_stream_as_the_definition_says(predicted, length, lanes):
    offsets = np.concatenate([[0], np.cumsum(predicted)])
    stream = np.arange(1_000, 1_001 + offsets[-1], dtype=np.uint16)
    for plan in (
        fill_rows(offsets, length),
        Chunked(int(offsets[-1]), length),
        Lanes(offsets, length, lanes),
    ):
        rows = np.arange(plan.rows + 1)[::-1].copy()
        spans = plan.spans(rows)
        got = cut(stream, spans, rows.size, length)
        token, following, weight, segment, position = (np.zeros((rows.size, length)) for _ in range(5))
        column, number = np.zeros(rows.size, int), np.zeros(rows.size, int)
        for row, start, count, first in zip(*spans, strict=True):
            number[row] += 1
            for i in range(count):
                c = column[row]
                token[row, c], following[row, c] = stream[start + i], stream[start + i + 1]
                weight[row, c], segment[row, c], position[row, c] = 1, number[row], first + i
                column[row] += 1
        for array, expected in zip(got, (token, following, weight, segment, position), strict=True):
            np.testing.assert_array_equal(array, expected)


def test_a_seamless_batch_equals_the_same_rows_among_padded_ones():
    stream = np.arange(100, 121, dtype=np.uint16)
    plan = Chunked(predicted=20, length=8)
    whole = cut(stream, plan.spans(np.arange(2)), 2, 8)  # copied row by row
    among = cut(stream, plan.spans(np.arange(3)), 3, 8)  # gathered token by token
    for one, other in zip(whole, among, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other[:2])
    assert among.weight.sum() == 20
