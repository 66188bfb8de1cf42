"""One optimiser step as a pure function: `step(state, batch) -> (state, metrics)`.

The same function serves `jit` over a mesh, `shard_map` and `pmap`: inside the last two `axis` names the
mapped axis, and the only collective is one sum over it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxlm.batch import Batch
from jaxlm.models.layers import Noise
from jaxlm.training import asgd
from jaxlm.training.state import TrainState

# (params, batch, noise, carry) -> (sum to minimise, (sums, carry)); sums: "loss" in nats, "weight", "tokens" read
Loss = Callable[[Any, Batch, Noise | None, Any], tuple[jax.Array, tuple[dict[str, jax.Array], Any]]]
Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    rate: optax.Schedule,
    seed: int | None,
    microbatches: int = 1,
    average: float | None = None,
    axis: str | None = None,
) -> Step:
    """A step over `microbatches` parts of the batch, exactly equal to one over all of it.

    `seed` keys dropout by (seed, step, row of the global batch); None: no dropout. A step whose loss or
    gradient is not finite leaves parameters and optimiser as they were and counts in `nonfinite`.
    """

    update = make_update(optimizer, rate=rate, average=average, axis=axis)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        rows = batch.token.shape[0]
        first = 0 if axis is None else jax.lax.axis_index(axis) * rows
        noise = noise_of(seed, state.step, first + jnp.arange(rows))
        grads, sums, carry = accumulate(loss, state.params, batch, noise, state.carry, microbatches)
        if axis is not None:
            grads, sums = sum_over(axis, (grads, sums))
        return update(state, grads, sums, carry)

    return step


Update = Callable[[TrainState, Any, dict[str, jax.Array], Any], tuple[TrainState, dict[str, jax.Array]]]


def make_update(
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    rate: optax.Schedule,
    average: float | None = None,
    axis: str | None = None,
) -> Update:
    """(state, gradient of the summed loss, sums, carry after the batch) -> (state, metrics)."""

    def update(state, grads, sums, carry):
        weight = jnp.maximum(sums["weight"], 1.0)
        norm = optax.tree.norm(grads) / weight  # of sums: what follows then costs no pass of its own over memory
        share = 1.0 / weight  # XLA fuses products into the optimiser's loops, but not divisions
        grads = jax.tree.map(lambda g: g * share, grads)
        finite = jnp.isfinite(sums["loss"]) & jnp.isfinite(norm)
        updates, opt = optimizer.update(grads, state.opt, state.params, norm=norm, finite=finite, axis=axis)
        params = optax.apply_updates(state.params, updates)
        averaged, trigger = state.average, state.trigger
        if trigger != ():
            averaged, trigger = asgd.moved(averaged, params, trigger, finite)
        elif average is not None:
            averaged = moved(averaged, params, average, state.step, finite)
        metrics = {
            "loss": sums["loss"] / weight,
            "tokens": sums["tokens"],
            "grad_norm": norm,
            "learning_rate": rate(state.step - state.skipped),  # a skipped step does not move the optimiser's count
            "nonfinite": jnp.where(finite, 0, state.nonfinite + 1),
            "skipped": state.skipped + ~finite,
            **({"averaged_steps": trigger.averaged} if trigger != () else {}),
        }
        return TrainState(
            step=state.step + 1,
            params=params,
            opt=opt,
            average=averaged,
            nonfinite=metrics["nonfinite"],
            skipped=metrics["skipped"],
            carry=jax.tree.map(lambda new, old: jnp.where(finite, new, old), carry, state.carry),
            trigger=trigger,
        ), metrics

    return update


def noise_of(seed: int | None, step: jax.Array, rows_B: jax.Array) -> Noise | None:
    """The keys of a step: one for all rows, one for each row by its number in the global batch."""
    if seed is None:
        return None
    key = jax.random.fold_in(jax.random.key(seed), step)
    keys_B = jax.vmap(lambda row: jax.random.fold_in(key, row))(rows_B)
    return Noise(jax.random.fold_in(key, 2**31), keys_B)  # no row has that number


def accumulate(loss: Loss, params: Any, batch: Batch, noise: Noise | None, carry: Any, parts: int):
    """(gradient of the summed loss, sums, carry) over the batch, `parts` microbatches one after another."""
    of_part = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (_, (sums, carry)), grads = of_part(params, batch, noise, carry)
        return grads, sums, carry
    # Part i takes rows i, i + parts, ...: each device cuts its own rows, none travels.
    cut = lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)
    join = lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:])

    def add(total, part):
        batch, keys_B, carry = part
        (_, (sums, carry)), grads = of_part(params, batch, noise and Noise(noise.step, keys_B), carry)
        return jax.tree.map(jnp.add, total, (grads, sums)), carry

    zeros = (
        jax.tree.map(jnp.zeros_like, params),
        {name: jnp.zeros((), jnp.float32) for name in ("loss", "weight", "tokens")},
    )
    (grads, sums), carry = jax.lax.scan(add, zeros, jax.tree.map(cut, (batch, noise and noise.rows_B, carry)))
    return grads, sums, jax.tree.map(join, carry)


def sum_over(axis: str, tree: Any) -> Any:
    """`psum` of a tree of float32 arrays as one flat all-reduce: on CPU each collective is a rendezvous."""
    leaves, structure = jax.tree.flatten(tree)
    flat = jax.lax.psum(jnp.concatenate([leaf.ravel() for leaf in leaves]), axis)
    ends = [0]
    for leaf in leaves:
        ends.append(ends[-1] + leaf.size)
    parts = [flat[a:b].reshape(leaf.shape) for a, b, leaf in zip(ends, ends[1:], leaves, strict=False)]
    return jax.tree.unflatten(structure, parts)


def moved(average: Any, params: Any, decay: float, step: jax.Array, finite: jax.Array) -> Any:
    """The moving average one step on; early on it forgets faster, so that it does not remember the start."""
    kept = jnp.where(finite, jnp.minimum(decay, (1.0 + step) / (10.0 + step)), 1.0)
    return jax.tree.map(lambda a, p: kept * a + (1.0 - kept) * p, average, params)
