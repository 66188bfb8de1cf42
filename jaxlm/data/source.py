"""What an encoder-decoder reads: one rule for data and for prompts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxlm.batch import Source


def source_ids(ids: Any, separator: int, start: int | None = None) -> np.ndarray:
    """`ids` of a text as a source: as in the stream, where each document stands between two separators.

    Where what is written begins with another token, `start`, no separator opens the source either, as T5 has it.

    >>> source_ids([7, 8], separator=0).tolist(), source_ids([7, 8], separator=1, start=0).tolist()
    ([0, 7, 8, 0], [7, 8, 1])
    """
    opening = [separator] if start in (None, separator) else []
    return np.concatenate([opening, np.asarray(ids), [separator]]).astype(np.int32)


def as_source(rows: Sequence[np.ndarray], width: int, padding: int) -> Source:
    """Rows of ids as a batch: one source each, padded on the right.

    >>> as_source([np.array([0, 7, 0]), np.array([0, 0])], width=4, padding=0).segment.tolist()
    [[1, 1, 1, 0], [1, 1, 0, 0]]
    """
    real_BM = np.arange(width)[None] < np.array([len(row) for row in rows])[:, None]
    token_BM = np.full(real_BM.shape, padding, np.int32)
    token_BM[real_BM] = np.concatenate(rows)
    position_BM = np.where(real_BM, np.arange(width)[None], 0)
    return Source(token_BM, real_BM.astype(np.int32), position_BM.astype(np.int32))
