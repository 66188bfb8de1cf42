"""Fewer points with the same look: a million logged steps become about a thousand.

`extremes` keeps the smallest and the largest value of each bucket, so no spike is lost (M4 of Jugel et al.
2014, VLDB 7(10), without first and last). `smooth` is a centred mean or median over those of buckets: no lag,
and one wild value stays in its window, which a running sum would not promise.
"""

from collections.abc import Callable

import numpy as np

from jaxlm.report.folder import Series

BUCKETS = 500  # chosen: two points each, about one a pixel of the widest chart
WINDOW = 1 / 30  # chosen: of all points; wide enough to calm the loss of small batches

Middle = Callable[[np.ndarray], np.floating]  # np.mean or np.median


def extremes(series: Series, buckets: int = BUCKETS) -> Series:
    """At most two points a bucket, in their order; a bucket without a finite value is one NaN."""
    if len(series.step) <= 2 * buckets:
        return series
    kept: list[int] = []
    for first, end in _edges(len(series.step), buckets):
        values = series.value[first:end]
        if np.all(np.isnan(values)):
            kept.append(first)
        else:
            kept += sorted({first + int(np.nanargmin(values)), first + int(np.nanargmax(values))})
    return Series(series.step[kept], series.value[kept])


def smooth(series: Series, middle: Middle = np.mean, buckets: int = 2 * BUCKETS) -> Series:
    """The centred mean (or median) over WINDOW of the points; NaN are left out.

    At the start the window shrinks on both sides, so that a steep first fall is not averaged away.
    """
    points = _thin(series.finite(), middle, buckets)
    count = len(points.step)
    half = max(1, round(count * WINDOW / 2))
    value = np.empty(count)
    for i in range(count):
        left = min(i, half)
        right = min(count - 1 - i, left)
        value[i] = middle(points.value[i - left : i + right + 1])
    return Series(points.step, value)


def _thin(series: Series, middle: Middle, buckets: int) -> Series:
    if len(series.step) <= buckets:
        return series
    spans = list(_edges(len(series.step), buckets))
    of_each = lambda array: np.array([middle(array[first:end]) for first, end in spans])
    return Series(of_each(series.step), of_each(series.value))


def _edges(count: int, buckets: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, count, buckets + 1).astype(int)
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
