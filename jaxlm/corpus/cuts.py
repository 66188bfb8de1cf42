"""Pieces of a text that are cut out or replaced, all at once, by their places in the text as it was collected.

Every stage that changes a text for good says so in cuts, and they are made when the text is written: so each place in
a ledger is one of the same text, and no stage needs to know what another cuts.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_BLANK = re.compile(r"(?:[^\S\n]*\n)*")  # the rest of a line and empty lines, but no indentation


class Cut(NamedTuple):
    start: int  # characters of the text as it was collected; start < end
    end: int
    replacement: str = ""


def apply(text: str, cuts: Iterable[Cut]) -> str:
    """The text with every cut made, in whatever order they come.

    What a cut covers wholly goes with it, also another cut; of equal ones the first is made. Where two overlap in part
    all of both goes, and their replacements follow each other: of an address that begins in a cut nothing is left.

    >>> apply("Write to jo@mail.org today.", [Cut(9, 20, "<EMAIL>"), Cut(0, 12)])
    '<EMAIL> today.'
    """
    parts, done = [], 0
    for start, end, replacement in sorted(cuts, key=lambda cut: (cut.start, -cut.end)):
        if end > done:
            parts += text[done:start], replacement
            done = end
    return "".join([*parts, text[done:]])


def with_gaps(text: str, cuts: Sequence[Cut]) -> list[Cut]:
    """Widen cuts of whole lines or paragraphs, in order, over empty lines: what is left has the gaps it had.

    Of the gaps before and after some cuts in a row the one with fewer line ends goes.

    >>> apply("a\\n\\nB\\nC\\n\\nd", with_gaps("a\\n\\nB\\nC\\n\\nd", [Cut(3, 4), Cut(5, 6)]))
    'a\\n\\nd'
    """
    wide, first = list(cuts), 0  # of a row
    for n, cut in enumerate(cuts):
        after = _BLANK.match(text, cut.end).end()  # pyright: ignore[reportOptionalMemberAccess] - matches nothing too
        if n + 1 < len(cuts) and cuts[n + 1].start == after:
            wide[n] = wide[n]._replace(end=after)
            continue
        start = before = cuts[first].start
        while before and text[before - 1].isspace():
            before -= 1
        if text.count("\n", cut.end, after) <= text.count("\n", before, start):
            wide[n] = wide[n]._replace(end=after)
        else:
            wide[first] = wide[first]._replace(start=before)
        first = n + 1
    return wide
