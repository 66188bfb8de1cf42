"""What an objective must know of ids: how many there are, and which separates, masks, stands for a span."""

from typing import NamedTuple

import numpy as np


class Ids(NamedTuple):
    vocab: int  # the tokenizer's
    separator: int  # opens and closes every document
    start: int  # what an encoder-decoder's target opens with
    mask: int  # stands for a hidden token
    sentinels: np.ndarray  # each stands for a hidden span
    begins_word_V: np.ndarray  # bool: a token that a word begins with
