"""Batch: the one thing that flows from the loader on.

Arrays end in their dimensions. The letters mean the same in the whole package:

    B batch    L query position    M memory (key) position    V vocabulary
    P positions of a row that are asked for
    D width    F feed-forward width    N layers
    G key/value heads    R query heads per key/value head    K head width
"""

from typing import Any, NamedTuple


class Source(NamedTuple):
    """What an encoder-decoder reads before it writes; all fields are "B M"."""

    token: Any  # int32
    segment: Any  # int32; a target of segment s reads the source of segment s, 0 is padding
    position: Any  # int32, from 0 in each segment


class Batch(NamedTuple):
    """Rows of tokens and what to predict from them; numpy on the host, jax.Array on devices.

    Fields are "B L" where nothing else is said. `weight` is 0 where there is nothing to predict. `segment` numbers
    the documents of a packed row from 1, 0 is padding; tokens attend within their segment only. `position` restarts
    at 0 in each document. With `where`, only those positions are asked for: `target` and `weight` are "B P".
    """

    token: Any  # int32
    target: Any  # int32
    weight: Any  # float32
    segment: Any  # int32
    position: Any  # int32
    kind: Any = None  # int32, the part of its example a token is in (BERT's token types); None: all in part 0
    prefix: Any = None  # bool, a token that every token of its segment sees, in causal models too; None: none is
    where: Any = None  # int32, "B P": positions asked for, any where weight is 0; None: all
    source: Source | None = None  # of an encoder-decoder
    label: Any = None  # int32, "B 1": 1 where the parts of a row stand in the wrong order, 0 where not, -1: not asked
