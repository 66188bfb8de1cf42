"""Line charts as plain SVG, drawn here, with their legend as the read-out.

The drawing is an SVG whose viewBox stretches to any width, with strokes that do not scale; the numbers on the
axes are HTML laid over it in percent, so they keep the size of the text on a phone and on a wall. Without
JavaScript the legend shows the newest values; page.js makes it follow the pointer. Left out: zoom, toggles.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from jaxlm.report import axis, curve
from jaxlm.report.folder import Series
from jaxlm.report.words import NONE, compact, escape, figure

WIDTH, HEIGHT = 1000, 400  # of the viewBox, in its own units


@dataclass(frozen=True)
class Line:
    name: str
    series: Series
    look: Literal["raw", "main", "points", "number"]  # number: only in the legend, nothing is drawn
    unit: str = ""
    text: Callable[[float], str] = figure


@dataclass(frozen=True)
class Chart:
    id: str
    title: str
    lines: tuple[Line, ...]
    note: str = ""  # HTML, below the chart
    zero: bool = True  # the axis starts at 0
    cut: bool = False  # rare high values may leave the frame; the note then counts them
    ticks: int = 4  # of the value axis, at most one more
    marks: np.ndarray | None = None  # steps to mark on the lower edge


def draw(chart: Chart, steps: tuple[float, float]) -> tuple[str, dict[str, Any]]:
    """The <figure>, and what page.js needs to read values from it; `steps` is the range of the x axis."""
    drawn = [line for line in chart.lines if line.look != "number"]
    values = np.concatenate([line.series.value for line in drawn])
    low, high = axis.frame(values, zero=chart.zero, cut=chart.cut)
    place = Place(steps, (low, high), chart.ticks)
    thin = [replace(line, series=curve.extremes(line.series)) for line in chart.lines]
    shapes = "".join(_shape(line, place) for line in thin if line.look != "number")
    if chart.marks is not None and len(chart.marks):
        shapes += _marks(chart.marks, place)
    note = " ".join(filter(None, [_outside(drawn, high), chart.note]))
    html = f"""<figure class="chart" id="{chart.id}">
<figcaption><h3>{escape(chart.title)}</h3><p class="legend">{_legend(chart.lines)}</p></figcaption>
<div class="plot" tabindex="0" role="group" aria-label="{escape(chart.title)}: arrow keys read values">
{_axes(place)}
<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" \
aria-labelledby="{chart.id}-title {chart.id}-desc">
<title id="{chart.id}-title">{escape(chart.title)}</title>
<desc id="{chart.id}-desc">{escape(_in_words(drawn))}</desc>
{_rules(place)}{shapes}</svg>
<div class="cross"></div>
</div>
{f'<p class="note">{note}</p>' if note else ""}
</figure>"""
    return html, {"steps": list(steps), "lines": [_readings(line) for line in thin]}


class Place:
    """Where a step and a value lie: in units of the viewBox, and in percent of the frame."""

    def __init__(self, steps: tuple[float, float], values: tuple[float, float], ticks: int):
        self.steps, self.values = steps, values
        self.ticks = axis.ticks(*values, ticks)

    def x(self, step: float) -> float:
        first, last = self.steps
        return WIDTH * ((step - first) / (last - first) if last > first else 0.5)

    def y(self, value: float) -> float:
        low, high = self.values
        # A value far outside is drawn just outside: renderers lose precision on huge coordinates.
        return HEIGHT * (1 - min(3.0, max(-3.0, (value - low) / (high - low))))


def _shape(line: Line, place: Place) -> str:
    return _dots(line.series, place) if line.look == "points" else _path(line, place)


def _path(line: Line, place: Place) -> str:
    """One path; a NaN lifts the pen. A point between two gaps is a dot: a line of no length."""
    strokes: list[list[str]] = [[]]
    for step, value in zip(line.series.step.tolist(), line.series.value.tolist(), strict=True):
        if math.isnan(value):
            strokes.append([])
        else:
            strokes[-1].append(f"{place.x(step):.1f} {place.y(value):.1f}")
    path = "".join(f"M{'L'.join(stroke)}" for stroke in strokes if len(stroke) > 1)
    dots = "".join(f"M{stroke[0]}h0" for stroke in strokes if len(stroke) == 1)
    return (f'<path class="{line.look}" d="{path}"/>\n' if path else "") + (
        f'<path class="alone {line.look}" d="{dots}"/>\n' if dots else ""
    )


def _dots(series: Series, place: Place) -> str:
    points = series.finite()
    dots = "".join(
        f"M{place.x(step):.1f} {place.y(value):.1f}h0"
        for step, value in zip(points.step.tolist(), points.value.tolist(), strict=True)
    )
    return f'<path class="halo" d="{dots}"/><path class="points" d="{dots}"/>\n' if dots else ""


def _marks(steps: np.ndarray, place: Place) -> str:
    columns = sorted({round(place.x(step)) for step in steps.tolist()})
    return f'<path class="marks" d="{"".join(f"M{x} {HEIGHT}v-22" for x in columns)}"/>\n'


def _rules(place: Place) -> str:
    lines = "".join(f"M0 {place.y(tick):.1f}H{WIDTH}" for tick in place.ticks)
    return f'<path class="rules" d="{lines}"/>\n'


def _axes(place: Place) -> str:
    largest = max(map(abs, place.ticks), default=0.0)
    marks = [
        f'<span class="y" style="top:{place.y(tick) / HEIGHT:.2%}">{axis.tick_text(tick, largest)}</span>'
        for tick in place.ticks
    ]
    first, last = place.steps
    steps = [tick for tick in axis.ticks(first, last, 5) if float(tick).is_integer()]
    for tick in steps or [first]:
        share = place.x(tick) / WIDTH
        edge = " end" if share > 0.97 else " start" if share < 0.03 else ""
        text = axis.tick_text(tick, 0 if last < 100_000 else last)
        marks.append(f'<span class="x{edge}" style="left:{share:.2%}">{text}</span>')
    return "".join(marks)


def _legend(lines: tuple[Line, ...]) -> str:
    step = max((series.step[-1] for series in (line.series for line in lines) if len(series.step)), default=None)
    keys = [f'<span class="key">step <b class="at">{NONE if step is None else f"{step:,.0f}"}</b></span>']
    for line in lines:
        last = line.series.last()
        keys.append(
            f'<span class="key {line.look}"><i></i>{escape(line.name)} '
            f"<b>{NONE if last is None else line.text(last)}</b>"
            f"{' ' + escape(line.unit) if line.unit else ''}</span>"
        )
    return " ".join(keys)


def _outside(lines: list[Line], high: float) -> str:
    """Says what the frame leaves out; nothing is hidden silently."""
    raw = next((line.series for line in lines if line.look in ("raw", "main")), None)
    above = raw.finite() if raw else None
    if above is None or not np.any(above.value > high):
        return ""
    count, peak = int(np.sum(above.value > high)), int(np.argmax(above.value))
    return (
        f"{count:,} of {len(above.step):,} logged values lie above the frame, "
        f"the highest {figure(above.value[peak])} at step {above.step[peak]:,.0f}."
    )


def _in_words(lines: list[Line]) -> str:
    """The chart for somebody who does not see it."""
    said = []
    for line in lines:
        points = line.series.finite()
        if len(points.step):
            low, high = figure(points.value.min()), figure(points.value.max())
            said.append(
                f"{line.name}: {compact(len(points.step))} points from {figure(points.value[0])} at step "
                f"{points.step[0]:,.0f} to {figure(points.value[-1])} at step {points.step[-1]:,.0f}, "
                f"lowest {low}, highest {high}."
            )
    return " ".join(said) or "No values yet."


def _readings(line: Line) -> dict[str, Any]:
    return {
        "step": [round(step) for step in line.series.step.tolist()],
        "text": list(map(line.text, line.series.value.tolist())),
    }
