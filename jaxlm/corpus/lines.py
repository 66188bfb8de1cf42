"""Lines of web pages that are no text: which go, and why; the rest of the page stays. RefinedWeb's stand beside this.

C4's rules (Raffel et al. 2020, JMLR 21/140, section 2.2): a line is kept that ends a sentence, has words enough, and
does not talk of cookies or of scripts. Numbers and marks are those of datatrove 0.10, whose decisions these equal. The
code that made C4, of tensorflow-datasets, asks five words of a line and three sentences of a page, and a line that ends
in ' goes.
"""

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Literal, NamedTuple

import pydantic

from jaxlm.config import Config
from jaxlm.corpus.words import Lexicon

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_ENDS = (".", "?", "!", '"', "'")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


class C4Lines(Config):
    """What a line must be to stay."""

    kind: Literal["c4"] = "c4"
    terminal: bool = True  # ends in . ? ! " ' and not in ...; FineWeb (Penedo et al. 2024) leaves this out
    words: int = pydantic.Field(default=3, ge=0)  # least, between white space; datatrove 0.10
    longest_word: int = pydantic.Field(default=1_000, gt=0)  # characters
    javascript: bool = True  # goes where the word is in it
    policy: bool = True  # goes where it tells of cookies or terms
    citations: bool = True  # [12], [edit] and [citation needed] are cut out of the line


class Trimmed(NamedTuple):
    """A text without the lines that went."""

    text: str
    removed: Counter[str]  # reason -> lines
    measures: Mapping[str, int | float]  # what rules ask of the whole, of its kept lines


def trim(lines: Sequence[str], lexicon: Lexicon, cfg: C4Lines) -> Trimmed:
    """Keep the lines that are text.

    >>> trim(["Home | About", "The cat sat there.[2] It slept."], Lexicon(), C4Lines())
    Trimmed(text='The cat sat there. It slept.', removed=Counter({'no end of a sentence': 1}), measures=\
{'sentences': 2, 'lorem_ipsum': 0, 'braces': 0})
    """
    kept, removed = [], Counter()
    lines = [line.strip() for line in lines]
    shorter = [_CITATION.sub("", line) if "[" in line else line for line in lines] if cfg.citations else lines
    phrases = _phrases("\n".join(shorter).lower(), cfg)
    for whole, line in zip(lines, shorter, strict=True):
        if len(whole) > cfg.longest_word and max(map(len, whole.split())) > cfg.longest_word:
            removed[f"a word over {cfg.longest_word:,} characters"] += 1
        elif cfg.terminal and (not line.endswith(_ENDS) or line.endswith("...")):
            removed["no end of a sentence"] += 1
        elif len(whole.split(None, cfg.words)) < cfg.words:
            removed[f"under {cfg.words} words"] += 1
        elif phrases and (reason := _reason(line.lower(), phrases)):
            removed[reason] += 1
        else:
            kept.append(line)
    lorem = "lorem ipsum" in phrases
    measures = {
        "sentences": lexicon.sentences(kept),
        "lorem_ipsum": sum("lorem ipsum" in line.lower() for line in kept) if lorem else 0,
        "braces": sum("{" in line for line in kept),
    }
    return Trimmed("\n".join(kept).strip(), removed, measures)


def _phrases(lower: str, cfg: C4Lines) -> set[str]:
    """Those that are anywhere in a text in small letters: most have none, and their lines need not be searched."""
    asked = ("lorem ipsum", *("javascript",) * cfg.javascript, *_POLICY * cfg.policy)
    return {phrase for phrase in asked if phrase in lower}


def _reason(lower: str, phrases: Container[str]) -> str | None:
    """Why a line goes, or None."""
    if "javascript" in phrases and "javascript" in lower:
        return "javascript"
    policy = any(phrase in lower for phrase in _POLICY if phrase in phrases)
    return "cookies or terms of use" if policy else None
