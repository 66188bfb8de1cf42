"""The order of rows is a permutation an epoch, the same everywhere and for ever."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.data.order import Shuffled


@settings(max_examples=25)  # each computes blocks of 16,384
@given(st.integers(1, 3_000), st.text())
def test_every_epoch_has_every_row_once(rows, key):
    order = Shuffled(rows, key)
    for epoch in (0, 1, 7):
        assert sorted(order(epoch * rows, (epoch + 1) * rows)) == list(range(rows))


def test_epochs_and_keys_give_different_orders():
    one, other = Shuffled(500, "one"), Shuffled(500, "other")
    orders = [tuple(order(start, start + 500)) for order in (one, other) for start in (0, 500, 1_000)]
    assert len(set(orders)) == 6


@settings(max_examples=25)  # each computes blocks of 16,384
@given(st.integers(0, 70_000), st.lists(st.integers(1, 20_000), min_size=1, max_size=5))
def test_a_stretch_read_in_parts_is_the_stretch(start, parts):
    order = Shuffled(9_001, "key")
    ends = start + np.cumsum(parts)
    pieces = [order(end - size, end) for end, size in zip(ends.tolist(), parts, strict=True)]
    assert np.array_equal(np.concatenate(pieces), Shuffled(9_001, "key")(start, int(ends[-1])))


def test_the_order_is_as_it_was_written_down():
    """A run that goes on under another version must see the same data: these numbers never change."""
    assert Shuffled(10, "key")(0, 10).tolist() == [4, 5, 6, 8, 1, 9, 2, 7, 0, 3]
    assert Shuffled(10, "key")(10, 20).tolist() == [1, 4, 7, 3, 5, 8, 0, 2, 6, 9]
    far = Shuffled(10**12, "key")(10**15, 10**15 + 3)
    assert far.tolist() == [175_632_054_905, 373_553_656_186, 39_830_257_160]


def test_orders_of_few_rows_are_equally_likely():
    rows, epochs = 4, 24_000
    orders = Shuffled(rows, "key")(0, rows * epochs).reshape(epochs, rows)
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert counts.size == 24
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 49.7  # chi-square, 23 degrees of freedom: p = 0.001


def test_neighbours_do_not_stay_neighbours():
    order = Shuffled(100_000, "key")(0, 100_000)
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(np.arange(100_000), order)[0, 1]) < 0.02
