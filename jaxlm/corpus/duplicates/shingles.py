"""The shingles of texts: sets of hashes of so many words in a row (Broder 1997)."""

import itertools
from collections.abc import Sequence

import numpy as np

from jaxlm.bits import mix
from jaxlm.corpus.duplicates.arrays import Ragged, joined
from jaxlm.corpus.duplicates.blocks import BLOCK, blocks
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.words import words

_BASE = 0x6A09E667F3BCC909  # odd: the square root of 2 after its point, no word hash has to do with it


def shingles(texts: Sequence[str], cfg: NearConfig) -> Ragged:
    """A row a text: its shingles, hashed, sorted, each once. A text without a word has none."""
    return joined([_of_block(block, cfg) for block in blocks(texts, BLOCK)])


def _of_block(texts: Sequence[str], cfg: NearConfig) -> Ragged:
    found = words(texts)
    if not found.unspaced.any():
        return _sets(_windows(found.hashes, cfg.words))
    spaced, unspaced = np.flatnonzero(~found.unspaced), np.flatnonzero(found.unspaced)
    by_words = _windows(found.hashes.take(spaced), cfg.words)
    by_characters = _windows(found.hashes.take(unspaced), cfg.characters)
    back = np.argsort(np.concatenate((spaced, unspaced)))
    return _sets(joined([by_words, by_characters]).take(back))


def _windows(words: Ragged, length: int) -> Ragged:
    """Every `length` words in a row; all of a text that has fewer."""
    starts, counts = words.offsets[:-1], words.counts
    padded = np.concatenate((words.flat, np.zeros(length, np.uint64)))
    powers = np.array([pow(_BASE, n, 2**64) for n in range(length)], np.uint64)
    hashes = sum((padded[n : n + len(words.flat)] * powers[n] for n in range(length)), np.zeros(1, np.uint64))
    short = np.flatnonzero((counts > 0) & (counts < length))
    for n in range(1, length):  # take out again what is of the next text
        beyond = short[counts[short] <= n]
        hashes[starts[beyond]] -= padded[starts[beyond] + n] * powers[n]
    keep = np.ones(len(words.flat), bool)
    for n in range(1, length):  # no window starts in the last words of a longer one
        keep[words.offsets[1:][counts > n] - n] = False
    return Ragged(mix(hashes), words.offsets).where(keep)


def _sets(rows: Ragged) -> Ragged:
    flat, offsets = rows.flat, rows.offsets.tolist()
    for start, end in itertools.pairwise(offsets):
        flat[start:end].sort()
    keep = np.ones(len(flat), bool)
    keep[1:] = flat[1:] != flat[:-1]
    keep[rows.offsets[:-1][rows.counts > 0]] = True
    return rows.where(keep)
