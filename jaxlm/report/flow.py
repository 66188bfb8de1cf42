"""A flow diagram (Sankey) from what was collected to what stays: at each stage the ribbons of its rules leave it.

It runs downward in slices, a row of a grid each, and all widths are horizontal: so it stretches to any width, its words
keep their size beside it, and it is the same on a phone. A document leaves by its first reason, so widths add up.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from jaxlm.report.words import Number, escape, share, size

WIDTH, HEIGHT = 1000, 100  # of a slice, in units of the viewBox
_TRUNK = 660  # units: the width of all that was collected; what leaves ends at the right edge
_NODE = 8  # units: the height of the bar where ribbons end
_END = 35  # units: the height of the first and the last bar
_LEAST = 3  # units: a ribbon that stands for something is seen
RIBBONS = 5  # of a stage: chosen, what the eye tells apart; the other rules share one

By = Literal["documents", "bytes"]


class Ribbon(NamedTuple):
    name: str
    documents: int
    bytes: int


def ribbons(stage: Mapping[str, Any]) -> list[Ribbon]:
    """Of a stage of the flow, the widest first; rules beyond RIBBONS are one."""
    found = [Ribbon(rule["reason"], rule["first"], rule["first_bytes"]) for rule in stage["rules"] if rule["first"]]
    rest = found[RIBBONS - 1 :] if len(found) > RIBBONS else []
    if not rest:
        return found
    others = Ribbon(f"{len(rest)} other rules", sum(one.documents for one in rest), sum(one.bytes for one in rest))
    return [*found[: RIBBONS - 1], others]


def flow(stages: Sequence[Mapping[str, Any]], collected: Mapping[str, int], by: By) -> str:
    """A <figure>; `stages` and what was `collected` as corpus/summary.py tells them."""
    whole = collected[by] or 1
    left = stages[-1]["out"] if stages else collected
    rows = _end("Collected", collected, whole, by, at=HEIGHT - _END)
    rows += "".join(_slice(stage, whole, by) for stage in stages)
    rows += _end("Stays", left, whole, by, at=0)
    return f'<figure class="flow" aria-label="Flow of {by} from stage to stage">{rows}</figure>'


def _end(name: str, counts: Mapping[str, int], whole: int, by: By, at: int) -> str:
    wide = _TRUNK * counts[by] / whole
    said = f"{name}: {_counts(counts)}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" class="end"><title>{escape(said)}'
        f'</title><rect class="node" y="{at}" width="{wide:.1f}" height="{_END}"/></svg>'
        f'<div class="step end"><h4>{name}</h4><p><b>{counts["documents"]:,}</b> documents, {size(counts["bytes"])}</p>'
        f"</div>"
    )


def _slice(stage: Mapping[str, Any], whole: int, by: By) -> str:
    found, entered, left = ribbons(stage), stage["in"], stage["out"]
    gone = {name: entered[name] - left[name] for name in ("documents", "bytes")}
    unit = _TRUNK / whole
    in_, out = entered[by] * unit, left[by] * unit
    shapes = f'<path class="trunk" d="M0 0H{in_:.1f}{_bend(in_, out)}H0Z"/>'
    top, end = out, float(WIDTH) - max(gone[by] * unit, _LEAST * len(found))
    for number, ribbon in enumerate(found):
        amount = getattr(ribbon, by) * unit
        wide = max(_LEAST, amount)
        said = f"{ribbon.name}: {ribbon.documents:,} documents, {size(ribbon.bytes)}"
        shapes += (
            f'<g class="ribbon n{number}"><title>{escape(said)}</title>'
            f'<path d="M{top:.1f} 0H{top + amount:.1f}{_bend(top + amount, end + wide)}H{end:.1f}{_rise(end, top)}Z"/>'
            f'<rect x="{end:.1f}" y="{HEIGHT - _NODE}" width="{wide:.1f}" height="{_NODE}"/></g>'
        )
        top, end = top + amount, end + wide
    title = f"{stage['stage']}: {_counts(entered)} in, {_counts(left)} out"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"><title>{escape(title)}</title>'
        f'{shapes}</svg><div class="step">{_in_words(stage["stage"], found, gone, entered)}</div>'
    )


def _in_words(name: str, found: Sequence[Ribbon], gone: Mapping[str, int], entered: Mapping[str, int]) -> str:
    head = f"<h4>{escape(name.capitalize())}</h4>"
    if not found:
        return f"{head}<p>nothing goes</p>"
    items = "".join(
        f'<li class="n{number}"><i></i><span>{escape(one.name)}</span> <b>{one.documents:,}</b></li>'
        for number, one in enumerate(found)
    )
    part = share(gone["documents"], entered["documents"])
    return f"{head}<p><b>−{gone['documents']:,}</b> ({part}), {size(gone['bytes'])}</p><ul>{items}</ul>"


def _bend(above: Number, below: Number) -> str:
    """The edge from `above`, at the top of a slice, down to `below`."""
    half = HEIGHT / 2
    return f"C{above:.1f} {half:.0f} {below:.1f} {half:.0f} {below:.1f} {HEIGHT}"


def _rise(below: Number, above: Number) -> str:
    half = HEIGHT / 2
    return f"C{below:.1f} {half:.0f} {above:.1f} {half:.0f} {above:.1f} 0"


def _counts(counts: Mapping[str, int]) -> str:
    return f"{counts['documents']:,} documents, {size(counts['bytes'])}"
