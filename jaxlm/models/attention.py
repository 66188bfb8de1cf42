"""Attention as one function: softmax over the keys that a query may see.

Each backend builds its own mask from `segments` and `positions`; a dense mask never crosses this seam.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlm.models.layers import Precision, einsum

HIDDEN = -1e30  # a score no softmax sees; finite, so that a row with every key hidden stays finite


def attend(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BMGK: Float[Array, "B M G K"],
    v_BMGK: Float[Array, "B M G K"],
    *,
    precision: Precision,
    segments: tuple[Int[Array, "B L"], Int[Array, "B M"]] | None = None,
    positions: tuple[Int[Array, "B L"], Int[Array, "B M"]] | None = None,
    causal: bool = True,
    window: int | None = None,
) -> Float[Array, "B L G R K"]:
    """Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), heads grouped.

    A query sees a key of its own segment (`segments`: of queries, of keys; None: all are one) whose
    position is not after its own (`causal`) and less than `window` before it. `positions` None: 0, 1, 2, ...
    """
    L, M, K = q_BLGRK.shape[1], k_BMGK.shape[1], q_BLGRK.shape[-1]
    scores_BGRLM = einsum("BLGRK,BMGK->BGRLM", q_BLGRK * K**-0.5, k_BMGK, precision).astype(jnp.float32)
    visible_BLM = visible(L, M, segments, positions, causal, window)
    if visible_BLM is not None:
        scores_BGRLM = jnp.where(visible_BLM[:, None, None], scores_BGRLM, HIDDEN)
    weight_BGRLM = jax.nn.softmax(scores_BGRLM, axis=-1).astype(v_BMGK.dtype)
    return einsum("BGRLM,BMGK->BLGRK", weight_BGRLM, v_BMGK, precision)


def visible(L: int, M: int, segments, positions, causal: bool, window: int | None) -> Array | None:
    """Which keys each query sees: (B or 1, L, M), or None where it sees all."""
    if positions is None:
        positions = jnp.arange(L)[None], jnp.arange(M)[None]
    ahead_BLM = positions[0][:, :, None] - positions[1][:, None, :]
    tests = []
    if causal:
        tests.append(ahead_BLM >= 0)
    if window is not None:
        tests.append(jnp.abs(ahead_BLM) < window)
    if segments is not None:
        tests.append(segments[0][:, :, None] == segments[1][:, None, :])
    mask = None
    for test in tests:
        mask = test if mask is None else mask & test
    return mask
