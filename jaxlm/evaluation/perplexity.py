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
from jaxlm.models.family import Family


class Score(NamedTuple):
    loss: float  # nats a token
    perplexity: float
    bits_per_byte: float
    tokens: int  # predicted
    bytes: int  # of source text
    standard_error: float  # of loss, rows taken as independent


Sums = Callable[[Any, Batch, Any], tuple[jax.Array, Any]]


def row_sums(family: Family) -> Sums:
    """`f(params, batch, carry) -> (2, B), carry`: nats and weight of each row; to be jitted by who knows the mesh."""

    def sums(params: Any, batch: Batch, carry: Any) -> tuple[jax.Array, Any]:
        hidden = family.apply(params, batch, None, carry)
        nats_B = row_nats(
            hidden.array,
            family.head(params),
            batch.target,
            batch.weight,
            precision=family.precision,
            softcap=family.softcap,
            bias_V=family.bias(params),
        )
        return jnp.stack([nats_B, batch.weight.sum(1)]), hidden.carry if carry != () else ()

    return sums


def score(sums: Sums, params: Any, batches: Iterable[Batch], source_bytes: int, carry: Any = ()) -> Score:
    """The Score of `params` over all rows of `batches`; at most two batches are in flight.

    `carry` is the recurrent state before the first batch, where rows of a batch go on in the next.
    """
    waiting, rows = [], []
    for batch in batches:
        of_batch, carry = sums(params, batch, carry)
        waiting.append(of_batch)
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
