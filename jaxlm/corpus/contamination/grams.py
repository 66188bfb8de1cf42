"""So many words in a row, hashed: the same for a text of an evaluation set and for one of the corpus.

Words are those of duplicates/words.py (case, accents, punctuation, white space and the digits of numbers make no
difference), after dashes and slashes have become spaces: "a well-known and/or good" is equal to "a well known and or
good". The hash of a gram is a polynomial of its words' hashes modulo 2^64.
"""

from collections.abc import Sequence

import numpy as np

from jaxlm.bits import mix
from jaxlm.corpus.duplicates.words import Words, words

_BASE = 0xA54FF53A5F1D36F1  # odd: the square root of 5 after its point
_LENGTH = 0x510E527FADE682D1  # so that grams of other lengths have other hashes
_APART = "-/\u2010\u2011\u2012\u2013\u2014\u2015"  # hyphens, dashes, a slash


def plain(text: str) -> str:
    """As many characters as `text` has, so that places in one are places in the other."""
    for character in _APART[:2] if text.isascii() else _APART:
        text = text.replace(character, " ")
    return text


def words_of(texts: Sequence[str]) -> Words:
    return words([plain(text) for text in texts])


def grams(flat: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """The hash of the `length` words from each of `starts` on."""
    total = np.zeros(len(starts), np.uint64)
    for n in range(length):
        total += flat[starts + n] * _power(n)
    return mix(total + np.uint64(length * _LENGTH % 2**64))


def every_gram(flat: np.ndarray, length: int) -> np.ndarray:
    """That of every word on, over the ends of texts too; what would begin less than `length` before the end is cut off.

    Twice as long a gram is two, so that log2(length) passes over the words are enough.
    """
    count = len(flat) - length + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    doubled, size, total, done = flat, 1, np.zeros(count, np.uint64), 0
    while True:
        if length & size:
            total = total + doubled[done : done + count] * _power(done)
            done += size
        if done == length:
            return mix(total + np.uint64(length * _LENGTH % 2**64))
        doubled = doubled[:-size] + doubled[size:] * _power(size)
        size *= 2


def _power(n: int) -> np.uint64:
    return np.uint64(pow(_BASE, n, 2**64))
