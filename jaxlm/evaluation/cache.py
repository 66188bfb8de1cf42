"""A continuous cache (Grave et al. 2017, arXiv:1612.04426): words seen lately in such a state are likelier.

Each row remembers pairs of a hidden state and the word that came next. At position t

    p(w) = (1 - weight) p_model(w) + weight p_cache(w),    p_cache(w) ~ sum of exp(theta h_t . h_i) over pairs (h_i, w)

over the pairs of the last `window` positions before t, in earlier batches too where rows go on; as long as there is
none, p is p_model. Nothing is trained. Documents do not empty the cache: text that follows may be of the same thing.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.evaluation.perplexity import Sums
from jaxlm.losses import chunk_length, in_chunks, logits_of
from jaxlm.models.family import Family


class CacheConfig(Config):
    """Tune these on held-out text; the numbers are for Penn Treebank, of github.com/salesforce/awd-lstm-lm."""

    window: int = pydantic.Field(default=500, gt=0, le=100_000)  # positions that each row remembers; most: chosen
    theta: float = pydantic.Field(default=1.0, ge=0)  # 0: every position counts the same; more: only the likest
    weight: float = pydantic.Field(default=0.1, ge=0, lt=1)  # of the cache in the mixture; the paper's lambda


class Memory(NamedTuple):
    hidden_BMD: Any
    word_BM: Any  # what came after each hidden state
    real_BM: Any  # bool; False: padding, or before the text


def empty(cfg: CacheConfig, family: Family, params: Any, batch: Batch, state: Any) -> Memory:
    """The memory before the first batch; shapes of `batch` are enough."""
    hidden = jax.eval_shape(family.apply, params, batch, None, state).array
    rows, width = hidden.shape[0], hidden.shape[2]
    return Memory(
        jnp.zeros((rows, cfg.window, width), hidden.dtype),
        jnp.zeros((rows, cfg.window), jnp.int32),
        jnp.zeros((rows, cfg.window), bool),
    )


def with_cache(sums: Sums, family: Family, cfg: CacheConfig, jit: Callable = jax.jit) -> Sums:
    """`sums` with the cache's share in what they score; their carry becomes (theirs, recurrent state, memory).

    What the cache changes is computed apart and added: with weight 0 the sums are the same bits.
    """

    @jit
    def corrected(of_batch, params, batch, state, memory):
        gain_BL, state, memory = gains(family, cfg, params, batch, state, memory)
        return of_batch.at[0].add(-(batch.weight * gain_BL).sum(1)), state, memory

    def cached(params: Any, batch: Batch, carry: Any):
        inner, state, memory = carry
        of_batch, inner = sums(params, batch, inner)
        of_batch, state, memory = corrected(of_batch, params, batch, state, memory)
        return of_batch, (inner, state, memory)

    return cached


def gains(family: Family, cfg: CacheConfig, params: Any, batch: Batch, state: Any, memory: Memory):
    """(log p - log p_model of each target, state, memory after the batch)."""
    hidden = family.apply(params, batch, None, state)
    both = lambda old, new: jnp.concatenate([old, new.astype(old.dtype)], axis=1)
    known = Memory(*map(both, memory, (hidden.array, batch.target, batch.segment > 0)))
    rows, length = batch.token.shape
    chunk = chunk_length(rows, length, max(family.vocab, cfg.window + length))
    number_1L = jnp.arange(length)[None]
    of_chunk = functools.partial(chunk_gains, family, cfg, (family.head(params), family.bias(params)), known)
    xs = in_chunks(chunk, hidden.array, batch.target, number_1L)
    gain_CBL = jax.lax.map(lambda x: of_chunk(*x), xs)
    gain_BL = jnp.moveaxis(gain_CBL, 0, 1).reshape(rows, -1)[:, :length]
    return gain_BL, hidden.carry if state != () else (), Memory(*(x[:, -cfg.window :] for x in known))


def chunk_gains(family: Family, cfg: CacheConfig, head, known: Memory, hidden_BLD: Array, target_BL: Array, number_1L):
    """log p - log p_model of the targets at positions `number` of the batch; `known` ends with all of its positions."""
    logits_BLV = logits_of(head, hidden_BLD, family.precision, family.softcap)
    of_target_BL = jnp.take_along_axis(logits_BLV, target_BL[..., None], axis=-1)[..., 0]
    model_BL = of_target_BL - jax.nn.logsumexp(logits_BLV, axis=-1)

    float32 = lambda x: x.astype(jnp.float32)
    score_BLM = cfg.theta * jnp.einsum("BLD,BMD->BLM", float32(hidden_BLD), float32(known.hidden_BMD))
    # Position l of the batch is number window + l of what is known, and sees the `window` before it.
    back_1LM = (cfg.window + number_1L)[..., None] - jnp.arange(known.word_BM.shape[1])[None, None]
    visible_BLM = (back_1LM > 0) & (back_1LM <= cfg.window) & known.real_BM[:, None]
    same_BLM = visible_BLM & (known.word_BM[:, None] == target_BL[..., None])
    total = lambda shown_BLM: jax.nn.logsumexp(jnp.where(shown_BLM, score_BLM, -jnp.inf), axis=-1)
    cache_BL = total(same_BLM) - jnp.where(visible_BLM.any(-1), total(visible_BLM), 0.0)

    mixed_BL = jnp.logaddexp(jnp.log1p(-cfg.weight), jnp.log(cfg.weight) + cache_BL - model_BL)
    return jnp.where(visible_BLM.any(-1), mixed_BL, 0.0)
