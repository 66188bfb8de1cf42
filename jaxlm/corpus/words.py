"""Words of documents as numbers: each run of characters without white space is cut once, however often it comes.

A lexicon knows every chunk it has met: its words and what is counted of it. A document is then a look-up for each
chunk, and numpy does the rest: statistics of words run at tens of MB/s instead of one.

Left out: scripts without spaces, whose words this does not find.
"""

import itertools
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import xxhash

from jaxlm.corpus.characters import SYMBOLS, TERMINAL
from jaxlm.corpus.english import cut

_MOST_CHUNKS = 1 << 20  # chosen, to bound memory: a lexicon over it starts anew


class Words(NamedTuple):
    """The words of one document, in order, each in three arrays: W words."""

    hash_W: np.ndarray  # u64 of the word
    length_W: np.ndarray  # characters
    kind_W: np.ndarray  # SYMBOL | ALPHABETIC | 1 << (STOP + which of the stop words)
    runs: list[int]  # of characters without white space, in each line
    sentences: list[int]  # in each line


SYMBOL, ALPHABETIC, STOP = 1, 2, 2
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, appendix A


class Lexicon:
    """Chunks that were met; holds no document."""

    def __init__(self, most_chunks: int = _MOST_CHUNKS):
        self._most = most_chunks
        self._forget()

    def _forget(self) -> None:
        self._chunk_of = _Known(self._meet)
        self._word_of = _Known(self._learn)
        self._words = _Column(np.int32)  # of all chunks, one after the other
        self._starts = _Column(np.int64, [0])
        self._hash, self._length, self._kind = _Column(np.uint64), _Column(np.int32), _Column(np.int16)
        self._sentence = _Column(np.int32)  # rows of three: see `_sentence_facts`

    def read(self, lines: Iterable[str]) -> Words:
        """The words of a document, given line by line."""
        if len(self._chunk_of) > self._most:
            self._forget()
        chunks = [line.split() for line in lines]
        runs = [len(line) for line in chunks]
        chunk_C = np.fromiter(
            map(self._chunk_of.__getitem__, itertools.chain.from_iterable(chunks)), np.int64, sum(runs)
        )
        word_W = self._flat(chunk_C)
        return Words(
            self._hash.array[word_W], self._length.array[word_W], self._kind.array[word_W],
            runs, self._sentences(chunk_C, np.array(runs)),
        )  # fmt: skip

    def _flat(self, chunk_C: np.ndarray) -> np.ndarray:
        first_C, last_C = self._starts.array[chunk_C], self._starts.array[chunk_C + 1]
        count_C = last_C - first_C
        before_C = np.cumsum(count_C) - count_C
        return self._words.array[np.repeat(first_C - before_C, count_C) + np.arange(count_C.sum())]

    def _sentences(self, chunk_C: np.ndarray, runs: np.ndarray) -> list[int]:
        """Sentences of each line: one begins with it, others after a full stop, as spaCy's sentencizer counts."""
        alone_C, after_C, state_C = self._sentence.array.reshape(-1, 3)[chunk_C].T
        line_C = np.repeat(np.arange(len(runs)), runs)
        counted = (runs > 0) + np.bincount(line_C, alone_C, len(runs))
        open_C = np.flatnonzero(state_C < 2)  # chunks of closing marks alone leave the state as it is
        ended = (state_C[open_C[:-1]] == 1) & (line_C[open_C[:-1]] == line_C[open_C[1:]])
        next_C = open_C[1:][ended]
        counted += np.bincount(line_C[next_C], (after_C - alone_C)[next_C], len(runs))
        return counted.astype(int).tolist()

    def _meet(self, chunk: str) -> int:
        words = cut(chunk)
        self._words.add(*map(self._word_of.__getitem__, words))
        self._starts.add(self._words.size)
        self._sentence.add(*_sentence_facts(words))
        return len(self._chunk_of)

    def _learn(self, word: str) -> int:
        kind = SYMBOL if SYMBOLS.issuperset(word) else 0
        kind |= ALPHABETIC if any(map(str.isalpha, word)) else 0
        kind |= 1 << STOP + STOP_WORDS.index(word) if word in STOP_WORDS else 0
        self._hash.add(xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")))
        self._length.add(len(word))
        self._kind.add(kind)
        return len(self._word_of)


def _sentence_facts(words: list[str]) -> tuple[int, int, int]:
    """(sentences that begin within, the same after a full stop, state it leaves).

    The state is 1 after a full stop, 0 after a word, 2 where there were only closing marks: as it was before.
    """
    counts = []
    for after in (False, True):
        seen, begun = after, 0
        for word in words:
            if word in TERMINAL:
                seen = True
            elif seen and not all(unicodedata.category(character)[0] == "P" for character in word):
                seen, begun = False, begun + 1
        counts.append((begun, seen))
    (alone, state), (afterwards, other) = counts
    return alone, afterwards, int(state) if state == other else 2


class _Known(dict[str, int]):
    """A dictionary that learns what it is asked for and does not have."""

    def __init__(self, learn: Callable[[str], int]):
        super().__init__()
        self._learn = learn

    def __missing__(self, key: str) -> int:
        self[key] = number = self._learn(key)
        return number


class _Column:
    """An array that grows."""

    def __init__(self, dtype: type, values: Iterable[int] = ()):
        self._held = np.array(list(values), dtype)
        self.size = len(self._held)

    @property
    def array(self) -> np.ndarray:
        return self._held[: self.size]

    def add(self, *values: int) -> None:
        end = self.size + len(values)
        if end > len(self._held):
            self._held = np.resize(self._held, max(2 * end, 1024))
        self._held[self.size : end] = values
        self.size = end
