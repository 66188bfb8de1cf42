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
from jaxlm.errors import UserError
from jaxlm.losses import row_scores
from jaxlm.models.family import Family


class Score(NamedTuple):
    loss: float  # nats a token
    perplexity: float
    accuracy: float  # share of tokens that the model holds likeliest
    bits_per_byte: float | None  # None: not every token was asked for
    tokens: int  # predicted
    bytes: int | None  # of source text, where all of it was asked for
    standard_error: float  # of loss, rows taken as independent
    order: float | None = None  # nats a row of whether its parts stand in order; None: not asked


Sums = Callable[[Any, Batch, Any], tuple[jax.Array, Any]]


def row_sums(family: Family) -> Sums:
    """`f(params, batch, carry) -> (4, B), carry`: nats, hits, weight, and nats of the order, weighted, of each row.

    Whoever knows the mesh jits it.
    """

    def sums(params: Any, batch: Batch, carry: Any) -> tuple[jax.Array, Any]:
        hidden = family.apply(params, batch, None, carry)
        scores = row_scores(
            hidden.array,
            family.head(params),
            batch.target,
            batch.weight,
            precision=family.precision,
            softcap=family.softcap,
            bias_V=family.bias(params),
        )
        order_B = jnp.broadcast_to(jnp.float32(hidden.penalty), len(batch.weight))  # without noise there is no other
        return jnp.stack([*scores, batch.weight.sum(1), order_B]), hidden.carry if carry != () else ()

    return sums


def score(sums: Sums, params: Any, batches: Iterable[Batch], source_bytes: int | None, carry: Any = ()) -> Score:
    """The Score of `params` over all rows of `batches`.

    `source_bytes` is None where the batches ask for less than all of the source. `carry` is the recurrent state
    before the first batch, where rows of a batch go on in the next. UserError where the batches ask for nothing.
    """
    return of_rows(rows(sums, params, batches, carry), source_bytes)


def rows(sums: Sums, params: Any, batches: Iterable[Batch], carry: Any = ()) -> np.ndarray:
    """What `sums` says of all rows of `batches`, in their order; at most two batches are in flight."""
    waiting, found = [], []
    for batch in batches:
        of_batch, carry = sums(params, batch, carry)
        waiting.append(of_batch)
        if len(waiting) > 2:
            found.append(np.asarray(waiting.pop(0), np.float64))
    found += [np.asarray(w, np.float64) for w in waiting]
    return np.concatenate(found, axis=1)


def of_rows(rows: np.ndarray, source_bytes: int | None) -> Score:
    """The Score of what `rows` returned, or some of its columns."""
    nats_B, hits_B, weight_B, *order = rows
    found = from_rows(nats_B, hits_B, weight_B, source_bytes)
    asked = bool(order) and order[0].any()
    return found._replace(order=float(order[0].sum() / weight_B.sum())) if asked else found


def from_rows(nats_B: np.ndarray, hits_B: np.ndarray, weight_B: np.ndarray, source_bytes: int | None) -> Score:
    """Mean over tokens; its standard error is that of a ratio of sums over rows (Cochran 1977, eq. 6.13).

    UserError where no row asks for anything.
    """
    kept = weight_B > 0
    if not kept.any():
        raise UserError(
            "the text has tokens, but the objective asks for nothing in any of its rows: score more text, or a run of "
            "shorter rows (data.length)"
        )
    nats_B, hits_B, weight_B = nats_B[kept], hits_B[kept], weight_B[kept]
    tokens, rows = weight_B.sum(), len(nats_B)
    loss = nats_B.sum() / tokens
    spread = ((nats_B - loss * weight_B) ** 2).sum() * rows / max(1, rows - 1)
    return Score(
        loss=float(loss),
        perplexity=math.exp(min(loss, 700.0)),
        accuracy=float(hits_B.sum() / tokens),
        bits_per_byte=None if source_bytes is None else float(nats_B.sum() / math.log(2) / source_bytes),
        tokens=round(tokens),
        bytes=source_bytes,
        standard_error=float(math.sqrt(spread) / tokens),
    )
