"""Measures of a text that rules of quality ask for: numbers now, thresholds later (corpus/rules.py).

Gopher: Rae et al. 2021 (arXiv:2112.11446), appendix A and table A1. FineWeb: Penedo et al. 2024 (arXiv:2406.17557).
What a paper leaves open is done as datatrove 0.10 does it, whose decisions these equal (`benchmarks/corpus.py`):
shares of n-grams are of the text's characters with white space, and a repeated n-gram is passed over whole.
"""

from collections.abc import Sequence

import numpy as np

from jaxlm.bits import GOLDEN
from jaxlm.corpus.characters import TERMINAL
from jaxlm.corpus.words import ALPHABETIC, STOP, STOP_WORDS, SYMBOL, Words

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)  # n of the n-grams whose share is measured
SHORT_LINE = 30  # characters (FineWeb)

_FACTOR = np.uint64(GOLDEN)


def measure(text: str, words: Words) -> dict[str, int | float]:
    """Every measure of a text that is not blank; `words` are its words.

    >>> from jaxlm.corpus.words import Lexicon
    >>> text = "The cat sat.\\nThe cat sat."
    >>> measure(text, Lexicon().read(text))["repeated_lines"]
    0.5
    """
    return {**_of_words(text, words), **_of_lines(text), **_of_repetition(text, words)}


def count(words: Words) -> int:
    """The measure `words`: those that are not symbols alone."""
    return int(np.count_nonzero(words.kind_W & SYMBOL == 0))


def _of_words(text: str, words: Words) -> dict[str, int | float]:
    kind_W, all_words = words.kind_W, len(words.kind_W)
    real_W = kind_W & SYMBOL == 0
    real = count(words)
    present = int(np.bitwise_or.reduce(kind_W, initial=0)) >> STOP & (1 << len(STOP_WORDS)) - 1
    return {
        "words": real,
        "mean_word_length": float(words.length_W[real_W].sum() / real) if real else 0.0,
        "hashes": text.count("#") / all_words,
        "ellipses": (text.count("...") + text.count("…")) / all_words,
        "alphabetic_words": int((kind_W & ALPHABETIC > 0).sum()) / all_words,
        "stop_words": present.bit_count(),
        "line_breaks": text.count("\n") / all_words,
    }


def _of_lines(text: str) -> dict[str, int | float]:
    lines, parts = text.splitlines(), text.split("\n")
    filled = [line for line in parts if line and not line.isspace()]
    blocks = [line for line in parts if line] + [""] * (text.startswith("\n") + text.endswith("\n"))
    paragraphs = [part.lstrip("\n") for part in text.strip().split("\n\n") if part != "\n" and part]
    paragraph, block = _repeated(paragraphs), _repeated(blocks)
    line = _repeated(filled) if block[0] else (0, 0)  # which are some of the blocks
    elided = "..." in text or "…" in text
    return {
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines if elided) / len(lines),
        "terminal_lines": sum(line[-1] in TERMINAL for line in filled) / len(filled),
        "short_lines": sum(len(line) <= SHORT_LINE for line in filled) / len(filled),
        "repeated_line_characters": line[1] / (len(text) - len(parts) + 1),
        "repeated_paragraphs": paragraph[0] / len(paragraphs),
        "repeated_paragraph_characters": paragraph[1] / len(text),
        "repeated_lines": block[0] / len(blocks),
        "repeated_block_characters": block[1] / len(text),
        "third_longest_line": sorted(map(len, parts))[-3] if len(parts) > 2 else 0,
    }


def _repeated(parts: Sequence[str]) -> tuple[int, int]:
    """(parts that were there before, their characters)."""
    different = set(parts)
    return len(parts) - len(different), sum(map(len, parts)) - sum(map(len, different))


def _of_repetition(text: str, words: Words) -> dict[str, int | float]:
    """Shares of n-grams; what repeats at n is looked for only where n - 1 repeats, since nowhere else it can."""
    ends_W = np.zeros(len(words.length_W) + 1, np.int64)
    np.cumsum(words.length_W, out=ends_W[1:])
    shares, places_P, gram_P = {}, np.arange(len(words.hash_W)), words.hash_W
    for n in range(2, max(REPEATED) + 1):
        if places_P.size:
            inside_P = places_P <= len(words.hash_W) - n
            places_P, gram_P = places_P[inside_P], gram_P[inside_P]
            gram_P = gram_P * _FACTOR + words.hash_W[places_P + (n - 1)]
        places_P, gram_P, runs = _repeats(places_P, gram_P)
        if n in REPEATED:
            characters = _repeated_characters(places_P, runs, ends_W, n)
        elif len(words.hash_W) < n:
            characters = 0
        else:
            first, most = _commonest(places_P, runs)
            characters = most * (ends_W[first + n] - ends_W[first] + n - 1)
        shares[f"top_{n}_gram" if n in TOP else f"repeated_{n}_grams"] = float(characters / len(text))
    return shares


def _repeats(places_P: np.ndarray, gram_P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(places whose n-gram is at another of them too, one n-gram after the other; the same of the n-grams; how many
    places each has)."""
    if places_P.size < 2:
        return places_P[:0], gram_P[:0], np.zeros(0, np.int64)
    order_P = np.argsort(gram_P)
    gram_P, edge_P = gram_P[order_P], np.ones(len(gram_P) + 1, bool)
    np.not_equal(gram_P[1:], gram_P[:-1], out=edge_P[1:-1])
    again_P = ~(edge_P[1:] & edge_P[:-1])
    edges = np.flatnonzero(edge_P)
    runs = edges[1:] - edges[:-1]
    return places_P[order_P[again_P]], gram_P[again_P], runs[runs > 1]


def _commonest(places_P: np.ndarray, runs: np.ndarray) -> tuple[int, int]:
    """(first place, times) of the commonest n-gram; of equals, the first in the text."""
    if not runs.size:
        return 0, 1
    firsts = np.minimum.reduceat(places_P, np.cumsum(runs) - runs)
    return int(firsts[runs == runs.max()].min()), int(runs.max())


def _repeated_characters(places: np.ndarray, runs: np.ndarray, ends_W: np.ndarray, n: int) -> int:
    """Characters of n-grams that came before, found from left to right; a found one is passed over whole."""
    if not places.size:
        return 0
    in_text = np.argsort(places)
    gram, places = np.repeat(np.arange(len(runs)), runs)[in_text], places[in_text]
    length = ends_W[places + n] - ends_W[places]
    seen, free, characters = set(), 0, 0
    for place, which, size in zip(places.tolist(), gram.tolist(), length.tolist(), strict=True):
        if place < free:
            continue
        if which in seen:
            characters, free = characters + size, place + n
        else:
            seen.add(which)
    return characters
