"""How numbers and text are written on the page: figures, counts, durations, errors, and escaped text."""

import html
import math
import re

NONE = "–"  # what stands where there is no number

Number = int | float


def escape(text: object) -> str:
    """Text as HTML shows it and never runs it, with what would be invisible made visible.

    Control characters, lone surrogates and the marks that turn the direction of writing become their code
    points, so that hostile text can neither hide nor reorder what is beside it.

    >>> escape("<b>\\x1b")
    '&lt;b&gt;[U+001B]'
    """
    return html.escape(_INVISIBLE.sub(lambda match: f"[U+{ord(match[0]):04X}]", str(text)), quote=True)


# All controls but tab and newline: a bare carriage return too would be read as a newline.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def figure(value: Number | None) -> str:
    """A measurement to four significant digits: 1.440, 0.08312, 12,345, 1.5e-7.

    >>> [figure(v) for v in (1.44, 0.083124, 12345.6, 1.5e-7, None)]
    ['1.440', '0.08312', '12,346', '1.500e-7', '–']
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value != 0 and not 1e-4 <= abs(value) < 1e12:
        return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), f"{value:.3e}")
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:#.4g}".rstrip(".")


def plain(value: Number) -> str:
    """A number that somebody chose, without digits it does not need: 0.0003, 2,000, 1e-5."""
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), f"{value:.6g}")


def brief(value: Number | None) -> str:
    """At most four significant digits, without trailing zeros: 0.0003."""
    return NONE if value is None or not math.isfinite(value) else plain(float(f"{value:.4g}"))


def compact(value: Number | None) -> str:
    """A count in k, M, B (10^9) or T: 812, 8.19 k, 124 M."""
    if value is None:
        return NONE
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:,.3g} {letter}" if value < 1e15 else f"{value:.3g}"
    return f"{value:,.0f}"


def size(count: Number) -> str:
    """Bytes in kB, MB, GB or TB: powers of 1,000.

    >>> [size(count) for count in (0, 812, 13_534_106)]
    ['0 B', '812 B', '13.5 MB']
    """
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            return f"{count / scale:,.0f} {unit}" if count >= 100 * scale else f"{count / scale:.3g} {unit}"
    return f"{count:,.0f} B"


def share(part: Number, whole: Number) -> str:
    """Percent, and never 0 or 100 where it is not: 23 %, 0.4 %, under 0.1 %.

    >>> [share(*pair) for pair in ((44, 191), (1, 10_000), (9_999, 10_000), (0, 0))]
    ['23 %', 'under 0.1 %', 'over 99.9 %', '–']
    """
    if not whole:
        return NONE
    percent = 100 * part / whole
    if 0 < percent < 0.1 or 99.9 < percent < 100:
        return "under 0.1 %" if percent < 1 else "over 99.9 %"
    return f"{percent:.1f} %" if 0 < percent < 9.95 or 99 < percent < 100 else f"{percent:.0f} %"


def plus_minus(value: Number | None, error: Number | None) -> str:
    """A value and its standard error, cut after the error's second digit: 1.4712 ± 0.0093."""
    if value is None or error is None or error <= 0:
        return figure(value)
    decimals = min(6, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:,.{decimals}f} <small>± {error:,.{decimals}f}</small>"


def duration(seconds: Number | None) -> str:
    """The two largest units: 12.3 s, 4 min 10 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days:,} d {hour} h"
    return f"{hours} h {minute} min" if hours else f"{minutes} min {second} s"
