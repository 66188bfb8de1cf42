"""Texts to hashes of their words, a whole block of texts at once.

A text is compared without what editions of it differ in: decomposed (NFKD) and lower-cased; accents, punctuation,
symbols and control characters left out; any number is 0. What is between white space is a word; in a script without
spaces every character is one. The steps are those of datatrove's `simplify_text` (huggingface/datatrove,
utils/text.py), the lines are ours.

The hash of a word is a polynomial of its characters modulo 2^64, from differences of a running sum over the block:
no word is ever a Python object.
"""

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlm.bits import GOLDEN, mix
from jaxlm.corpus.characters import UNSPACED
from jaxlm.corpus.duplicates.arrays import Ragged

_DROPPED, _END, _SPACE, _ZERO = 0, 10, 32, 48  # codes: no character, end of a text, white space, a digit

_REACH = 1 << 20  # characters hashed by one table of powers; chosen: above a block of texts, 16 MB of tables

# Accents and vowel points that texts of one language have or lack. Other marks are vowels that a word needs.
_ACCENTS = (
    (0x0300, 0x036F),
    (0x0591, 0x05C7),  # Hebrew
    (0x0610, 0x061A),  # Arabic
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE20, 0xFE2F),
)


class Words(NamedTuple):
    hashes: Ragged  # u64, a row a text
    unspaced: np.ndarray  # bool a text: most of its words are characters of a script without spaces


def words(texts: Sequence[str]) -> Words:
    """The words of each text, hashed."""
    codes = _codes(texts)
    codes = codes[codes != _DROPPED]
    digit = codes == _ZERO
    again = digit[1:] & digit[:-1]
    if again.any():
        codes = codes[np.concatenate(([True], ~again))]
    apart = codes <= _SPACE
    alone = _is_unspaced(codes)
    first, last = _edges(apart, alone)
    ends = np.flatnonzero(codes == _END)
    offsets = np.concatenate((np.zeros(1, np.int64), np.searchsorted(first, ends)))
    unspaced = np.zeros(len(texts), bool)
    if alone is not None:
        before = np.concatenate(([0], np.cumsum(alone[first])))
        unspaced = 2 * np.diff(before[offsets]) > np.diff(offsets)
    return Words(Ragged(_hashes(codes, first, last), offsets), unspaced)


def spans(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the `words` of a text starts and ends, in characters of it as it is.

    >>> [(int(start), int(end)) for start, end in zip(*spans("Some 1,234 (fine) cafés"), strict=True)]
    [(0, 4), (5, 10), (12, 16), (18, 23)]
    """
    codes = _codes([text])
    kept = np.flatnonzero(codes != _DROPPED)
    digit, new = codes[kept] == _ZERO, np.ones(len(kept), bool)
    new[1:] = ~(digit[1:] & digit[:-1])
    runs = kept[np.append(np.flatnonzero(new)[1:], len(kept)) - 1]  # the last character of each number
    kept = kept[new]
    codes = codes[kept]
    first, last = _edges(codes <= _SPACE, _is_unspaced(codes))
    starts, ends = kept[first], runs[last]
    if text.isascii():
        return starts, ends + 1
    # Lower-casing what is decomposed changes no length: the one letter that grows, U+0130, is taken apart before
    origin = np.repeat(np.arange(len(text)), [len(unicodedata.normalize("NFKD", one)) for one in text])
    starts, ends = origin[starts], origin[ends] + 1
    accents = np.array([unicodedata.combining(one) > 0 for one in text] + [False])  # dropped, but of the letter before
    while accents[ends].any():
        ends = ends + accents[ends]
    return starts, ends


def _codes(texts: Sequence[str]) -> np.ndarray:
    """A code a character, `_END` after each text."""
    plain = [t if t.isascii() else unicodedata.normalize("NFKD", t).lower() for t in texts]
    block = "\n".join([*plain, ""])
    if block.isascii():
        codes = _tables().ascii[np.frombuffer(block.encode("ascii"), np.uint8)]
    else:
        codes = _tables().codes[np.frombuffer(block.encode("utf-32-le", "surrogatepass"), np.uint32)]
    codes[np.cumsum([len(t) + 1 for t in plain], dtype=np.int64) - 1] = _END
    return codes


def _is_unspaced(codes: np.ndarray) -> np.ndarray | None:
    """None where no character is of a script without spaces."""
    if codes.dtype == np.uint8:
        return None
    alone = _tables().unspaced[codes]
    return alone if alone.any() else None


def _edges(apart: np.ndarray, alone: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Where words begin, and the last character of each."""
    inside = ~apart
    cut = apart if alone is None else apart | alone
    begins, ends = inside.copy(), inside
    begins[1:] &= cut[:-1] if alone is None else cut[:-1] | alone[1:]
    ends[:-1] &= cut[1:] if alone is None else cut[1:] | alone[:-1]
    return np.flatnonzero(begins), np.flatnonzero(ends)


def _hashes(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """A span of words at a time, so that a long text needs no long table of powers."""
    found, start = np.zeros(len(first), np.uint64), 0
    while start < len(first):
        begin = first[start]
        end = max(int(np.searchsorted(last, begin + _REACH)), start + 1)
        span = codes[begin : last[end - 1] + 1]
        found[start:end] = _of_span(span, first[start:end] - begin, last[start:end] - begin)
        start = end
    return found


def _of_span(codes: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    powers, inverses = _powers(_REACH) if len(codes) <= _REACH else _powers.__wrapped__(len(codes))  # one huge word
    terms = _tables().values[codes] * powers[: len(codes)]
    sums = np.cumsum(terms)
    return mix((sums[last] - sums[first] + terms[first]) * inverses[first])


@functools.cache
def _powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the base and of its inverse, modulo 2^64."""
    bases = np.ones((2, length), np.uint64)
    bases[0, 1:], bases[1, 1:] = GOLDEN, pow(GOLDEN, -1, 2**64)
    powers = np.multiply.accumulate(bases, axis=1)
    return powers[0], powers[1]


class _Tables(NamedTuple):
    ascii: np.ndarray  # u8: character to code
    codes: np.ndarray  # u32: the same of all of Unicode
    unspaced: np.ndarray  # bool a code
    values: np.ndarray  # u64 a code: what a word sums up


@functools.cache
def _tables() -> _Tables:
    codes = np.arange(0x110000, dtype=np.uint32)
    unspaced = np.zeros(len(codes), bool)
    for low, high in UNSPACED:
        unspaced[low : high + 1] = True
    for code in range(0x20000):  # above are ideographs and what no text holds
        codes[code] = _code(chr(code))
    for low, high in _ACCENTS:
        codes[low : high + 1] = _DROPPED
    return _Tables(codes[:128].astype(np.uint8), codes, unspaced, mix(np.arange(1, len(codes) + 1, dtype=np.uint64)))


def _code(character: str) -> int:
    category = unicodedata.category(character)
    if character.isspace():
        return _SPACE
    if category == "Nd":
        return _ZERO
    if category[0] in "PSC":
        return _DROPPED
    return ord(character.lower()) if len(character.lower()) == 1 else ord(character)
