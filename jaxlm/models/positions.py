"""Where a token stands: sines, rotary positions and how they are stretched, ALiBi's slopes, T5's buckets.

(Learned positions are a table in the embedding.) Left out: NTK scaling by the length of each row.
"""

import math
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int

from jaxlm.config import Config


def sinusoid(position_BL: Int[Array, "B L"], width: int) -> Float[Array, "B L D"]:
    """Sines in even channels, cosines in odd ones (Vaswani et al. 2017, arXiv:1706.03762, section 3.5)."""
    frequency = 10_000.0 ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angle = position_BL[..., None].astype(jnp.float32) * frequency[None, None, :]
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1).reshape(*position_BL.shape, width)


class LinearScaling(Config):
    """All positions divided by `factor` (Chen et al. 2023, arXiv:2306.15595)."""

    kind: Literal["linear"] = "linear"
    factor: float = pydantic.Field(gt=1)  # times the length trained for


class Llama3Scaling(Config):
    """Slow turns divided by `factor`, fast ones left, and between them a blend (Llama 3.1; its numbers).

    Wavelengths are compared with `original`: over original / slow is slow, under original / fast is fast.
    """

    kind: Literal["llama3"] = "llama3"
    factor: float = pydantic.Field(default=8.0, gt=1)  # Llama 3.2 1B and 3B: 32
    slow: float = pydantic.Field(default=1.0, gt=0)
    fast: float = pydantic.Field(default=4.0, gt=0)
    original: int = pydantic.Field(default=8192, gt=0)  # tokens trained for

    @pydantic.model_validator(mode="after")
    def _slow_is_under_fast(self) -> "Llama3Scaling":
        if self.slow >= self.fast:
            raise ValueError(f"slow={self.slow} is not under fast={self.fast}: nothing lies between them to blend")
        return self


class YarnScaling(Config):
    """As Llama 3's, with a ramp over channels; scores get sharper too (Peng et al. 2023, arXiv:2309.00071, 3.4)."""

    kind: Literal["yarn"] = "yarn"
    factor: float = pydantic.Field(gt=1)
    slow: float = pydantic.Field(default=1.0, gt=0)  # turns within `original` tokens, up to which all is divided
    fast: float = pydantic.Field(default=32.0, gt=0)  # turns, from which on nothing is
    original: int = pydantic.Field(gt=0)  # tokens trained for


RopeScaling = Annotated[LinearScaling | Llama3Scaling | YarnScaling, pydantic.Field(discriminator="kind")]


class Turns(NamedTuple):
    """By which angle each position turns each pair of channels."""

    cos_BLK: Float[Array, "B L half"]
    sin_BLK: Float[Array, "B L half"]


def turns(position_BL: Int[Array, "B L"], channels: int, base: float, scaling: RopeScaling | None = None) -> Turns:
    """Those of Su et al. 2021 (arXiv:2104.09864, section 3.2.2), in float32: bfloat16 cannot tell 256 from 257."""
    frequency = base ** (-jnp.arange(0, channels, 2, dtype=jnp.float32) / channels)  # radians per position
    if scaling is not None:
        frequency = frequency * (1 - slowed(scaling, channels, base) * (1 - 1 / scaling.factor))
    angle = position_BL[..., None].astype(jnp.float32) * frequency[None, None, :]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    if isinstance(scaling, YarnScaling):  # queries and keys both: scores by its square (eq. 22)
        length = 0.1 * math.log(scaling.factor) + 1
        cos, sin = length * cos, length * sin
    # Without the barrier XLA puts the cosines into every loop that reads them: for each layer, head and direction.
    return Turns(*jax.lax.optimization_barrier((cos, sin)))


def slowed(scaling: RopeScaling, channels: int, base: float) -> np.ndarray:
    """How much of `scaling` each pair of channels gets: 0 nothing, 1 all of it; float32."""
    pair = np.arange(channels // 2)
    if isinstance(scaling, LinearScaling):
        return np.ones(len(pair), np.float32)
    if isinstance(scaling, Llama3Scaling):
        turned = scaling.original / (2 * math.pi) * base ** (-2 * pair / channels)  # whole turns in `original` tokens
        fast = (turned - scaling.slow) / (scaling.fast - scaling.slow)
        return (1 - np.clip(fast, 0, 1)).astype(np.float32)
    at = lambda turned: channels * math.log(scaling.original / (2 * math.pi * turned)) / (2 * math.log(base))
    low, high = max(math.floor(at(scaling.fast)), 0), min(math.ceil(at(scaling.slow)), channels - 1)
    return np.clip((pair - low) / max(high - low, 1e-3), 0, 1).astype(np.float32)


def rotate(x: Float[Array, "B L *heads K"], by: Turns) -> Float[Array, "B L *heads K"]:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864).

    Pairs channel i with channel i + K/2, as Hugging Face's Llama does; the paper pairs 2i with 2i + 1.
    """
    cos, sin = (t.reshape(*t.shape[:2], *[1] * (x.ndim - 3), -1) for t in by)
    halves = x.astype(jnp.float32).reshape(*x.shape[:-1], 2, -1)
    a, b = halves[..., 0, :], halves[..., 1, :]
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], axis=-2).reshape(x.shape).astype(x.dtype)


def slopes(heads: int) -> np.ndarray:
    """ALiBi's: 2^(-8/n), 2^(-16/n), ... for n heads (Press et al. 2022, arXiv:2108.12409, section 3).

    Where n is no power of two, those of the next lower power, then every second one of twice that power
    (as the authors' code, github.com/ofirpress/attention_with_linear_biases).
    """
    power = 1 << (heads.bit_length() - 1)
    of_power = lambda n: 2.0 ** (-8 * np.arange(1, n + 1) / n)
    return np.concatenate([of_power(power), of_power(2 * power)[::2]])[:heads].astype(np.float32)


def buckets_of_distances(count: int, reach: int, both: bool) -> np.ndarray:
    """T5's bucket of each distance 0, 1, ..., `reach` (Raffel et al. 2020, arXiv:1910.10683, section 2.1).

    Half of the buckets hold one distance each, the others ever more of them up to `reach`. With `both`
    directions each has half of `count`; `reach` and all beyond it is in the last bucket.
    """
    count = count // 2 if both else count
    single, distance = count // 2, np.arange(reach + 1)
    far = np.log(np.maximum(distance, single) / single) / math.log(reach / single) * (count - single)
    wide = single + np.floor(far + 1e-9).astype(int)  # rounding must not push a border into the bucket below it
    return np.where(distance < single, distance, np.minimum(wide, count - 1)).astype(np.int32)
