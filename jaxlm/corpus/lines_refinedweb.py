"""RefinedWeb's rules of lines: headings that shout, counters and menus go, and pages that lose much by it.

Penedo et al. 2023 (arXiv:2306.01116), appendix G.2. What the paper leaves open is as in DCLM (Li et al. 2024,
arXiv:2406.11794), which made its data by these rules: the nouns that are counted, the phrases of menus, shares of all
characters of a line, words by white space. Rule `RefinedWeb` (corpus/rules.py) bounds the share of words that went.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import pydantic

from jaxlm.config import Config
from jaxlm.corpus.characters import UNSPACED_CHARACTER
from jaxlm.corpus.lines import Trimmed

_COUNTED = "bookmarks|comments|downloads|downvotes|followers|likes|quotes|reposts|retweets|shares|upvotes|views"
_COUNTER = re.compile(rf"\W*\d[\d.,]*[kmb]?\s+(?:{_COUNTED})\W*", re.IGNORECASE)
_ASCII_CAPITALS = string.ascii_uppercase.encode()
_SHORT = 10  # words: only in a line of at most as many is a menu's phrase cut out
_BEGINS, _ENDS, _HOLDS = "sign-in", "read more...", "items in cart"


class RefinedWebLines(Config):
    """What a line must not be to stay; blank lines stay."""

    kind: Literal["refinedweb"] = "refinedweb"
    capitals: float = pydantic.Field(default=0.5, ge=0, le=1)  # most, of a line's characters
    digits: bool = True  # goes where there is nothing but digits
    counters: bool = True  # goes where it counts likes, shares, views...
    words: int = pydantic.Field(default=2, ge=0)  # least, between white space; of scripts that have it
    menus: bool = True  # "sign-in", "read more..." and "items in cart" are cut out of short lines


def trim(lines: Sequence[str], cfg: RefinedWebLines) -> Trimmed:
    """Keep the lines that are text, and say which share of the words went with the others.

    >>> trim(["ALL NEW", "12 likes", "The cat sat there. Read more..."], RefinedWebLines())
    Trimmed(text='The cat sat there.', removed=Counter({'capitals': 1, 'a counter': 1, 'a menu, in part': 1}), \
measures={'removed_words': 0.6})
    """
    kept, removed, lost = [], Counter(), 0
    whole = "\n".join(lines)
    menus = cfg.menus and _has_a_menu(whole.lower())
    for line, plain in zip(lines, _plain_characters(whole), strict=False):
        shorter = _without_menus(line) if menus else line
        if line and not line.isspace():
            if reason := _reason(line, plain, cfg) or ("a menu" if not shorter.strip() else None):
                removed[reason] += 1
                lost += len(line.split())
                continue
            if shorter != line:
                removed["a menu, in part"] += 1
                lost += len(line.split()) - len(shorter.split())
        kept.append(shorter)
    words = len(whole.split()) if lost else 0
    share = 1 - (words - lost) / words if words else 0.0
    return Trimmed("\n".join(kept).strip(), removed, {"removed_words": share})


def _plain_characters(whole: str) -> Iterable[int]:
    """Characters of ASCII in each line that are no capitals: so few lines have to be looked at one character each."""
    return map(len, whole.encode("ascii", "ignore").translate(None, _ASCII_CAPITALS).split(b"\n"))


def _reason(line: str, plain: int, cfg: RefinedWebLines) -> str | None:
    """Why a line goes, or None; at most all but its `plain` characters are capitals."""
    most = cfg.capitals * len(line)
    if len(line) - plain > most and (line.isascii() or sum(map(str.isupper, line)) > most):
        return "capitals"
    if cfg.digits and line.isdecimal():
        return "digits"
    if cfg.counters and not line[0].isalpha() and _COUNTER.fullmatch(line):
        return "a counter"
    few = len(line.split(None, cfg.words)) < cfg.words and not UNSPACED_CHARACTER.search(line)
    return f"under {cfg.words} words" if few else None


def _has_a_menu(lower: str) -> bool:
    return any(phrase in lower for phrase in (_BEGINS, _ENDS, _HOLDS))


def _without_menus(line: str) -> str:
    lower = line.lower()
    if not _has_a_menu(lower) or len(line.split()) > _SHORT:
        return line
    if len(lower) != len(line):  # as few characters do, whose small letter is two: their places are not the same
        return line
    start, end = len(_BEGINS) * lower.startswith(_BEGINS), len(line) - len(_ENDS) * lower.endswith(_ENDS)
    return re.sub(_HOLDS, "", line[start:end], flags=re.IGNORECASE).strip()
