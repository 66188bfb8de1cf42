"""Weighted cross-entropy, computed in chunks so that the logits of a whole batch never exist.

Sums, not means: whoever adds up microbatches or devices divides once, by the weight of all.
"""

import math

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float, Int

from jaxlm.config import Config
from jaxlm.mesh import constrain, mesh_in_scope, row_shards
from jaxlm.models.layers import Precision, einsum

CHUNK_BYTES = 2**25  # chosen: logits of 32 MiB a chunk stay in cache or near it, and hold any vocabulary


class LossConfig(Config):
    z_loss: float = pydantic.Field(default=0.0, ge=0)  # times log(Z)^2 (PaLM, arXiv:2204.02311, section 5: 1e-4)
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)  # share of the target spread over all tokens
    chunk: int | None = pydantic.Field(default=None, gt=0)  # tokens of each row at once; None: what fits 32 MiB


PLAIN = LossConfig()  # cross-entropy and nothing else


def cross_entropy(
    hidden_BLD: Float[Array, "B L D"],
    table_VD: Float[Array, "V D"],
    target_BL: Int[Array, "B L"],
    weight_BL: Float[Array, "B L"],
    *,
    precision: Precision,
    cfg: LossConfig = PLAIN,
    softcap: float | None = None,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """(objective_B, nats_B): of each row the sum to minimise and the sum of plain cross-entropy, both weighted.

    The backward pass recomputes the logits of each chunk: temporary memory is that of one chunk.
    """
    B, L, _ = hidden_BLD.shape
    chunk = cfg.chunk or chunk_length(-(-B // row_shards(mesh_in_scope())), L, table_VD.shape[0])

    def of_chunk(hidden_BLD, target_BL, weight_BL):
        logits_BLV = einsum("BLD,VD->BLV", hidden_BLD, table_VD, precision).astype(jnp.float32)
        logits_BLV = constrain(soft_cap(logits_BLV, softcap), ("batch", "length", "act_vocab"))
        return weighted_sums(logits_BLV, target_BL, weight_BL, cfg)

    if chunk >= L:
        return of_chunk(hidden_BLD, target_BL, weight_BL)
    padding = -L % chunk
    in_chunks = lambda x: jnp.moveaxis(
        jnp.pad(x, ((0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 2)).reshape(B, -1, chunk, *x.shape[2:]),
        1,
        0,
    )
    of_chunk = jax.checkpoint(of_chunk)

    def add(sums, xs):
        return jax.tree.map(jnp.add, sums, of_chunk(*xs)), None

    zero_B = jnp.zeros(B, jnp.float32)
    sums, _ = jax.lax.scan(add, (zero_B, zero_B), tuple(map(in_chunks, (hidden_BLD, target_BL, weight_BL))))
    return sums


def chunk_length(rows: int, length: int, vocab: int) -> int:
    """Tokens of each row whose float32 logits over all `rows` fit CHUNK_BYTES; `length` evenly divided."""
    fits = max(1, CHUNK_BYTES // (4 * vocab * rows))
    return math.ceil(length / math.ceil(length / fits))


def soft_cap(logits: Array, cap: float | None) -> Array:
    return logits if cap is None else cap * jnp.tanh(logits / cap)


def weighted_sums(logits_BLV: Array, target_BL: Array, weight_BL: Array, cfg: LossConfig) -> tuple[Array, Array]:
    normaliser_BL = jax.nn.logsumexp(logits_BLV, axis=-1)
    of_target_BL = jnp.take_along_axis(logits_BLV, target_BL[..., None], axis=-1)[..., 0]
    nats_BL = normaliser_BL - of_target_BL
    objective_BL = nats_BL
    if cfg.label_smoothing:
        spread_BL = normaliser_BL - logits_BLV.mean(-1)
        objective_BL = (1 - cfg.label_smoothing) * nats_BL + cfg.label_smoothing * spread_BL
    if cfg.z_loss:
        objective_BL = objective_BL + cfg.z_loss * normaliser_BL**2
    return (objective_BL * weight_BL).sum(1), (nats_BL * weight_BL).sum(1)
