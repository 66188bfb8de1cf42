"""Words of documents as numbers: each run of characters without white space is cut once, however often it comes.

A lexicon knows every chunk it has met: its words and what is counted of it. A document is then a look-up for each
chunk, and numpy does the rest: statistics of words run at tens of MB/s instead of one.

Left out: scripts without spaces, whose words this does not find.
"""

import itertools
import threading
import unicodedata
from array import array
from collections.abc import Iterable
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
    kind_W: np.ndarray  # SYMBOL | ALPHABETIC | 1 << (STOP + which of the stop words) | ENDS or CLOSES


SYMBOL, ALPHABETIC, STOP = 1, 2, 2
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # Rae et al. 2021, appendix A
ENDS, CLOSES = 1 << 10, 1 << 11  # a sentence ends with it; punctuation that ends none, and so may stand behind one
_BREAK = "\n"  # no chunk has one: stands for the end of a line
_LETTER = "a"  # stands for all letters, which are alike to a sentence: most chunks need not be looked up


class Lexicon:
    """Chunks that were met; holds no document, and what it says of one does not depend on those before."""

    def __init__(self, most_chunks: int = _MOST_CHUNKS):
        self._most = most_chunks
        self._forget()

    def _forget(self) -> None:
        self._chunk_of, self._word_of = _Known(), _Known()
        self._words = _Column("i")  # of all chunks, one after the other
        self._starts = _Column("q")
        self._starts.new.append(0)
        self._hash, self._length, self._kind = _Column("Q"), _Column("i"), _Column("h")

    def read(self, text: str) -> Words:
        """The words of a document."""
        word_W = self._numbers(text.split())
        return Words(*(column.all()[word_W] for column in (self._hash, self._length, self._kind)))

    def sentences(self, lines: Iterable[str]) -> int:
        """Sentences of lines: one begins with each that is not blank, and one after each full stop that something
        follows on its line, as spaCy's sentencizer counts."""
        chunks: list[str] = []
        begun = 0
        for line in lines:
            own = line.split()
            begun += bool(own)
            chunks += [chunk if not chunk.isalpha() else _LETTER for chunk in own]
            chunks.append(_BREAK)
        word_W = self._numbers(chunks)
        mark_W = self._kind.all()[word_W] & (ENDS | CLOSES)
        mark_W = mark_W[mark_W != CLOSES]
        return begun + int(np.count_nonzero((mark_W[:-1] == ENDS) & (mark_W[1:] == 0)))

    def _numbers(self, chunks: list[str]) -> np.ndarray:
        """The number of each word of these chunks, in order."""
        if len(self._chunk_of) > self._most:
            self._forget()
        chunk_C = np.fromiter(map(self._chunk_of.__getitem__, chunks), np.int64, len(chunks))
        if self._chunk_of.new:
            self._meet(self._chunk_of.taken())
        starts = self._starts.all()
        first_C, last_C = starts[chunk_C], starts[chunk_C + 1]
        count_C = last_C - first_C
        before_C = np.cumsum(count_C) - count_C
        return self._words.all()[np.repeat(first_C - before_C, count_C) + np.arange(count_C.sum())]

    def _meet(self, chunks: Iterable[str]) -> None:
        words = [cut(chunk) if chunk != _BREAK else [chunk] for chunk in chunks]
        ends = itertools.accumulate(map(len, words), initial=len(self._words))
        self._starts.new.extend(itertools.islice(ends, 1, None))
        self._words.new.extend(map(self._word_of.__getitem__, itertools.chain.from_iterable(words)))
        self._learn(self._word_of.taken())

    def _learn(self, words: list[str]) -> None:
        self._hash.new.extend(xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) for word in words)
        self._length.new.extend(map(len, words))
        self._kind.new.extend(map(_kind, words))


_KIND_OF_STOP = {word: ALPHABETIC | 1 << STOP + place for place, word in enumerate(STOP_WORDS)}


def _kind(word: str) -> int:
    if word.isalpha():
        return _KIND_OF_STOP.get(word, ALPHABETIC)
    if word == _BREAK:
        return ENDS | CLOSES
    if any(map(str.isalpha, word)):
        return ALPHABETIC
    kind = SYMBOL if SYMBOLS.issuperset(word) else 0
    if word in TERMINAL:
        return kind | ENDS
    return kind | (CLOSES if all(unicodedata.category(character)[0] == "P" for character in word) else 0)


class _Known(dict[str, int]):
    """Numbers what it is asked for and does not have; what is `new` waits to be taken."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, key: str) -> int:
        self.new.append(key)
        self[key] = number = len(self)
        return number

    def taken(self) -> list[str]:
        new, self.new = self.new, []
        return new


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
