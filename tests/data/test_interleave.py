"""Turns keep to their shares at every point, and where a component stands is arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.data.interleave import PERIOD, Interleave, period, turns

some_counts = st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any)


@settings(max_examples=60)
@given(some_counts)
def test_every_component_is_within_one_turn_of_its_share_at_every_point(counts):
    component, _ = period(tuple(counts))
    came = np.zeros(len(counts), int)
    for turn, number in enumerate(component, start=1):
        came[number] += 1
        errors = [abs(Fraction(c * turn, sum(counts)) - n) for c, n in zip(counts, came, strict=True)]
        assert max(errors) < 1
    assert came.tolist() == counts


@settings(max_examples=40)
@given(
    st.integers(1, 4).flatmap(
        lambda size: st.lists(
            st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any), min_size=1, max_size=3
        )
    ),
    st.lists(st.integers(1, 50), min_size=2, max_size=2),
)
def test_a_stretch_is_what_counting_from_the_start_says_across_stages(counts, sizes):
    begins = np.cumsum([0, *sizes])[: len(counts)].tolist()
    made = Interleave(begins, [tuple(of_stage) for of_stage in counts])
    came, expected = np.zeros(len(counts[0]), int), []
    for turn in range(150):
        assert made.before(turn).tolist() == came.tolist()
        stage = sum(begin <= turn for begin in begins) - 1
        pattern, _ = period(tuple(counts[stage]))
        number = int(pattern[(turn - begins[stage]) % pattern.size])
        expected.append((number, int(came[number])))
        came[number] += 1
    for start, stop in ((0, 150), (7, 8), (31, 97)):
        assert list(zip(*(part.tolist() for part in made(start, stop)), strict=True)) == expected[start:stop]


def test_far_turns_are_as_good_as_near_ones():
    made = Interleave([0], [(3, 5, 1)])
    far = 10**15
    component, before = made(far, far + 9)
    assert np.abs(made.before(far) - np.array([3, 5, 1]) * far / 9).max() < 1
    assert np.bincount(component).tolist() == [3, 5, 1]
    assert before[component == 2].tolist() == [made.before(far)[2]]


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200).filter(lambda shares: sum(shares) > 1e-3))
def test_turns_are_the_shares_rounded_to_a_period(shares):
    shares = np.array(shares)
    found = np.array(turns(shares))
    exact = shares / shares.sum()
    assert PERIOD % found.sum() == 0 and ((found > 0) == (shares > 0)).all()
    assert (np.abs(found / found.sum() - exact) * PERIOD).max() < 1 + (exact * PERIOD < 1).sum()


def test_many_small_shares_each_have_a_turn():
    found = turns(np.append(1.0, np.full(300, 1e-9)))
    assert sum(found) == PERIOD and found[1:] == (1,) * 300


@pytest.mark.parametrize(
    ("counts", "expected"), [((1,), [0]), ((0, 2, 1), [1, 2, 1]), ((7, 2, 1), [0, 0, 1, 0, 0, 0, 2, 0, 1, 0])]
)
def test_the_turns_are_as_they_were_written_down(counts, expected):
    """A run that goes on under another version must see the same data: these numbers never change."""
    assert period(counts)[0].tolist() == expected
