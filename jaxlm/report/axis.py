"""The frame of a chart and its ticks."""

import math

import numpy as np

from jaxlm.report.words import Number, plain

# Chosen: a frame ends where it has room for 95 % of the values and half as much again. Without the cut the
# first steps of a run, far above all later ones, would flatten what one wants to see.
CUT_QUANTILE, CUT_ROOM = 0.95, 0.5


def frame(values: np.ndarray, *, zero: bool, cut: bool) -> tuple[float, float]:
    """Lowest and highest value of the axis; `zero`: starts at 0; `cut`: leaves out rare high values."""
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if cut:
        low_end, bulk = float(np.quantile(values, 1 - CUT_QUANTILE)), float(np.quantile(values, CUT_QUANTILE))
        high = min(high, bulk + CUT_ROOM * (bulk - low_end)) if bulk > low_end else high
    if zero:
        low = min(0.0, low)
    if high <= low:
        room = abs(low) * 0.05 or 1.0
        return (low, high + room) if zero else (low - room, high + room)
    room = 0.04 * (high - low)
    return (low if zero and low == 0 else low - room), high + room


def ticks(low: Number, high: Number, count: int) -> list[float]:
    """At most `count` + 1 round numbers (1, 2, 2.5 or 5 times a power of ten) in [low, high].

    >>> ticks(0, 2000, 5)
    [0.0, 500.0, 1000.0, 1500.0, 2000.0]
    """
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [float(low)]
    power = 10.0 ** math.floor(math.log10(span / count))
    apart = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power * count >= span * (1 - 1e-9))
    first, last = math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9)
    return [round(i * apart, 12 - math.floor(math.log10(apart))) for i in range(first, last + 1)]


def tick_text(value: Number, largest: Number) -> str:
    """`value` in the unit of the axis' `largest` tick: 0.5, 1,500, 200 k."""
    for scale, letter in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e4, " k")):
        if abs(largest) >= scale:
            scale = 1e3 if letter == " k" else scale
            return plain(value / scale) + (letter if value else "")
    return plain(value)
