"""Curves of validation loss over seconds as one small SVG, which needs nothing but itself."""

from collections.abc import Mapping, Sequence
from html import escape

from jaxlm.report import axis

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 60, 50, 20, 20  # of the picture and its margins
COLOURS = (
    "#0b62c4",
    "#c2410c",
    "#4d7c0f",
    "#7e22ce",
    "#0f766e",
    "#a16207",
    "#be185d",
    "#475569",
)  # chosen: apart in lightness too
ROOM = 0.8  # chosen: nats above the target; the first steps lie far above what one wants to see

Curve = Sequence[tuple[float, float]]  # (seconds, nats a character)


def svg(title: str, curves: Mapping[str, Curve], target: float) -> str:
    """The curves by name, with a line at `target`; what lies more than ROOM above it leaves the frame."""
    last = max(seconds for points in curves.values() for seconds, _ in points)
    low = min(target, *(loss for points in curves.values() for _, loss in points)) - 0.03
    high = target + ROOM
    x = lambda seconds: LEFT + (WIDTH - LEFT - RIGHT) * seconds / last
    y = lambda loss: TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)
    parts = [_frame(last, low, high, x, y)]
    parts.append(
        f'<path d="M{LEFT} {y(target):.1f}H{WIDTH - RIGHT}" stroke="#555" stroke-dasharray="5 4"/>'
        f'<text x="{WIDTH - RIGHT - 8}" y="{y(target) - 5:.1f}" text-anchor="end">{target:g} nats a character</text>'
    )
    for n, (name, points) in enumerate(curves.items()):
        colour = COLOURS[n % len(COLOURS)]
        path = " ".join(f"{x(seconds):.1f},{y(loss):.1f}" for seconds, loss in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5" clip-path="url(#frame)"/>'
            f'<text x="{WIDTH - RIGHT - 8}" y="{TOP + 20 + 20 * n}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="14" fill="#222">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _frame(last: float, low: float, high: float, x, y) -> str:
    bottom, middle = HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) / 2
    marks = [
        f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{y(tick) + 5:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in axis.ticks(low, high, 5)
    ]
    marks += [
        f'<text x="{x(tick):.1f}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>'
        for tick in axis.ticks(0, last, 6)
    ]
    return (
        f'<clipPath id="frame"><path d="M{LEFT} {TOP}H{WIDTH - RIGHT}V{bottom}H{LEFT}z"/></clipPath>\n'
        + "\n".join(marks)
        + f'\n<path d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="#555"/>'
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">seconds of training</text>'
    )
