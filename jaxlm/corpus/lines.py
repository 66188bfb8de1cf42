"""Lines of web pages that are no text: which go, and why; the rest of the page stays. RefinedWeb's stand beside this.

C4's rules (Raffel et al. 2020, JMLR 21/140, section 2.2, and the released code of tensorflow-datasets): a line is kept
that ends a sentence, has words enough, and does not talk of cookies or of scripts.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import pydantic

from jaxlm.config import Config
from jaxlm.corpus.words import Lexicon, Words

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_ENDS = (".", "?", "!", '"', "'")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


class C4Lines(Config):
    """What a line must be to stay."""

    kind: Literal["c4"] = "c4"
    terminal: bool = True  # ends in . ? ! " ' and not in ...; FineWeb (Penedo et al. 2024) leaves this out
    words: int = pydantic.Field(default=3, ge=0)  # least, between white space
    longest_word: int = pydantic.Field(default=1_000, gt=0)  # characters
    javascript: bool = True  # goes where the word is in it
    policy: bool = True  # goes where it tells of cookies or terms
    citations: bool = True  # [12], [edit] and [citation needed] are cut out of the line


class Trimmed(NamedTuple):
    """A text without the lines that went."""

    text: str
    removed: Counter[str]  # reason -> lines
    measures: Mapping[str, int | float]  # what rules ask of the whole, of its kept lines


def trim(lines: Sequence[str], words: Words, lexicon: Lexicon, cfg: C4Lines) -> Trimmed:
    """Keep the lines that are text; `words` are those of all lines.

    >>> lines = ["Home | About", "The cat sat there.[2] It slept."]
    >>> lexicon = Lexicon()
    >>> trim(lines, lexicon.read(lines), lexicon, C4Lines())
    Trimmed(text='The cat sat there. It slept.', removed=Counter({'no end of a sentence': 1}), measures=\
{'sentences': 2, 'lorem_ipsum': 0, 'braces': 0})
    """
    kept, removed, measures = [], Counter(), {"sentences": 0, "lorem_ipsum": 0, "braces": 0}
    for line, runs, sentences in zip(lines, words.runs, words.sentences, strict=True):
        line = line.strip()
        if len(line) > cfg.longest_word and max(map(len, line.split())) > cfg.longest_word:
            removed[f"a word over {cfg.longest_word:,} characters"] += 1
            continue
        if cfg.citations and "[" in line and (shorter := _CITATION.sub("", line)) != line:
            line, sentences = shorter, lexicon.read([shorter]).sentences[0]
        if reason := _reason(line, runs, cfg):
            removed[reason] += 1
            continue
        measures["sentences"] += sentences
        measures["lorem_ipsum"] += "lorem ipsum" in line.lower()
        measures["braces"] += "{" in line
        kept.append(line)
    return Trimmed("\n".join(kept).strip(), removed, measures)


def _reason(line: str, runs: int, cfg: C4Lines) -> str | None:
    """Why a line goes, or None."""
    if cfg.terminal and (not line.endswith(_ENDS) or line.endswith("...")):
        return "no end of a sentence"
    if runs < cfg.words:
        return f"under {cfg.words} words"
    lower = line.lower()
    if cfg.javascript and "javascript" in lower:
        return "javascript"
    if cfg.policy and any(phrase in lower for phrase in _POLICY):
        return "cookies or terms of use"
    return None
