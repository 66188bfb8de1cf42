"""Pieces share rows as tightly as the two ways of fitting them promise."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.data import fit

LENGTH = 12
decreasing = st.lists(st.integers(1, LENGTH), min_size=1, max_size=12).map(lambda sizes: sorted(sizes, reverse=True))


def filled(sizes, row):
    return np.bincount(row, sizes).astype(int).tolist()


@given(decreasing)
def test_each_piece_goes_where_it_fits_tightest(sizes):
    room = []
    for size in sizes:
        fitting = [r for r in room if r >= size]
        if fitting:
            room.remove(min(fitting))
        room.append((min(fitting) if fitting else LENGTH) - size)
    row = fit.best_fit(sizes, LENGTH, LENGTH)
    assert sorted(LENGTH - tokens for tokens in filled(sizes, row)) == sorted(room)


@given(decreasing)
def test_a_row_is_filled_as_well_as_what_is_left_allows(sizes):
    left = list(range(len(sizes)))
    for row in fit.fill(sizes, left, LENGTH):
        first, *others = left
        assert row[0] == first
        sets = itertools.chain.from_iterable(itertools.combinations(others, n) for n in range(len(left)))
        sums = (sizes[first] + sum(sizes[piece] for piece in some) for some in sets)
        assert sum(sizes[piece] for piece in row) == max(one for one in sums if one <= LENGTH)
        left = [piece for piece in left if piece not in row]
    assert not left


@given(decreasing)
def test_filling_once_more_never_takes_more_rows(sizes):
    row = fit.rows_of(sizes, LENGTH, LENGTH)
    assert len(row) == len(sizes) and set(row) == set(range(max(row) + 1))
    assert max(filled(sizes, row)) <= LENGTH
    assert max(row) <= max(fit.best_fit(sizes, LENGTH, LENGTH))


def test_rows_that_best_fit_leaves_with_gaps_are_filled_once_more():
    sizes = [6, 5, 4, 4, 3, 2]  # 6 + 4 + 2 and 5 + 4 + 3, but 5 fits tightest beside 6
    assert filled(sizes, fit.best_fit(sizes, 12, 12)) == [11, 11, 2]
    assert filled(sizes, fit.rows_of(sizes, 12, 12)) == [12, 12]


def test_a_row_holds_no_more_pieces_than_it_may():
    sizes = sorted(np.random.default_rng(0).integers(1, 200, 500).tolist(), reverse=True)
    row = fit.rows_of(sizes, 1_024, 4)
    assert np.bincount(row).max() == 4
