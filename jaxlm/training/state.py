"""What a step turns into its successor, and what a checkpoint holds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class TrainState(NamedTuple):
    """A plain tree of arrays; `step` finished steps have made it."""

    step: Any  # int32
    params: Any
    opt: optax.OptState
    average: Any  # of params, () without one: an exponential moving average, or NT-ASGD's
    nonfinite: Any  # int32, steps in a row until now whose loss or gradient was not finite
    skipped: Any  # int32, such steps in all
    carry: Any = ()  # recurrent state of each row of the global batch, or () without one
    trigger: Any = ()  # when NT-ASGD begins to average: training/asgd.py; () with other optimisers


def start(
    params: Any, optimizer: optax.GradientTransformation, *, averaged: bool, carry: Any = (), trigger: Any = ()
) -> TrainState:
    zero = lambda: jnp.zeros((), jnp.int32)  # a buffer each: a donated one cannot serve twice
    average = jax.tree.map(jnp.copy, params) if averaged else ()
    return TrainState(zero(), params, optimizer.init(params), average, zero(), zero(), carry, trigger)
