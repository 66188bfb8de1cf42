"""Thresholds on the measures of a text, by the sets in which they were published.

A field is named as the measure it bounds (corpus/quality.py, corpus/lines.py), so a threshold is set like any other
field of a config. Measures are stored and rules applied later: another threshold costs no second look at the text.
Shares are of the whole, 0 to 1.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pydantic

from jaxlm.config import Config


class Bounds(Config):
    """What a measure may be: from `least` to `most`, both allowed; None: no such bound."""

    least: int | float | None = None
    most: int | float | None = None

    @pydantic.model_validator(mode="after")
    def _leave_something(self) -> "Bounds":
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least={self.least} is above most={self.most}, which no text can be: swap them")
        return self

    def broken(self, value: int | float) -> str | None:
        """Which bound `value` breaks.

        >>> bounds = Bounds(least=0.5, most=2)
        >>> bounds.broken(0.4), bounds.broken(2), bounds.broken(2.1)
        ('below 0.5', None, 'above 2')
        """
        if self.least is not None and value < self.least:
            return f"below {self.least:g}"
        return f"above {self.most:g}" if self.most is not None and value > self.most else None


class Rules(Config):
    """A set of rules; a field that is a Bounds is named as its measure."""

    def bounds(self, language: str, measures: Mapping[str, int | float]) -> dict[str, Bounds]:
        """{measure: what it may be}, for a text in a language of which `measures` are known."""
        return {name: bounds for name, bounds in self if isinstance(bounds, Bounds)}


class Gopher(Rules):
    """Quality by Rae et al. 2021 (arXiv:2112.11446), appendix A.1.1."""

    kind: Literal["gopher"] = "gopher"
    words: Bounds = Bounds(least=50, most=100_000)  # that are not symbols alone
    mean_word_length: Bounds = Bounds(least=3, most=10)  # characters
    hashes: Bounds = Bounds(most=0.1)  # of words
    ellipses: Bounds = Bounds(most=0.1)  # of words
    bullet_lines: Bounds = Bounds(most=0.9)  # of lines
    ellipsis_lines: Bounds = Bounds(most=0.3)  # of lines
    alphabetic_words: Bounds = Bounds(least=0.8)  # of words
    stop_words: Bounds = Bounds(least=2)  # different ones of eight


class GopherRepetition(Rules):
    """Repetition by Rae et al. 2021 (arXiv:2112.11446), table A1."""

    kind: Literal["gopher_repetition"] = "gopher_repetition"
    repeated_paragraphs: Bounds = Bounds(most=0.3)  # of paragraphs
    repeated_paragraph_characters: Bounds = Bounds(most=0.2)  # of characters, as all below
    repeated_lines: Bounds = Bounds(most=0.3)  # of lines
    repeated_block_characters: Bounds = Bounds(most=0.2)  # in lines
    top_2_gram: Bounds = Bounds(most=0.20)
    top_3_gram: Bounds = Bounds(most=0.18)
    top_4_gram: Bounds = Bounds(most=0.16)
    repeated_5_grams: Bounds = Bounds(most=0.15)
    repeated_6_grams: Bounds = Bounds(most=0.14)
    repeated_7_grams: Bounds = Bounds(most=0.13)
    repeated_8_grams: Bounds = Bounds(most=0.12)
    repeated_9_grams: Bounds = Bounds(most=0.11)
    repeated_10_grams: Bounds = Bounds(most=0.10)


class C4(Rules):
    """Pages by Raffel et al. 2020 (JMLR 21/140), section 2.2, after its rules of lines; numbers of datatrove 0.10."""

    kind: Literal["c4"] = "c4"
    sentences: Bounds = Bounds(least=5)  # 3 in the code that made C4
    lorem_ipsum: Bounds = Bounds(most=0)  # lines
    braces: Bounds = Bounds(most=0)  # lines


class C4Paragraphs(Rules):
    """Pages of mC4 (Xue et al. 2021, arXiv:2010.11934), section 3.1: three lines of 200 characters."""

    kind: Literal["c4_paragraphs"] = "c4_paragraphs"
    third_longest_line: Bounds = Bounds(least=200)  # characters; 0 where there are fewer lines


class FineWeb(Rules):
    """Pages by Penedo et al. 2024 (arXiv:2406.17557), section 3.6, with the thresholds of its released code."""

    kind: Literal["fineweb"] = "fineweb"
    terminal_lines: Bounds = Bounds(least=0.12)  # of lines that are not blank
    short_lines: Bounds = Bounds(most=0.67)  # of lines that are not blank
    repeated_line_characters: Bounds = Bounds(most=0.01)  # of characters; the code, which built the set, has 0.01
    line_breaks: Bounds = Bounds(most=0.3)  # of words


class RefinedWeb(Rules):
    """Pages that lost little to the rules of lines by Penedo et al. 2023 (arXiv:2306.01116), appendix G.2."""

    kind: Literal["refinedweb"] = "refinedweb"
    removed_words: Bounds = Bounds(most=0.05)  # of words


def reasons(measures: Mapping[str, int | float], rules: Iterable[Rules], language: str) -> list[str]:
    """`Set.measure below 50`, for each bound that the measures of a text in a language break.

    >>> reasons({"sentences": 2, "lorem_ipsum": 0, "braces": 1}, [C4()], "en")
    ['C4.sentences below 5', 'C4.braces above 0']
    """
    return [
        f"{type(rule).__name__}.{name} {broken}"
        for rule in rules
        for name, bounds in rule.bounds(language, measures).items()
        if (broken := bounds.broken(measures[name]))
    ]


def measured(reason: str, measures: Mapping[str, int | float]) -> str:
    """`it is 12`, where a reason is a bound that one of the measures broke.

    >>> measured("Gopher.words below 50", {"words": 12})
    'it is 12'
    """
    value = measures.get(reason.partition(" ")[0].rpartition(".")[2])
    return "" if value is None else f"it is {value:.4g}"


def possible(rules: Sequence[Rules], language: str, lists: Iterable[str] = ()) -> list[str]:
    """Every reason that `reasons` may give: what too little of everything breaks, and too much.

    `lists` are the measures of lists of words that there are in this language (corpus/word_lists.py).

    >>> possible([C4Paragraphs()], "en")
    ['C4Paragraphs.third_longest_line below 200']
    """
    names = [*lists]
    values = (defaultdict(lambda end=end: end, dict.fromkeys(names, end)) for end in (-math.inf, math.inf))
    return [reason for measures in values for reason in reasons(measures, rules, language)]
