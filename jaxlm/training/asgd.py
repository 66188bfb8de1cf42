"""NT-ASGD (Merity et al. 2018, arXiv:1708.02182, algorithm 1): averaging of parameters that begins by itself.

Descent goes on alone until the held-out loss is worse than the best one that is more than `patience` evaluations
old. From that step T on the mean of all parameters, those of step T included, stands beside them, and it is what is
evaluated and used. Until then the average is the parameters as they are.

All that the rule remembers is a few numbers in the train state, so a run that was stopped goes on as if it had not
been. The step never asks about losses: they come in from the evaluation, on the host, where they are known anyway.
Losses are compared in float32; a NaN neither begins the averaging nor is the best.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxlm.training.state import TrainState


class Trigger(NamedTuple):
    """What has been seen of held-out losses; with pmap each array has the devices before its own dimensions."""

    averaged: Any  # int32, steps whose parameters are in the average; 0: it has not begun
    best: Any  # float32, the least loss more than `patience` evaluations old; infinite: there is none yet
    recent: Any  # float32, (patience,): the losses since, the newest last


def fresh(patience: int) -> Trigger:
    return Trigger(jnp.zeros((), jnp.int32), jnp.float32(jnp.inf), jnp.full((patience,), jnp.inf, jnp.float32))


def moved(average: Any, params: Any, trigger: Trigger, finite: jax.Array) -> tuple[Any, Trigger]:
    """The average and the trigger after a step that made `params`; one that was not finite made nothing."""
    begun = trigger.averaged > 0
    averaged = trigger.averaged + (begun & finite)
    share = jnp.where(begun, jnp.where(finite, 1.0 / jnp.maximum(averaged, 1), 0.0), 1.0)
    # Until it has begun the very parameters: a + (p - a) would have other bits.
    average = jax.tree.map(lambda a, p: jnp.where(begun, a + share * (p - a), p), average, params)
    return average, trigger._replace(averaged=averaged)


def evaluated(state: TrainState, loss: float) -> TrainState:
    """`state` that knows of the held-out `loss` of its average; one without a trigger stays as it is."""
    if state.trigger == ():
        return state
    where = jax.tree.map(lambda x: x.sharding, state.trigger)
    return state._replace(trigger=jax.jit(seen, out_shardings=where)(state.trigger, jnp.float32(loss)))


def seen(trigger: Trigger, loss: jax.Array) -> Trigger:
    """Algorithm 1, lines 4 to 11."""
    begins = (trigger.averaged == 0) & (loss > trigger.best)
    newest = jnp.broadcast_to(loss, (*trigger.best.shape, 1))
    losses = jnp.concatenate([trigger.recent, newest], axis=-1)
    return Trigger(
        averaged=jnp.where(begins, 1, trigger.averaged),
        best=jnp.fmin(trigger.best, losses[..., 0]),
        recent=losses[..., 1:],
    )
