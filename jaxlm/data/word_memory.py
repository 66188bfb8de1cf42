"""Ids of the words that were met, so that a tokenizer reads each of them once: most words of a text came before.

It is exact where a text has the ids of its parts, cut before each space that follows another character. So it is for
SentencePiece's BPE and characters, if no piece of theirs goes on behind a space; unigram weighs a text as a whole, and
breaks ties by what follows.
"""

import re
import threading
from collections.abc import Callable, Sequence
from itertools import chain, pairwise

import numpy as np

WORD = re.compile(" *[^ ]+| +")  # with the spaces before it; spaces at the end of a text are one of their own
MOST_CHARACTERS = 1 << 22  # of the words that a thread remembers; chosen: some 100 MB, a novel has a tenth of them


class WordMemory:
    """`ids(texts)` by `encode`, which is asked for new words only; each thread has a memory of its own."""

    def __init__(self, encode: Callable[[list[str]], list[list[int]]]):
        self._encode, self._of_thread = encode, threading.local()

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        words = [WORD.findall(text) for text in texts]
        table = getattr(self._of_thread, "table", None) or _Table()
        new = list(set(chain.from_iterable(words)).difference(table.place))
        if new:
            table.add(new, self._encode(new))
        place = np.fromiter(map(table.place.__getitem__, chain.from_iterable(words)), np.int64)
        sizes = table.size[place]
        ends = np.cumsum(sizes)
        flat = table.ids[np.repeat(table.start[place] - (ends - sizes), sizes) + np.arange(sizes.sum())]
        self._of_thread.table = table if table.characters <= MOST_CHARACTERS else _Table()
        of_text = np.concatenate([[0], ends])[np.cumsum([0, *map(len, words)])]
        return [flat[start:end] for start, end in pairwise(of_text)]


class _Table:
    """Where the ids of each word are in one array."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}
        self.start, self.size, self.ids = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32)
        self.characters = 0

    def add(self, words: list[str], ids: list[list[int]]) -> None:
        size = np.array([len(one) for one in ids], np.int64)
        start = self.ids.size + np.cumsum(size) - size
        self.place.update(zip(words, range(len(self.place), len(self.place) + len(words)), strict=True))
        self.start, self.size = np.concatenate([self.start, start]), np.concatenate([self.size, size])
        self.ids = np.concatenate([self.ids, np.fromiter(chain.from_iterable(ids), np.int32)])
        self.characters += sum(map(len, words))
