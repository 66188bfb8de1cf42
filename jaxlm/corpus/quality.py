"""Measures of a text that rules of quality ask for: numbers now, thresholds later (corpus/rules.py).

Gopher: Rae et al. 2021 (arXiv:2112.11446), appendix A and table A1. FineWeb: Penedo et al. 2024 (arXiv:2406.17557).
What a paper leaves open is done as datatrove 0.10 does it, whose decisions these equal (`benchmarks/corpus.py`):
shares of n-grams are of the text's characters with white space, and a repeated n-gram is passed over whole.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from jaxlm.corpus.characters import TERMINALS
from jaxlm.corpus.words import ALPHABETIC, STOP, SYMBOL, Words

TOP, REPEATED = (2, 3, 4), (5, 6, 7, 8, 9, 10)  # n of the n-grams whose share is measured
SHORT_LINE = 30  # characters (FineWeb)

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost: 2**64 over the golden ratio


def measure(text: str, lines: Sequence[str], words: Words) -> dict[str, int | float]:
    """Every measure of a text that is not blank; `lines` are its lines, `words` those of them all.

    >>> from jaxlm.corpus.words import Lexicon
    >>> text = "The cat sat.\\nThe cat sat."
    >>> measure(text, text.splitlines(), Lexicon().read(text.splitlines()))["repeated_lines"]
    0.5
    """
    return {**_of_words(text, words), **_of_lines(text, lines, words), **_of_repetition(text, words)}


def _of_words(text: str, words: Words) -> dict[str, int | float]:
    kind_W, all_words = words.kind_W, len(words.kind_W)
    real_W = kind_W & SYMBOL == 0
    real = int(real_W.sum())
    present = int(np.bitwise_or.reduce(kind_W >> STOP, initial=0))
    return {
        "words": real,
        "mean_word_length": float(words.length_W[real_W].sum() / real) if real else 0.0,
        "hashes": text.count("#") / all_words,
        "ellipses": (text.count("...") + text.count("…")) / all_words,
        "alphabetic_words": int((kind_W & ALPHABETIC > 0).sum()) / all_words,
        "stop_words": present.bit_count(),
        "line_breaks": text.count("\n") / all_words,
    }


def _of_lines(text: str, lines: Sequence[str], words: Words) -> dict[str, int | float]:
    starts, ends = [line.lstrip()[:1] for line in lines], [line.rstrip() for line in lines]
    filled = [line for line in text.split("\n") if line.strip()]
    blocks = [line for line in text.split("\n") if line] + [""] * (text.startswith("\n") + text.endswith("\n"))
    paragraphs = [part.lstrip("\n") for part in text.strip().split("\n\n") if part != "\n" and part]
    paragraph, block, line = _repeated(paragraphs), _repeated(blocks), _repeated(filled)
    return {
        "bullet_lines": sum(start in ("•", "-") for start in starts if start) / len(lines),
        "ellipsis_lines": sum(end.endswith(("...", "…")) for end in ends) / len(lines),
        "terminal_lines": sum(line.endswith(TERMINALS) for line in filled) / len(filled),
        "short_lines": sum(len(line) <= SHORT_LINE for line in filled) / len(filled),
        "repeated_line_characters": line[1] / len(text.replace("\n", "")),
        "repeated_paragraphs": paragraph[0] / len(paragraphs),
        "repeated_paragraph_characters": paragraph[1] / len(text),
        "repeated_lines": block[0] / len(blocks),
        "repeated_block_characters": block[1] / len(text),
        "third_longest_line": sorted(map(len, text.split("\n")))[-3] if text.count("\n") > 1 else 0,
    }


def _repeated(parts: Iterable[str]) -> tuple[int, int]:
    """(parts that were there before, their characters)."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count, characters = count + 1, characters + len(part)
        else:
            seen.add(part)
    return count, characters


def _of_repetition(text: str, words: Words) -> dict[str, int | float]:
    """Shares of n-grams; what repeats at n is looked for only where n - 1 repeats, since nowhere else it can."""
    ends_W = np.concatenate([[0], np.cumsum(words.length_W)])
    shares, gram_W, places = {}, words.hash_W, np.arange(len(words.hash_W))
    for n in range(2, max(REPEATED) + 1):
        gram_W = gram_W[:-1] * _FACTOR + words.hash_W[n - 1 :]
        places, runs = _repeats(gram_W, places[places < len(gram_W)])
        if n in TOP:
            first, most = _commonest(places, runs)
            characters = most * (ends_W[first + n] - ends_W[first] + n - 1) if gram_W.size else 0
        else:
            characters = _repeated_characters(places, runs, ends_W, n)
        shares[f"top_{n}_gram" if n in TOP else f"repeated_{n}_grams"] = float(characters / len(text))
    return shares


def _repeats(gram_W: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(`places` whose n-gram is at another of them too, one n-gram after the other; how many places each has)."""
    if places.size < 2:
        return places[:0], np.zeros(0, np.int64)
    order = places[np.argsort(gram_W[places], kind="stable")]
    sorted_grams = gram_W[order]
    edges = np.flatnonzero(np.concatenate([[True], sorted_grams[1:] != sorted_grams[:-1], [True]]))
    runs = edges[1:] - edges[:-1]
    again = runs > 1
    return order[np.repeat(again, runs)], runs[again]


def _commonest(places: np.ndarray, runs: np.ndarray) -> tuple[int, int]:
    """(first place, times) of the commonest n-gram; of equals, the first in the text."""
    if not runs.size:
        return 0, 1
    firsts = places[np.cumsum(runs) - runs]
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
