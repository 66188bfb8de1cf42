"""The step: microbatches are the big batch, a batch that is not finite costs that step only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlm.training import optimizer as optimizers
from jaxlm.training.optimizer import AdamWConfig, MuonConfig
from jaxlm.training.step import make_step, noise_of
from tests.rows import crossed
from tests.training import tiny

OPTIMIZERS = {"sgd": tiny.keeping_sgd()} | {
    cfg.kind: optimizers.build(cfg, 100, tiny.family().axes, "float32") for cfg in (AdamWConfig(), MuonConfig())
}


@functools.cache
def compiled(*, optimizer="sgd", dropout=0.1, **options):
    """(first state, step) of the tiny model on one device."""
    model = tiny.family(dropout=dropout)
    options = {"seed": 0 if dropout else None, **options}
    step = jax.jit(tiny.step_of(model, OPTIMIZERS[optimizer], **options))
    return tiny.start(model, OPTIMIZERS[optimizer], averaged="average" in options), step


def after(steps, batches=tiny.batch, **options):
    """(state, metrics) after `steps` steps over batches(0), batches(1), ..."""
    state, step = compiled(**options)
    metrics = {}
    for n in range(steps):
        state, metrics = step(state, batches(n))
    return state, metrics


def poisoned(batch, value=np.nan):
    weight = batch.weight.copy()
    weight[3, 0] = value
    return batch._replace(weight=weight)


# --- microbatches


@pytest.mark.parametrize("parts, dropout", crossed([2, 4], [0.0, 0.1], fast=lambda *row: row == (2, 0.1)))
def test_microbatches_are_the_big_batch(parts, dropout):
    whole, whole_metrics = after(5, dropout=dropout)
    state, metrics = after(5, dropout=dropout, microbatches=parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), state.params, whole.params)
    assert tiny.relative_distance(state.opt, whole.opt) < 1e-5  # the gradient of the fifth step
    for name, value in whole_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6)


def test_a_mean_of_means_would_be_another_step():
    """Else the test above would not notice the field's most common mistake."""
    model = tiny.family()
    loss, params, batch = tiny.loss_of(model), model.init(jax.random.key(0)), jax.device_put(tiny.batch())

    def mean(params, rows):
        objective, (sums, _) = loss(params, jax.tree.map(lambda x: x[rows], batch), None, ())
        return objective / sums["weight"]

    gradient = jax.jit(jax.grad(mean))
    of_halves = [gradient(params, jnp.arange(n, tiny.ROWS, 2)) for n in range(2)]
    mean_of_means = jax.tree.map(lambda a, b: (a + b) / 2, *of_halves)
    assert tiny.relative_distance(mean_of_means, gradient(params, jnp.arange(tiny.ROWS))) > 0.01


def test_the_loss_of_a_step_is_the_mean_over_targets():
    model, batch = tiny.family(dropout=0.0), jax.device_put(tiny.batch())
    _, (sums, _) = tiny.loss_of(model)(model.init(jax.random.key(0)), batch, None, ())
    _, metrics = after(1, dropout=0.0)
    np.testing.assert_allclose(metrics["loss"], sums["loss"] / batch.weight.sum(), rtol=1e-6)
    assert metrics["tokens"] == batch.token.size  # tokens read, and not only those predicted


# --- dropout


def test_dropout_differs_by_seed_step_and_row():
    same = lambda n: jax.tree.map(lambda x: np.repeat(x[7:], tiny.ROWS, 0), tiny.batch())
    losses = [after(1, batches=same, seed=seed)[1]["loss"] for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    keys = [jax.random.key_data(key) for step in range(3) for key in noise_of(0, jnp.int32(step), jnp.arange(5)).rows_B]
    assert len(np.unique(np.stack(keys), axis=0)) == 15


# --- what is not finite


@pytest.mark.parametrize(
    "way, value",
    crossed(
        [(1, "adamw"), (2, "adamw"), (1, "muon")],
        [np.nan, np.inf],
        fast=lambda way, value: way != (1, "adamw"),
    ),
    ids=str,
)
def test_a_batch_that_is_not_finite_costs_that_step_only(way, value):
    (parts, optimizer), bad = way, 2
    batches = lambda n: poisoned(tiny.batch(n), value) if n == bad else tiny.batch(n)
    options = dict(optimizer=optimizer, average=0.9, microbatches=parts)
    before, _ = after(bad, batches=batches, **options)
    hit, metrics = after(bad + 1, batches=batches, **options)
    tiny.assert_same_bits((hit.params, hit.opt, hit.average), (before.params, before.opt, before.average))
    assert (int(hit.step), int(hit.nonfinite), int(hit.skipped)) == (bad + 1, 1, 1)
    assert (int(metrics["nonfinite"]), int(metrics["skipped"])) == (1, 1)
    later, metrics = after(bad + 2, batches=batches, **options)
    assert np.isfinite(metrics["loss"]) and tiny.relative_distance(later.params, hit.params) > 1e-4
    assert (int(later.nonfinite), int(later.skipped)) == (0, 1)


def test_steps_in_a_row_that_are_not_finite_are_counted():
    counted = []
    for steps in range(1, 6):
        bad = lambda n: poisoned(tiny.batch(n)) if n in (1, 2, 4) else tiny.batch(n)
        state, _ = after(steps, batches=bad)
        counted.append((int(state.nonfinite), int(state.skipped)))
    assert counted == [(0, 0), (1, 1), (2, 2), (0, 2), (1, 3)]


def test_the_learning_rate_that_is_told_is_the_one_that_was_used():
    """A skipped step does not move the optimiser's own count."""
    rate = lambda n: 1.0 / (1 + n)
    model, optimizer = tiny.family(dropout=0.0), optimizers.skippable(optax.sgd(rate))
    step = jax.jit(make_step(tiny.loss_of(model), optimizer, rate=rate, seed=None))
    state, told = tiny.start(model, optimizer), []
    for n in range(4):
        batch = poisoned(tiny.batch(n)) if n == 1 else tiny.batch(n)
        new, metrics = step(state, batch)
        told.append(float(metrics["learning_rate"]))
        moved = optax.tree.norm(jax.tree.map(jnp.subtract, new.params, state.params))
        if n != 1:
            np.testing.assert_allclose(moved, told[-1] * metrics["grad_norm"], rtol=1e-3)
        state = new


def test_a_batch_without_any_target_changes_nothing():
    empty = lambda n: tiny.batch(n)._replace(weight=np.zeros((tiny.ROWS, tiny.LENGTH), np.float32))
    before, _ = after(0)
    state, metrics = after(1, batches=empty)
    tiny.assert_same_bits(state.params, before.params)
    assert (float(metrics["loss"]), float(metrics["grad_norm"]), int(metrics["skipped"])) == (0.0, 0.0, 0)


# --- the moving average


def test_the_moving_average_follows_its_definition():
    decay, path = 0.3, [after(n)[0].params for n in range(4)]
    expected = path[0]
    for n, params in enumerate(path[1:]):
        d = min(decay, (1 + n) / (10 + n))
        expected = jax.tree.map(lambda a, p, d=d: d * a + (1 - d) * p, expected, params)
    state, _ = after(3, average=decay)
    assert tiny.relative_distance(state.average, expected) < 1e-6
    assert tiny.relative_distance(state.average, state.params) > 1e-3
