import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxlm.report.axis import frame, tick_text, ticks

finite = st.floats(-1e9, 1e9, allow_subnormal=False)


@given(low=finite, span=st.floats(1e-6, 1e9), count=st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low, span, count):
    high = low + span
    assume(span > 1e-9 * max(abs(low), abs(high)))
    got = ticks(low, high, count)
    assert 1 <= len(got) <= count + 1
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in got)
    assert np.allclose(np.diff(got), np.diff(got)[:1], rtol=1e-3) if len(got) > 2 else True


@given(values=st.lists(finite, max_size=30), zero=st.booleans())
def test_a_frame_holds_every_value_unless_it_may_cut(values, zero):
    low, high = frame(np.array(values), zero=zero, cut=False)
    assert low < high
    assert all(low <= value <= high for value in values)
    assert low <= 0 or not zero


def test_a_cut_frame_lets_the_first_steps_leave():
    loss = 2 + 8 * np.exp(-np.arange(1_000) / 10)
    assert frame(loss, zero=False, cut=False)[1] > 10
    assert 2 < frame(loss, zero=False, cut=True)[1] < 3


def test_a_frame_without_values_is_the_unit():
    assert frame(np.array([np.nan]), zero=True, cut=True) == (0, 1)


def test_ticks_are_written_in_the_unit_of_the_largest():
    assert [tick_text(t, 60_000) for t in (0, 20_000, 60_000)] == ["0", "20 k", "60 k"]
    assert [tick_text(t, 2_000) for t in (500, 2_000)] == ["500", "2,000"]
    assert [tick_text(t, 2e-5) for t in (1e-5, 2e-5)] == ["1e-5", "2e-5"]
    assert tick_text(1.5e6, 2e6) == "1.5 M"
