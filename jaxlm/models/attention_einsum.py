"""Attention by two matrix products and a softmax: on every platform, at every shape.

Long rows go in chunks of queries, so that the scores of all of them never exist at once (the idea of
Rabe & Staats 2021, arXiv:2112.05682, without its chunks of keys).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxlm.models.attention_bias import Bias, of_run, of_scores
from jaxlm.models.layers import HIDDEN, Precision, einsum, exact

# Of float32 scores at once. On two CPU cores faster than 16 or 64 MiB for 4 x 1,024 tokens by 6 heads.
SCORES_BYTES = 2**25


def einsum_attention(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BMGK: Float[Array, "B M G K"],
    v_BMGK: Float[Array, "B M G K"],
    *,
    precision: Precision,
    segments: tuple[Int[Array, "B L"], Int[Array, "B M"]] | None,
    positions: tuple[Int[Array, "_ L"], Int[Array, "_ M"]] | None,
    causal: bool,
    window: int | None,
    prefix: Bool[Array, "B M"] | None = None,
    scale: float | None = None,
    bias: Bias | None = None,
    run: bool = False,  # are the positions of queries one after another, and those of keys 0, 1, 2, ...?
) -> Float[Array, "B L G R K"]:
    """`attend`, all queries at once."""
    L, M, K = q_BLGRK.shape[1], k_BMGK.shape[1], q_BLGRK.shape[-1]
    q_BLGRK = q_BLGRK * (K**-0.5 if scale is None else scale)
    scores_BGRLM = products(q_BLGRK, k_BMGK, exact(precision))
    run = run or positions is None
    positions = positions or (jnp.arange(L)[None], jnp.arange(M)[None])
    if bias is not None:
        first = positions[0][0, 0]
        of_pair = of_run(bias, first, L, M, causal) if run else of_scores(bias, *positions, causal)
        scores_BGRLM = _add(scores_BGRLM, of_pair)
    visible_BLM = visible(segments, positions, causal, window, prefix)
    if visible_BLM is not None:
        scores_BGRLM = jnp.where(visible_BLM[:, None, None], scores_BGRLM, HIDDEN)
    weight_BGRLM = softmax(scores_BGRLM).astype(v_BMGK.dtype)
    return weighted(weight_BGRLM, v_BMGK, precision)


def products(q_BLGRK: Array, k_BMGK: Array, precision: Precision) -> Array:
    if q_BLGRK.shape[:2] == (1, 1):
        return einsum("LGRK,GMK->GRLM", q_BLGRK[0], _alone(k_BMGK), precision)[None]
    return einsum("BLGRK,BMGK->BGRLM", q_BLGRK, k_BMGK, precision)


def weighted(weight_BGRLM: Array, v_BMGK: Array, precision: Precision) -> Array:
    if v_BMGK.shape[0] == weight_BGRLM.shape[3] == 1:
        return einsum("GRLM,GMK->LGRK", weight_BGRLM[0], _alone(v_BMGK), precision)[None]
    return einsum("BGRLM,BMGK->BLGRK", weight_BGRLM, v_BMGK, precision)


def _alone(x_1MGK: Array) -> Array:
    """Of a lone row, without a batch of one: else XLA's CPU compiler (jax 0.10.2) copies all of a cache at each step.

    Turned back before the row is taken out it is copied too: what follows then is the cache itself, not a new array.
    """
    return jnp.swapaxes(x_1MGK[0], 0, 1)


@jax.custom_vjp
def _add(scores_BGRLM: Array, bias_1GRLM: Array) -> Array:
    """The gradient is summed over rows by halves: XLA's CPU is slow at sums over leading dimensions.

    A step of T5-tiny 401 -> 377 ms.
    """
    return scores_BGRLM + bias_1GRLM


def _add_backward(rows_of_bias: Array, of_sum_BGRLM: Array):
    x = of_sum_BGRLM
    while len(x) > len(rows_of_bias):
        half = len(x) // 2
        x = jnp.concatenate([x[:half] + x[half : 2 * half], x[2 * half :]])
    return of_sum_BGRLM, x


_add.defvjp(lambda scores, bias: (scores + bias, jnp.empty(len(bias))), _add_backward)


@jax.custom_vjp
def softmax(scores: Array) -> Array:
    """Over the last dimension. The backward pass sums a product that is there already: on CPU, XLA is slow at making it
    while it sums (attention over 16 x 256 tokens 1.5 times as fast, over 4 x 1,024 twice).
    """
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: Array):
    weight = softmax(scores)
    return weight, weight


def _softmax_backward(weight: Array, of_weight: Array):
    both = weight * of_weight
    return (both - weight * both.sum(-1, keepdims=True),)


softmax.defvjp(_softmax_forward, _softmax_backward)


def visible(segments, positions, causal: bool, window: int | None, prefix: Array | None) -> Array | None:
    """Which keys each query sees: (B or 1, L, M), or None where it sees all."""
    ahead_BLM = positions[0][:, :, None] - positions[1][:, None, :]
    tests = []
    if causal:
        tests.append(ahead_BLM >= 0 if prefix is None else (ahead_BLM >= 0) | prefix[:, None, :])
    if window is not None:
        tests.append(jnp.abs(ahead_BLM) < window)
    if segments is not None:
        tests.append(segments[0][:, :, None] == segments[1][:, None, :])
    mask = None
    for test in tests:
        mask = test if mask is None else mask & test
    return mask


def chunk_length(heads: int, length: int, memory: int) -> int:
    """Queries whose scores, over the heads of all rows, fit SCORES_BYTES; `length` evenly divided."""
    fits = max(1, SCORES_BYTES // (4 * max(1, heads) * memory))
    return math.ceil(length / math.ceil(length / fits))


def einsum_attention_in_chunks(
    q_BLGRK, k_BMGK, v_BMGK, *, chunk: int, segments, positions, run: bool = False, **rest
) -> Array:
    """`einsum_attention`, `chunk` queries at a time; the backward pass computes their scores anew."""
    L, M = q_BLGRK.shape[1], k_BMGK.shape[1]
    run = run or positions is None
    if chunk >= L:
        return einsum_attention(q_BLGRK, k_BMGK, v_BMGK, segments=segments, positions=positions, run=run, **rest)
    of_query, of_key = positions or (jnp.arange(L)[None], jnp.arange(M)[None])

    @jax.checkpoint
    def of_chunk(chunk_of):
        q, position, segment = chunk_of
        both = None if segments is None else (segment, segments[1])
        at = dict(positions=(position, of_key), run=run)
        return einsum_attention(q, k_BMGK, v_BMGK, segments=both, **at, **rest)

    def split(x):  # (B, L, ...) -> (chunks, B, chunk, ...)
        padded = jnp.pad(x, ((0, 0), (0, -L % chunk)) + ((0, 0),) * (x.ndim - 2))
        return jnp.moveaxis(padded.reshape(x.shape[0], -1, chunk, *x.shape[2:]), 1, 0)

    queries = jax.tree.map(split, (q_BLGRK, of_query, segments and segments[0]))
    o = jnp.moveaxis(jax.lax.map(of_chunk, queries), 0, 1)
    return o.reshape(o.shape[0], -1, *o.shape[3:])[:, :L]
