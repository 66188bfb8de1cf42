"""Where a token stands: rotary positions. (Learned ones are a table in the embedding.)"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Turns(NamedTuple):
    """By which angle each position turns each pair of channels."""

    cos_BLK: Float[Array, "B L half"]
    sin_BLK: Float[Array, "B L half"]


def turns(position_BL: Int[Array, "B L"], channels: int, base: float) -> Turns:
    """Those of Su et al. 2021 (arXiv:2104.09864, section 3.2.2), in float32: bfloat16 cannot tell 256 from 257."""
    frequency = base ** (-jnp.arange(0, channels, 2, dtype=jnp.float32) / channels)  # radians per position
    angle = position_BL[..., None].astype(jnp.float32) * frequency[None, None, :]
    # Without the barrier XLA puts the cosines into every loop that reads them: for each layer, head and direction.
    return Turns(*jax.lax.optimization_barrier((jnp.cos(angle), jnp.sin(angle))))


def rotate(x: Float[Array, "B L *heads K"], by: Turns) -> Float[Array, "B L *heads K"]:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864).

    Pairs channel i with channel i + K/2, as Hugging Face's Llama does; the paper pairs 2i with 2i + 1.
    """
    cos, sin = (t.reshape(*t.shape[:2], *[1] * (x.ndim - 3), -1) for t in by)
    halves = x.astype(jnp.float32).reshape(*x.shape[:-1], 2, -1)
    a, b = halves[..., 0, :], halves[..., 1, :]
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], axis=-2).reshape(x.shape).astype(x.dtype)
