"""What an objective must know of ids: how many there are, and which separates, masks, stands for a span."""

from typing import NamedTuple

import numpy as np


class Ids(NamedTuple):
    vocab: int  # the tokenizer's
    separator: int  # opens every document, and closes it where `closing` does not
    start: int  # what an encoder-decoder's target opens with; where it is no separator, none opens its source
    mask: int  # stands for a hidden token
    sentinels: np.ndarray  # each stands for a hidden span
    begins_word_V: np.ndarray  # bool: a token that a word begins with
    closing: int | None = None  # closes a text that is put together here; None: the separator

    @property
    def end(self) -> int:
        return self.separator if self.closing is None else self.closing
