"""Rules for texts of many languages, whose thresholds differ: BigScience's for the ROOTS corpus.

Laurençon et al. 2022 (arXiv:2303.03915), with the thresholds of the code that made the set (bigscience-workshop/
data-preparation, preprocessing/training/01b_oscar_cleaning_and_filtering/parameters_filtering.py). Words and special
characters are those of corpus/plain_words.py, where theirs are a list of characters and, for Chinese, SentencePiece's
tokens: here scripts without spaces are measured in letters.

Left out: bounds on the language's probability and on perplexity, which were set for fastText and KenLM models
(`languages.probability` and scores have their own); cutting long words out of texts.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from jaxlm.config import Config
from jaxlm.corpus import plain_words
from jaxlm.corpus.characters import UNSPACED_LANGUAGES
from jaxlm.corpus.language import Language
from jaxlm.corpus.rules import Bounds, Rules


class Thresholds(Config):
    """Of one language; shares are 0 to 1."""

    plain_words: Bounds
    repeated_characters: Bounds  # share of n-grams of characters that are the commonest
    repeated_words: Bounds  # share of n-grams of words that occur again
    special_characters: Bounds  # share of characters, white space too
    stop_share: Bounds  # share of words in the list `stop` (`CorpusConfig.words`), where there is one of the language
    flagged_share: Bounds  # and in the list `flagged`


class _Grams(NamedTuple):
    characters: int = 10
    words: int = 5


# language: (least words, most repeated characters, most repeated words, most special, least stop, most flagged)
_PUBLISHED = {
    "ar": (20, 0.20, 0.34, 0.30, 0.07, 0.03), "bn": (33, 0.13, 0.21, 0.45, 0.002, 0.001),
    "ca": (15, 0.20, 0.40, 0.25, 0.25, 0.1), "en": (20, 0.106, 0.19, 0.40, 0.30, 0.01),
    "es": (16, 0.14, 0.25, 0.34, 0.40, 0.01), "eu": (8, 0.20, 0.40, 0.31, 0.05, 0.1),
    "fr": (13, 0.14, 0.13, 0.34, 0.27, 0.008), "hi": (38, 0.18, 0.47, 0.45, 0.01, 0.005),
    "id": (15, 0.15, 0.20, 0.34, 0.15, 0.01), "pt": (19, 0.25, 0.98, 0.35, 0.20, 0.007),
    "ur": (25, 0.19, 0.50, 0.25, 0.01, 0.025), "vi": (30, 0.15, 0.20, 0.34, 0.08, 0.005),
    "zh": (1, 0.20, 0.96, 0.30, 0.1691, 0.001),
}  # fmt: skip
_OTHERS = (10, 0.20, 0.30, 0.40, 0.1, 0.1)
_GRAMS = {"zh": _Grams(characters=3), "ur": _Grams(words=7)}


def _thresholds(language: str) -> Thresholds:
    alike = "zh" if language in UNSPACED_LANGUAGES else language
    words, characters, again, special, stop, flagged = _PUBLISHED.get(alike, _OTHERS)
    return Thresholds(
        plain_words=Bounds(least=words, most=1_000_000 if alike == "zh" else 100_000),
        repeated_characters=Bounds(most=characters),
        repeated_words=Bounds(most=again),
        special_characters=Bounds(most=special),
        stop_share=Bounds(least=stop),
        flagged_share=Bounds(most=flagged),
    )


class BigScience(Rules):
    """Each text by the thresholds of its language."""

    kind: Literal["bigscience"] = "bigscience"
    thresholds: dict[Language, Thresholds] = {}  # by ISO 639-1, in place of the published ones

    def bounds(self, language: str, measures: Mapping[str, int | float]) -> dict[str, Bounds]:
        """Those of lists only where the language has the list."""
        found = self.thresholds.get(language) or _thresholds(language)
        return {name: bounds for name, bounds in found if name in measures or not name.endswith("_share")}


def measure(text: str, language: str) -> dict[str, int | float]:
    """What `BigScience` asks of a text in a language.

    >>> measure("one two three four five one two three four five", "en")["repeated_words"]
    0.3333333333333333
    """
    alike = "zh" if language in UNSPACED_LANGUAGES else language
    n, code_C = _GRAMS.get(alike, _Grams()), plain_words.points(text)
    words_W = plain_words.words(text, spaced=language not in UNSPACED_LANGUAGES)
    _, times = np.unique(plain_words.grams(code_C.astype(np.uint64), n.characters), return_counts=True)
    _, again = np.unique(plain_words.grams(words_W, n.words), return_counts=True)
    return {
        "plain_words": len(words_W),
        "repeated_characters": _commonest(times),
        "repeated_words": float(again[again > 1].sum() / again.sum()) if again.size else 0.0,
        "special_characters": float(plain_words.special(code_C).mean()) if code_C.size else 0.0,
    }


def _commonest(times: np.ndarray) -> float:
    """The share of the sqrt(n) commonest of n different n-grams, or of those that occur again if these are fewer."""
    if not times.size:
        return 0.0
    many = min(int(np.sqrt(len(times))), int((times > 1).sum()))
    return float(np.sort(times)[len(times) - many :].sum() / times.sum())
