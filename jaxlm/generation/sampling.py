"""From logits to the next token: temperature, top-k, top-p, min-p.

The order is that of Hugging Face's `generate`: temperature first, then top-k, top-p and min-p, each on
what the one before it left. So a high temperature also widens the nucleus; llama.cpp applies it last.
Equal logits rank by id, the lower first, so that each set has the size its definition says.

Left out: penalties of repetition.
"""

import math

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Bool, Float, Int, Key

from jaxlm.config import Config

COOLEST = 1e-6  # chosen: so near 0 the likeliest token is meant, and float32 soon cannot divide by it

HOTTEST = 1e6  # chosen: all tokens are alike long before, and float32 ends at 3e38


class SamplingConfig(Config):
    # 1: the model's own distribution; 0: the likeliest token.
    temperature: float = pydantic.Field(default=1.0, ge=0, le=HOTTEST)
    # Likeliest tokens kept (Fan et al. 2018, arXiv:1805.04833); None: all.
    top_k: int | None = pydantic.Field(default=None, gt=0)
    # Probability that the kept tokens reach together (Holtzman et al. 2020, arXiv:1904.09751); 1: all.
    top_p: float = pydantic.Field(default=1.0, gt=0, le=1)
    # Least probability, as a share of the likeliest token's (Nguyen et al. 2024, arXiv:2407.01082); 0: all.
    min_p: float = pydantic.Field(default=0.0, ge=0, le=1)

    @pydantic.field_validator("temperature")
    @classmethod
    def _divides(cls, temperature: float) -> float:
        if 0 < temperature < COOLEST:
            raise ValueError(f"{temperature} is too small to divide by: give 0 for the likeliest token")
        return temperature


READABLE = SamplingConfig(temperature=0.8, top_p=0.95)  # chosen: what `generate` does unless told


def sample(
    logits_BV: Float[Array, "B V"], keys_B: Key[Array, "B"], cfg: SamplingConfig, *, vocab: int
) -> Int[Array, "B"]:
    """One id below `vocab` a row: a model may have more ids, to divide over devices.

    A row's token depends on its own logits and key alone.
    """
    logits_BV = logits_BV[:, :vocab]
    if cfg.temperature == 0:
        return first(logits_BV == logits_BV.max(-1, keepdims=True))
    weight_BC, id_BC = candidates(logits_BV, cfg)
    chosen_B1 = draw(weight_BC, keys_B)[:, None]
    return jnp.take_along_axis(id_BC, chosen_B1, axis=-1)[:, 0]


def candidates(logits_BV: Float[Array, "B V"], cfg: SamplingConfig) -> tuple[Float[Array, "B C"], Int[Array, "B C"]]:
    """Weights to draw by, 0 where cut, and the ids they belong to."""
    # The best token at 0: neither a low temperature nor a large logit can overflow.
    logits_BC = (logits_BV - logits_BV.max(-1, keepdims=True)) / cfg.temperature
    C = logits_BC.shape[1]
    id_BC = jnp.broadcast_to(jnp.arange(C)[None], logits_BC.shape)
    if cfg.top_k is not None and cfg.top_k < C:
        logits_BC, id_BC = jax.lax.top_k(logits_BC, cfg.top_k)
    weight_BC = jnp.exp(logits_BC)
    if cfg.top_p < 1:
        weight_BC = jnp.where(nucleus(jax.nn.softmax(logits_BC, axis=-1), cfg.top_p), weight_BC, 0.0)
    if cfg.min_p > 0:
        weight_BC = jnp.where(logits_BC >= math.log(cfg.min_p), weight_BC, 0.0)
    return weight_BC, id_BC


def nucleus(probability_BC: Float[Array, "B C"], mass: float) -> Bool[Array, "B C"]:
    """The fewest tokens, likeliest first, that reach `mass` together.

    Bisects for the probability of the last one instead of sorting: on a CPU a sort of 50,257 logits takes
    longer than a small model. Non-negative floats are ordered as their bits are, so 31 halvings are exact.
    """
    together_B = lambda keep_BC: jnp.where(keep_BC, probability_BC, 0.0).sum(-1)
    as_float = lambda bits_B: jax.lax.bitcast_convert_type(bits_B, jnp.float32)[:, None]

    def halve(_, bounds):
        low_B, high_B = bounds
        middle_B = low_B + (high_B - low_B) // 2
        reached_B = together_B(probability_BC >= as_float(middle_B)) >= mass
        return jnp.where(reached_B, middle_B, low_B), jnp.where(reached_B, high_B, middle_B)

    above_one = jax.lax.bitcast_convert_type(jnp.float32(2.0), jnp.int32)
    zeros_B = jnp.zeros(probability_BC.shape[0], jnp.int32)
    low_B, _ = jax.lax.fori_loop(0, 31, halve, (zeros_B, zeros_B + above_one))
    last_B1 = as_float(low_B)
    above_BC, equal_BC = probability_BC > last_B1, probability_BC == last_B1
    before_BC = together_B(above_BC)[:, None] + last_B1 * (jnp.cumsum(equal_BC, axis=-1) - 1)
    return above_BC | (equal_BC & (before_BC < mass))


def draw(weight_BC: Float[Array, "B C"], keys_B: Key[Array, "B"]) -> Int[Array, "B"]:
    """An index a row, as likely as its share of the row's weight, by inverting the cumulative sum.

    One random number a row; the Gumbel-max trick needs one a token, which on a CPU took most of the time.
    """
    heap_BC = jnp.where(weight_BC > 0, jnp.cumsum(weight_BC, axis=-1), 0.0)  # what is cut is never reached
    uniform_B = jax.vmap(jax.random.uniform)(keys_B)
    target_B1 = (uniform_B * heap_BC.max(-1))[:, None]
    return first(heap_BC > target_B1)


def first(there_BC: Bool[Array, "B C"]) -> Int[Array, "B"]:
    """The first index that is there; the last one where none is, as where logits are no numbers.

    `jnp.argmax` does it, but XLA's CPU compiler looks for a greatest value and its place one element after another,
    and vectorises a plain minimum.
    """
    last = there_BC.shape[1] - 1
    return jnp.where(there_BC, jnp.arange(last + 1)[None], last).min(-1)
