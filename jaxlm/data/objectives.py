"""Objectives: how rows of the stream become a Batch, that is what is hidden and what is asked.

The default loss, weighted cross-entropy, serves them all. An objective is a config; `build` makes its batches.
"""

from typing import Literal

import numpy as np

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.data.rows import Rows


class NextToken(Config):
    """Predict each token from those before it."""

    kind: Literal["next_token"] = "next_token"


ObjectiveConfig = NextToken  # a discriminated union once there are several


def build(objective: ObjectiveConfig, rows: Rows) -> Batch:
    """The Batch that `objective` makes of `rows`; arrays are shared with it, not copied.

    >>> import numpy as np
    >>> row = np.array([[0, 7, 8, 0]], np.int32)
    >>> segment, position = np.ones((1, 3), np.int32), np.arange(3, dtype=np.int32)[None]
    >>> rows = Rows(row[:, :-1], row[:, 1:], segment.astype(np.float32), segment, position)
    >>> build(NextToken(), rows).target
    array([[7, 8, 0]], dtype=int32)
    """
    return Batch(
        token=rows.token,
        target=rows.following,
        weight=rows.weight,
        segment=rows.segment,
        position=rows.position,
    )


def example(objective: ObjectiveConfig, batch: int, length: int) -> Batch:
    """A Batch of the shapes that `build` makes of `batch` rows of `length`, each one document of token 1."""
    ones = np.ones((batch, length), np.int32)
    position = np.tile(np.arange(length, dtype=np.int32), (batch, 1))
    return build(objective, Rows(ones, ones, ones.astype(np.float32), ones, position))
