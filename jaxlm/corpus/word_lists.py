"""Lists of words that a text should have, or not: stop words, flagged words, words of a subject.

A list is a file of yours, a word or a phrase a line, of one or some languages. How many words of a text it covers is
noted as `NAME_share` and how often it is met as `NAME_count`; rules bound either. Letters large and small are one, and
marks around words do not count. In scripts without spaces a word of several letters is found wherever they stand.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pydantic

from jaxlm.config import Config
from jaxlm.corpus import plain_words
from jaxlm.corpus.characters import UNSPACED_LANGUAGES
from jaxlm.corpus.decode import NotText, decode
from jaxlm.corpus.language import Language
from jaxlm.corpus.rules import Bounds, Rules
from jaxlm.errors import UserError


class WordListConfig(Config):
    """A file with a word or a phrase a line."""

    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9_]*$")
    path: str
    languages: tuple[Language, ...] = ("en",)  # ISO 639-1: texts in these are compared with it; (): all


class WordList(Rules):
    """Bounds on a list of `CorpusConfig.words`, for texts in a language of which there is one.

    C4 dropped a page for one bad word (Raffel et al. 2020): count=Bounds(most=0).
    """

    kind: Literal["word_list"] = "word_list"
    words: str  # the list's name
    share: Bounds = Bounds()  # of words that the list covers
    count: Bounds = Bounds()  # times that a word or phrase of it is met

    def bounds(self, language: str, measures: Mapping[str, int | float]) -> dict[str, Bounds]:
        found = {f"{self.words}_share": self.share, f"{self.words}_count": self.count}
        return {name: bounds for name, bounds in found.items() if name in measures}


def measures(lists: Iterable[WordListConfig], language: str) -> list[str]:
    """The names of what is noted of a text in this language."""
    names = sorted({one.name for one in lists if not one.languages or language in one.languages})
    return [f"{name}_{what}" for name in names for what in ("share", "count")]


class Listed(NamedTuple):
    """A list that was read; lists of one name and language are one."""

    name: str
    languages: tuple[str, ...]
    phrases: tuple[str, ...]


def load(lists: Iterable[WordListConfig]) -> list[Listed]:
    """UserError where a list cannot be read or holds no word."""
    found = []
    for one in lists:
        try:
            text, _ = decode(Path(one.path).expanduser().read_bytes())
        except (OSError, NotText) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"words {one.name!r}: path={one.path!r} cannot be read ({reason}): name a text") from None
        phrases = sorted({line.strip() for line in text.splitlines()} - {""})
        if not any(len(plain_words.words(phrase, spaced=False)) for phrase in phrases):
            raise UserError(
                f"words {one.name!r}: path={one.path!r} holds no word: give it a word a line, or leave it out"
            )
        found.append(Listed(one.name, one.languages, tuple(phrases)))
    return found


class Measurer:
    """Compares texts with lists."""

    def __init__(self, lists: Sequence[Listed]):
        self._lists = lists
        self._known: dict[tuple[str, bool], dict[int, np.ndarray]] = {}

    def measure(self, text: str, language: str) -> dict[str, int | float]:
        """NAME_share and NAME_count of each list of the language.

        >>> Measurer([Listed("drinks", ("en",), ("tea", "iced tea"))]).measure("Tea? An iced tea!", "en")
        {'drinks_share': 0.75, 'drinks_count': 3}
        """
        names = sorted({one.name for one in self._lists if not one.languages or language in one.languages})
        if not names:
            return {}
        spaced = language not in UNSPACED_LANGUAGES
        words_W, found = plain_words.words(text, spaced), {}
        for name in names:
            covered_W, count = np.zeros(len(words_W), bool), 0
            for length, known in self._grams(name, language, spaced).items():
                places = np.flatnonzero(np.isin(plain_words.grams(words_W, length), known))
                covered_W[(places[:, None] + np.arange(length)).ravel()] = True
                count += len(places)
            found[f"{name}_share"] = float(covered_W.mean()) if covered_W.size else 0.0
            found[f"{name}_count"] = count
        return found

    def _grams(self, name: str, language: str, spaced: bool) -> dict[int, np.ndarray]:
        """{words in a phrase: u64 of each such phrase}."""
        found = self._known.get((f"{name} {language}", spaced))
        if found is None:
            by_length: dict[int, set[int]] = defaultdict(set)
            for one in self._lists:
                if one.name == name and (not one.languages or language in one.languages):
                    for phrase in one.phrases:
                        words_W = plain_words.words(phrase, spaced)
                        by_length[len(words_W)].update(plain_words.grams(words_W, len(words_W)).tolist())
            found = {n: np.array(sorted(known), np.uint64) for n, known in sorted(by_length.items()) if n}
            self._known[f"{name} {language}", spaced] = found
        return found
