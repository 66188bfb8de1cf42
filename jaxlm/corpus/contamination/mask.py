"""What to cut out of a document so that a leak is no longer in it: what was found, and what stands around.

GPT-3 cut 200 characters on either side and went on with the pieces as documents of their own. Here a document stays
one, and a paragraph ends where something was cut out.
"""

import re
from collections.abc import Sequence

from jaxlm.corpus.cuts import Cut

REPLACEMENT = "\n\n"
_SPACE = re.compile(r"\s")


def cuts(text: str, leaks: Sequence[tuple[int, int]], around: int) -> list[Cut]:
    """The leaks and `around` characters on either side, less what would cut a word in two.

    >>> text = "Who wrote it? It was Jane Austen who did."
    >>> [text[cut.start : cut.end] for cut in cuts(text, [(14, 27)], around=8)]
    [' it? It was Jane Austen ']
    """
    found = []
    for start, end in leaks:
        first, last = max(start - around, 0), min(end + around, len(text))
        if around and first and (space := _SPACE.search(text, first - 1, start)):
            first = space.end()
        if around and last < len(text) and (spaces := list(_SPACE.finditer(text, end, last + 1))):
            last = spaces[-1].start()
        while first and text[first - 1].isspace():
            first -= 1
        while last < len(text) and text[last].isspace():
            last += 1
        found.append((first, last))
    return [Cut(start, end, REPLACEMENT) for start, end in merged(found)]


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap or touch as one.

    >>> merged([(5, 9), (0, 3), (2, 4), (9, 10)])
    [(0, 4), (5, 10)]
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
