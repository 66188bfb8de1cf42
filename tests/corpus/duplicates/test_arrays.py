"""Ragged rows beside lists of lists; a file that is whole or not there."""

import errno

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from jaxlm.corpus.duplicates.arrays import Ragged, joined, load, offsets_of, save
from tests.faults import injector

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged(
        np.array([value for row in rows for value in row], np.int64), offsets_of(np.array([len(row) for row in rows]))
    )


def lists(rows: Ragged) -> list[list[int]]:
    return [rows.row(index).tolist() for index in range(len(rows.counts))]


@given(LISTS, st.data())
def test_rows_are_taken_thinned_and_joined_as_lists_are(rows, data):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    assert lists(ragged(rows).take(np.array(chosen, np.int64))) == [rows[index] for index in chosen]
    odd = [[value for value in row if value % 2] for row in rows]
    assert lists(ragged(rows).where(ragged(rows).flat % 2 == 1)) == odd
    assert lists(joined([ragged(rows), ragged(odd)])) == rows + odd


def test_what_is_saved_comes_back_even_if_it_is_nothing(tmp_path):
    for number, array in enumerate([np.arange(5), np.zeros(0, np.uint64), np.zeros((2, 0), np.uint64)]):
        save(tmp_path / "deep" / f"{number}.npy", array)
        assert np.array_equal(load(tmp_path / "deep" / f"{number}.npy"), array)


def test_a_save_writes_what_numpy_would(tmp_path):
    rows = np.zeros(3, [("place", "<u8"), ("goes", "?")])
    for array in (rows, rows[:0], np.arange(6).reshape(2, 3).T, np.array(1.5)):
        save(tmp_path / "ours.npy", array)
        np.save(tmp_path / "numpys.npy", np.asarray(array, order="C"))
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpys.npy").read_bytes()


def test_a_save_that_fails_says_why_and_leaves_what_was_there(tmp_path):
    save(tmp_path / "a.npy", np.arange(5))
    with injector.file_size_limit(9_000), pytest.raises(OSError) as error:
        save(tmp_path / "a.npy", np.arange(9_000))
    assert error.value.errno == errno.EFBIG
    assert load(tmp_path / "a.npy").tolist() == [0, 1, 2, 3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
