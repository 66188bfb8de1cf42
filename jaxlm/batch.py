"""Batch: the one thing that flows from the loader on.

Arrays end in their dimensions. The letters mean the same in the whole package:

    B batch    L query position    M memory (key) position    V vocabulary
    D width    F feed-forward width    N layers
    G key/value heads    R query heads per key/value head    K head width
"""

from typing import Any, NamedTuple


class Batch(NamedTuple):
    """Rows of tokens and what to predict from them; numpy on the host, jax.Array on devices.

    All fields are "B L". `weight` is 0 where there is nothing to predict. `segment` numbers the
    documents of a packed row from 1, 0 is padding; tokens attend within their segment only.
    `position` restarts at 0 in each document.
    """

    token: Any  # int32
    target: Any  # int32
    weight: Any  # float32
    segment: Any  # int32
    position: Any  # int32
