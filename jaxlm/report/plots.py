"""Histograms and rows of bars as plain SVG with their words as HTML over it, in the manner of charts.py.

A drawing stretches to any width and its words keep their size; nothing needs JavaScript. What goes lies on top of what
stays, so that a bar's height is what was collected.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxlm.report import axis
from jaxlm.report.words import Number, escape

WIDTH, HEIGHT = 1000, 300  # of the viewBox, in its own units
_GAP = 3  # units between bars
_LEAST = 2.5  # units of height: a bar that stands for something is seen


class Layer(NamedTuple):
    """Counts of one kind, a bin each."""

    name: str
    look: str  # "stay" or "gone": classes of datasheet.css
    counts: Sequence[int]


class Bins(NamedTuple):
    """Where bins lie on the axis of a histogram."""

    edges: Sequence[Number]  # one more than bins
    ticks: Sequence[tuple[Number, str]]
    names: Sequence[str]  # of the bins, for somebody who points at one


def histogram(id_: str, title: str, unit: str, bins: Bins, layers: Sequence[Layer]) -> str:
    """A <figure>; layers are stacked, the first lowest."""
    totals = [sum(counts) for counts in zip(*(layer.counts for layer in layers), strict=True)]
    _, high = axis.frame(np.array(totals, float), zero=True, cut=False)
    first, last = float(bins.edges[0]), float(bins.edges[-1])
    x = lambda edge: WIDTH * (edge - first) / (last - first)
    shapes, floor = "", [0.0] * len(totals)
    for layer in layers:
        for n, count in enumerate(layer.counts):
            if count:
                left, tall = x(bins.edges[n]), max(_LEAST, HEIGHT * count / high)
                wide = max(1.0, x(bins.edges[n + 1]) - left - _GAP)
                shapes += (
                    f'<rect class="{layer.look}" x="{left:.1f}" y="{HEIGHT - floor[n] - tall:.1f}" '
                    f'width="{wide:.1f}" height="{tall:.1f}"><title>{escape(bins.names[n])}: {count:,} '
                    f"{escape(layer.name)}</title></rect>"
                )
                floor[n] += tall
    ticks = [tick for tick in axis.ticks(0, high, 3) if float(tick).is_integer()]  # no half documents
    rules = "".join(f"M0 {HEIGHT * (1 - tick / high):.1f}H{WIDTH}" for tick in ticks)
    said = "; ".join(
        f"{name}: " + " and ".join(f"{layer.counts[n]:,} {layer.name}" for layer in layers if layer.counts[n])
        for n, name in enumerate(bins.names)
        if totals[n]
    )
    return f"""<figure class="histogram" id="{id_}">
<figcaption><h4>{escape(title)}</h4>{legend(layers)}</figcaption>
<div class="frame">{_words(bins, ticks, high, x)}
<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-labelledby="{id_}-title {id_}-desc">
<title id="{id_}-title">{escape(title)}</title><desc id="{id_}-desc">{escape(said)}</desc>
<path class="rules" d="{rules}"/>{shapes}</svg></div>
<p class="axis">{escape(unit)}</p></figure>"""


def legend(layers: Sequence[Layer]) -> str:
    """The colours in words; none where there is one alone."""
    keys = "".join(f'<span class="key {layer.look}"><i></i>{escape(layer.name)}</span>' for layer in layers)
    return f'<p class="legend">{keys}</p>' if len(layers) > 1 else ""


def _words(bins: Bins, ticks: Sequence[Number], high: Number, x: Callable[[Number], Number]) -> str:
    largest = max(ticks, default=0.0)
    said = [
        f'<span class="y" style="top:{1 - tick / high:.2%}">{axis.tick_text(tick, largest)}</span>' for tick in ticks
    ]
    for edge, text in bins.ticks:
        share = x(edge) / WIDTH
        end = " end" if share > 0.97 else " start" if share < 0.03 else ""
        said.append(f'<span class="x{end}" style="left:{share:.2%}">{escape(text)}</span>')
    return "".join(said)


class Row(NamedTuple):
    """A bar from the left: what stays, then what goes."""

    name: str
    stay: int
    gone: int
    text: str  # at its end


def bars(title: str, rows: Sequence[Row], names: tuple[str, str] = ("stay", "go")) -> str:
    """A <figure> with a bar for each row; the longest has the whole width."""
    longest = max((row.stay + row.gone for row in rows), default=0) or 1
    body = ""
    for row in rows:
        said = f"{row.name}: {row.stay:,} {names[0]}" + (f", {row.gone:,} {names[1]}" if row.gone else "")
        stay, gone = (WIDTH * part / longest for part in (row.stay, row.gone))
        body += (
            f'<span class="name">{escape(row.name)}</span><svg viewBox="0 0 {WIDTH} 10" preserveAspectRatio="none" '
            f'role="img"><title>{escape(said)}</title>{_bar("stay", 0, stay)}{_bar("gone", stay, gone)}</svg>'
            f"<b>{escape(row.text)}</b>"
        )
    both = any(row.gone for row in rows) and any(row.stay for row in rows)
    keys = legend([Layer(names[0], "stay", ()), Layer(names[1], "gone", ())]) if both else ""
    return (
        f'<figure class="rows"><figcaption><h4>{escape(title)}</h4>{keys}</figcaption><div class="bars">{body}</div>'
        f"</figure>"
    )


def _bar(look: str, start: Number, wide: Number) -> str:
    return f'<rect class="{look}" x="{start:.1f}" width="{max(_LEAST, wide):.1f}" height="10"/>' if wide else ""
