"""AWD-LSTM's regularisers (Merity et al. 2018, arXiv:1708.02182): masks and penalties.

All of them do nothing in evaluation (`noise` is None) and at rate 0. Activations lie position first, "L B D".
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlm.batch import Batch
from jaxlm.models.layers import Noise, dropout


def vary(x_LBD: Array, rate: float, noise: Noise | None, site: int) -> Array:
    """Variational dropout: one mask for all positions of a row (Gal & Ghahramani 2016, arXiv:1512.05287)."""
    if noise is None or not rate:
        return x_LBD
    return jnp.swapaxes(dropout(jnp.swapaxes(x_LBD, 0, 1), rate, noise, site, over=(1,)), 0, 1)


def word_dropout(table_VD: Array, rate: float, noise: Noise | None, site: int) -> Array:
    """`table` with whole words zeroed and the others scaled (Gal & Ghahramani 2016), the same for all rows."""
    if noise is None or not rate:
        return table_VD
    key = jax.random.fold_in(noise.step, 2 * site)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, (len(table_VD), 1)), table_VD / (1 - rate), 0.0)


def weight_drop(w_PZ: Array, rate: float, noise: Noise | None, site: int) -> Array:
    """Recurrent weights with single ones zeroed and the others scaled: one mask for all rows and positions."""
    if noise is None or not rate:
        return w_PZ
    key = jax.random.fold_in(noise.step, site)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, w_PZ.shape), w_PZ / (1 - rate), 0.0)


def penalty(batch: Batch, dropped_LBD: Array, raw_LBD: Array, activation: float, temporal: float) -> Array:
    """Activation and temporal activation regularisation (Merity et al. 2017, arXiv:1708.01009), over tokens.

    The first is on what the head reads, dropout included, the second on what the last layer made: as in Merity's own
    program. Theirs are means over a batch; ours are sums, which the step divides by the number of tokens.
    """
    total, weight_LB = jnp.zeros(()), batch.weight.T
    square = lambda x: jnp.square(x.astype(jnp.float32)).mean(-1)
    if activation:
        total += activation * (weight_LB * square(dropped_LBD)).sum()
    if temporal:
        goes_on_LB = weight_LB[1:] * (batch.position.T[1:] > 0)
        total += temporal * (goes_on_LB * square(raw_LBD[1:] - raw_LBD[:-1])).sum()
    return total
