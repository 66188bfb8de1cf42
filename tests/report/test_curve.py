import numpy as np

from jaxlm.report.curve import WINDOW, extremes, smooth
from jaxlm.report.folder import Series


def series(values) -> Series:
    return Series(np.arange(len(values), dtype=float), np.asarray(values, dtype=float))


def test_a_million_points_become_a_thousand_with_every_extreme():
    values = np.random.default_rng(0).normal(size=1_000_000)
    values[123_456], values[654_321] = 50, -50
    kept = extremes(series(values), buckets=500)
    assert len(kept.step) <= 1_000
    assert (kept.value.max(), kept.value.min()) == (50, -50)
    assert np.all(np.diff(kept.step) > 0)
    np.testing.assert_array_equal(values[kept.step.astype(int)], kept.value)


def test_a_bucket_without_finite_values_stays_a_gap():
    values = np.ones(1_000)
    values[500:600] = np.nan
    kept = extremes(series(values), buckets=20)
    assert np.all(np.isnan(kept.value[(kept.step >= 500) & (kept.step < 600)]))
    assert np.any(np.isnan(kept.value))


def test_few_points_are_left_alone():
    points = series([3, 1, np.nan, 2])
    assert extremes(points, buckets=2) is points


def test_smooth_is_its_definition():
    values = np.random.default_rng(1).normal(size=300)
    got, half = smooth(series(values)), round(300 * WINDOW / 2)
    for i in range(300):
        left = min(i, half)
        right = min(299 - i, left)
        np.testing.assert_allclose(got.value[i], np.mean(values[i - left : i + right + 1]), rtol=1e-12)


def test_smooth_follows_a_line_and_starts_where_the_run_starts():
    falling = np.linspace(10, 0, 400)
    got = smooth(series(falling))
    assert got.value[0] == 10
    np.testing.assert_allclose(got.value[:390], falling[:390], atol=1e-9)


def test_one_wild_value_stays_in_its_window():
    values = np.ones(100_000)
    values[50_000] = 1e90
    far = np.abs(smooth(series(values)).step - 50_000) > 5_000
    np.testing.assert_array_equal(smooth(series(values)).value[far], 1)
    np.testing.assert_array_equal(smooth(series(values[49_000:51_000]), np.median).value, 1)


def test_nothing_smooths_to_nothing():
    assert len(smooth(series([])).step) == len(smooth(series([np.nan])).step) == 0
