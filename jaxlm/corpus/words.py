"""Words of documents as numbers: each run of characters without white space is cut once, however often it comes.

A lexicon knows every chunk it has met: its words and what is counted of it. A document is then a look-up for each
chunk, and numpy does the rest: statistics of words run at tens of MB/s instead of one.

Left out: scripts without spaces, whose words this does not find.
"""

import functools
import itertools
import threading
import unicodedata
from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import xxhash

from jaxlm.corpus.characters import SYMBOLS, TERMINAL
from jaxlm.corpus.english import cut

_MOST_CHUNKS = 1 << 19  # chosen, to bound memory at some 100 MB: a lexicon over it starts anew


class Words(NamedTuple):
    """The words of one document, in order, each in three arrays: W words."""

    hash_W: np.ndarray  # u64 of the word
    length_W: np.ndarray  # characters
    kind_W: np.ndarray  # SYMBOL | ALPHABETIC | 1 << (STOP + which of the stop words)
    runs: list[int]  # of characters without white space, in each line
    sentences: list[int]  # in each line


SYMBOL, ALPHABETIC, STOP = 1, 2, 2
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, appendix A
_STOP_PLACE = {word: place for place, word in enumerate(STOP_WORDS)}


class Lexicon:
    """Chunks that were met; holds no document, and what it says of one does not depend on those before."""

    def __init__(self, most_chunks: int = _MOST_CHUNKS):
        self._most = most_chunks
        self._forget()

    def _forget(self) -> None:
        self._chunk_of = _Known(self._meet)
        self._word_of = _Known(self._learn)
        self._words = _Column("i")  # of all chunks, one after the other
        self._starts = _Column("q")
        self._starts.new.append(0)
        self._hash, self._length, self._kind = _Column("Q"), _Column("i"), _Column("h")
        self._sign = array("b")  # of each word: see `_sentence_facts`
        self._sentence = _Column("i")  # rows of three: see there too

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
        hash_W, length_W, kind_W = (column.all()[word_W] for column in (self._hash, self._length, self._kind))
        return Words(hash_W, length_W, kind_W, runs, self._sentences(chunk_C, np.array(runs)))

    def _flat(self, chunk_C: np.ndarray) -> np.ndarray:
        starts = self._starts.all()
        first_C, last_C = starts[chunk_C], starts[chunk_C + 1]
        count_C = last_C - first_C
        before_C = np.cumsum(count_C) - count_C
        return self._words.all()[np.repeat(first_C - before_C, count_C) + np.arange(count_C.sum())]

    def _sentences(self, chunk_C: np.ndarray, runs: np.ndarray) -> list[int]:
        """Sentences of each line: one begins with it, others after a full stop, as spaCy's sentencizer counts."""
        alone_C, after_C, state_C = self._sentence.all().reshape(-1, 3)[chunk_C].T.astype(np.int64)
        line_C = np.repeat(np.arange(len(runs)), runs)
        counted = (runs > 0) + np.bincount(line_C, alone_C, len(runs))
        open_C = np.flatnonzero(state_C < 2)  # chunks of closing marks alone leave the state as it is
        ended = (state_C[open_C[:-1]] == 1) & (line_C[open_C[:-1]] == line_C[open_C[1:]])
        next_C = open_C[1:][ended]
        counted += np.bincount(line_C[next_C], (after_C - alone_C)[next_C], len(runs))
        return counted.astype(int).tolist()

    def _meet(self, chunk: str) -> int:
        words = [self._word_of[word] for word in cut(chunk)]
        self._words.new.extend(words)
        self._starts.new.append(len(self._words))
        self._sentence.new.extend(_sentence_facts(bytes(self._sign[word] for word in words)))
        return len(self._chunk_of)

    def _learn(self, word: str) -> int:
        letters = word.isalpha()
        kind = SYMBOL if not letters and SYMBOLS.issuperset(word) else 0
        kind |= ALPHABETIC if letters or any(map(str.isalpha, word)) else 0
        kind |= 1 << STOP + _STOP_PLACE[word] if word in _STOP_PLACE else 0
        self._hash.new.append(xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")))
        self._length.new.append(len(word))
        self._kind.new.append(kind)
        self._sign.append(_WORD if letters else _sign(word))
        return len(self._word_of)


_WORD, _STOPS, _MARKS = 0, 1, 2  # what a word is to a sentence: none of these, its end, punctuation alone


def _sign(word: str) -> int:
    if word in TERMINAL:
        return _STOPS
    return _MARKS if all(unicodedata.category(character)[0] == "P" for character in word) else _WORD


@functools.lru_cache(1 << 8)
def _sentence_facts(signs: bytes) -> tuple[int, int, int]:
    """(sentences that begin within a chunk, the same after a full stop, state it leaves); `signs` are of its words.

    The state is 1 after a full stop, 0 after a word, 2 where there were only closing marks: as it was before.
    """
    counts = []
    for after in (False, True):
        seen, begun = after, 0
        for sign in signs:
            if sign == _STOPS:
                seen = True
            elif seen and sign == _WORD:
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
    """Numbers that become more. An array that numpy looks at cannot grow, and who looks at a frame keeps its looks
    alive, as Dask's profiler does; so what is `new` waits beside, and an array that is full is left for a larger one.
    """

    def __init__(self, typecode: str):
        self._typecode = typecode
        self.new = array(typecode)
        self._buffer, self._filled = np.empty(1 << 10, typecode), 0

    def __len__(self) -> int:
        return self._filled + len(self.new)

    def all(self) -> np.ndarray:
        if self.new:
            first, self._filled = self._filled, len(self)
            if self._filled > len(self._buffer):
                larger = np.empty(2 * self._filled, self._typecode)
                larger[:first] = self._buffer[:first]
                self._buffer = larger
            self._buffer[first : self._filled], self.new = self.new, array(self._typecode)
        return self._buffer[: self._filled]


_OF_THREAD = threading.local()


def lexicon() -> Lexicon:
    """The one of this thread: a new one would have to meet every word again for each task."""
    if not hasattr(_OF_THREAD, "lexicon"):  # two threads of a worker would number their words alike
        _OF_THREAD.lexicon = Lexicon()
    return _OF_THREAD.lexicon
