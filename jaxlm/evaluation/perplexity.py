"""How well a model predicts text: nats a token, perplexity, and bits a byte, with standard errors.

Bits a byte divide by the UTF-8 bytes of the source text, so they compare models with different tokenizers,
and models with compressors. Every token counts once, the separator that ends a document included.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.batch import Batch
from jaxlm.losses import row_nats
from jaxlm.models.build import Family


class Score(NamedTuple):
    loss: float  # nats a token
    perplexity: float
    bits_per_byte: float
    tokens: int  # predicted
    bytes: int  # of source text
    standard_error: float  # of loss, rows taken as independent


def row_sums(family: Family) -> Callable[[Any, Batch], jax.Array]:
    """`f(params, batch) -> (2, B)`: nats and weight of each row; to be jitted by whoever knows the mesh."""

    def sums(params: Any, batch: Batch) -> jax.Array:
        hidden_BLD = family.hidden(params, batch)
        nats_B = row_nats(
            hidden_BLD,
            family.head(params),
            batch.target,
            batch.weight,
            precision=family.precision,
            softcap=family.softcap,
        )
        return jnp.stack([nats_B, batch.weight.sum(1)])

    return sums


def score(sums: Callable[[Any, Batch], jax.Array], params: Any, batches: Iterable[Batch], source_bytes: int) -> Score:
    """The Score of `params` over all rows of `batches`; at most two batches are in flight."""
    waiting, rows = [], []
    for batch in batches:
        waiting.append(sums(params, batch))
        if len(waiting) > 2:
            rows.append(np.asarray(waiting.pop(0), np.float64))
    rows += [np.asarray(w, np.float64) for w in waiting]
    nats_B, weight_B = np.concatenate(rows, axis=1)
    return from_rows(nats_B, weight_B, source_bytes)


def from_rows(nats_B: np.ndarray, weight_B: np.ndarray, source_bytes: int) -> Score:
    """Mean over tokens; its standard error is that of a ratio of sums over rows (Cochran 1977, eq. 6.13)."""
    kept = weight_B > 0
    nats_B, weight_B = nats_B[kept], weight_B[kept]
    tokens, rows = weight_B.sum(), len(nats_B)
    loss = nats_B.sum() / tokens
    spread = ((nats_B - loss * weight_B) ** 2).sum() * rows / max(1, rows - 1)
    return Score(
        loss=float(loss),
        perplexity=math.exp(min(loss, 700.0)),
        bits_per_byte=float(nats_B.sum() / math.log(2) / source_bytes),
        tokens=round(tokens),
        bytes=source_bytes,
        standard_error=float(math.sqrt(spread) / tokens),
    )
