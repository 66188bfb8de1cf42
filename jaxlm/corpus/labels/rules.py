"""Rules that vote: a config names the class, and what a document must have for it. A rule that does not fit is silent.

Left out: rules that look at several documents, and a limit of time for a regular expression (Python's own can take for
ever on one such as `(a+)+b`, so write them plainly).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.config_errors import nearest
from jaxlm.corpus.characters import UNSPACED_CHARACTER
from jaxlm.corpus.files import matches
from jaxlm.corpus.language import Identifier, Language
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import Bounds, C4Paragraphs, FineWeb, Gopher, GopherRepetition
from jaxlm.corpus.words import Lexicon
from jaxlm.errors import UserError

_SETS = (Gopher(), GopherRepetition(), C4Paragraphs(), FineWeb())
MEASURES = tuple(name for rules in _SETS for name in rules.bounds("en", {}))

_WORD = re.compile(r"\w+")


class Item:
    """A text that is to get a label, and what rules ask of it, found when it is asked for."""

    def __init__(
        self, id: str, text: str, source: str, language: str | None = None, measures: Mapping | None = None
    ) -> None:
        self.id, self.text, self.source = id, text, source
        self._language, self._measures = language, measures

    @cached_property
    def language(self) -> str:
        return self._language if self._language is not None else _IDENTIFIER.identify(self.text)[0]

    @cached_property
    def measures(self) -> Mapping[str, int | float]:
        return measure(self.text, _LEXICON.read(self.text)) if self._measures is None else self._measures

    @cached_property
    def words(self) -> list[str]:
        """In small letters."""
        return _WORD.findall(self.text.lower())


_IDENTIFIER, _LEXICON = Identifier(), Lexicon()


class _Rule(Config):
    name: str = pydantic.Field(min_length=1)
    vote: str  # one of the classes


class PatternRule(_Rule):
    """A regular expression is found in the text."""

    kind: Literal["pattern"] = "pattern"
    pattern: str = pydantic.Field(min_length=1)  # Python's; ^ and $ are of lines
    ignore_case: bool = True
    least: int = pydantic.Field(default=1, gt=0)  # times

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> "PatternRule":
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(
                f"rule {self.name!r}: pattern={self.pattern!r} is no regular expression: {error}; mend it there"
            ) from None
        return self


class WordsRule(_Rule):
    """Words or phrases of a list are in the text, as whole words and in whatever case."""

    kind: Literal["words"] = "words"
    words: tuple[str, ...] = ()
    path: str | None = None  # of a file with more of them, one a line
    least: int = pydantic.Field(default=1, gt=0)  # occurrences, of all together

    @pydantic.model_validator(mode="after")
    def _has_some(self) -> "WordsRule":
        if not self.words and self.path is None:
            raise ValueError(f"rule {self.name!r}: words=() and path=None leave no word to look for: give one of them")
        return self


class MeasureRule(_Rule):
    """A measure of jaxlm/corpus/quality.py is within bounds."""

    kind: Literal["measure"] = "measure"
    measure: str
    bounds: Bounds

    @pydantic.field_validator("measure")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(f"{name!r} is no measure of a text; {nearest(name, MEASURES, 'these are')}")
        return name


class LanguageRule(_Rule):
    """The text is in one of some languages."""

    kind: Literal["language"] = "language"
    languages: tuple[Language, ...] = pydantic.Field(min_length=1)  # ISO 639-1


class SourceRule(_Rule):
    """The name of the file fits a glob pattern."""

    kind: Literal["source"] = "source"
    patterns: tuple[str, ...] = pydantic.Field(min_length=1)  # of the name, or of the path below the source


RuleConfig = Annotated[
    PatternRule | WordsRule | MeasureRule | LanguageRule | SourceRule, pydantic.Field(discriminator="kind")
]
Fits = Callable[[Item], bool]


def fits(rule: RuleConfig) -> Fits:
    """Whether a document is such that `rule` votes.

    >>> tea = fits(WordsRule(name="tea", vote="drink", words=("tea", "green tea")))
    >>> tea(Item("", "Tea?", "")), tea(Item("", "Teapots.", ""))
    (True, False)
    """
    match rule:
        case PatternRule():
            found = re.compile(rule.pattern, re.MULTILINE | (re.IGNORECASE if rule.ignore_case else 0)).finditer
            return lambda item: _at_least(rule.least, found(item.text))
        case WordsRule():
            return _of_words(rule)
        case MeasureRule():
            return lambda item: rule.bounds.broken(item.measures[rule.measure]) is None
        case LanguageRule():
            return lambda item: item.language in rule.languages
        case SourceRule():
            return lambda item: matches(item.source.rpartition(":")[0] or item.source, rule.patterns)


def _at_least(least: int, found: Iterator[re.Match[str]]) -> bool:
    return any(number == least for number, _ in enumerate(found, start=1))


def _of_words(rule: WordsRule) -> Fits:
    """Single words are looked up among those of the text, which is fast; phrases are searched for.

    In scripts without spaces a word is looked for inside others, as phrases are.
    """
    listed = {word.lower() for word in [*rule.words, *_listed(rule)] if word.strip()}
    single = {word for word in listed if _WORD.fullmatch(word) and not UNSPACED_CHARACTER.search(word)}
    phrases = sorted(listed - single, key=lambda phrase: (-len(phrase), phrase))
    spelled = re.compile("|".join(map(_bounded, phrases))) if phrases else None

    def fit(item: Item) -> bool:
        count = sum(word in single for word in item.words) if single else 0
        return count >= rule.least or (
            spelled is not None and _at_least(rule.least - count, spelled.finditer(item.text.lower()))
        )

    return fit


def _bounded(phrase: str) -> str:
    """A pattern that does not begin or end within a word, in scripts that have spaces."""
    edge = lambda character: _WORD.fullmatch(character) and not UNSPACED_CHARACTER.fullmatch(character)
    before, after = (r"(?<!\w)" if edge(phrase[0]) else ""), (r"(?!\w)" if edge(phrase[-1]) else "")
    return before + r"\s+".join(map(re.escape, phrase.split())) + after


def _listed(rule: WordsRule) -> list[str]:
    if rule.path is None:
        return []
    try:
        return Path(rule.path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"rule {rule.name!r}: path={rule.path!r} cannot be read: {reason}: name a text file") from None
