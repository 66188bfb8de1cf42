"""Tokenizers of few ids, for tests of generation."""

import numpy as np


class Letters:
    """Ids 0 to 25 are a to z, 26 and 27 are the two bytes of é, 28 is the separator."""

    vocab, separator, closing, start = 29, 28, 28, 28

    def encode(self, text: str) -> np.ndarray:
        return np.array([(ord(c) - ord("a")) % 26 for c in text], np.int32)

    def decode_bytes(self, ids) -> bytes:
        return b"".join((*(bytes([97 + i]) for i in range(26)), b"\xc3", b"\xa9", b"")[i] for i in ids)


class Few:
    """A tokenizer of `vocab` ids: a, b, c, ... and last the separator."""

    def __init__(self, vocab: int):
        self.vocab, self.separator, self.closing, self.start = vocab, vocab - 1, vocab - 1, vocab - 1

    def encode(self, text: str) -> np.ndarray:
        return np.array([ord(c) - ord("a") for c in text], np.int32)

    def decode_bytes(self, ids) -> bytes:
        return bytes(97 + i for i in ids)
