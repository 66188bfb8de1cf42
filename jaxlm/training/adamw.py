"""AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) that can skip a step, and updates its state in place.

The numbers are those of `optax.adamw`. Two things differ. `update` takes `finite`, and leaves its state as it is
where that is False; selecting between two whole states afterwards costs another pass over memory. And moments are
done before parameters begin: else XLA computes them anew while it updates a parameter, must keep the old moments
for that, and copies them all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class AdamWState(NamedTuple):
    count: Any  # int32, finished updates
    mean: Any  # of gradients
    square: Any  # mean of squared gradients


def adamw(
    rate: optax.Schedule, beta1: float, beta2: float, eps: float, decay: float, decays: Callable[[Any], Any]
) -> optax.GradientTransformationExtraArgs:
    """`decays(params)` is the tree of what `decay` applies to."""

    def init(params):
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        return AdamWState(jnp.zeros((), jnp.int32), zeros(), zeros())

    def update(updates, state, params=None, *, finite=True, **_):
        blend = lambda beta, old, new: jnp.where(finite, beta * old + (1 - beta) * new, old)
        mean = jax.tree.map(lambda m, g: blend(beta1, m, g), state.mean, updates)
        square = jax.tree.map(lambda v, g: blend(beta2, v, g * g), state.square, updates)
        mean, square = jax.lax.optimization_barrier((mean, square))
        count = state.count + 1
        bias1, bias2 = 1 - beta1**count, 1 - beta2**count
        step = jnp.asarray(rate(state.count))

        def change(m, v, p, decayed):
            direction = (m / bias1) / (jnp.sqrt(v / bias2) + eps) + (decay * p if decayed else 0.0)
            return jnp.where(finite, -step * direction, 0.0)

        changes = jax.tree.map(change, mean, square, params, decays(params))
        return changes, AdamWState(jnp.where(finite, count, state.count), mean, square)

    return optax.GradientTransformationExtraArgs(init, update)
