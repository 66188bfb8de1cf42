"""Where a token stands: rotary positions. (Learned ones are a table in the embedding.)"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def rotate(
    x: Float[Array, "B L *heads K"], position_BL: Int[Array, "B L"], base: float
) -> Float[Array, "B L *heads K"]:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864).

    Pairs channel i with channel i + K/2, as Hugging Face's Llama does; the paper pairs 2i with 2i + 1.
    """
    K = x.shape[-1]
    frequency = base ** (-jnp.arange(0, K, 2, dtype=jnp.float32) / K)  # radians per position
    angle = position_BL[..., None].astype(jnp.float32) * frequency[None, None, :]
    angle = angle.reshape(*position_BL.shape, *[1] * (x.ndim - 3), K // 2)
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)  # bfloat16 cannot tell 256 from 257
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)
