"""NT-ASGD beside its algorithm written out: when averaging begins, and what it averages."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlm.training import asgd
from jaxlm.training import optimizer as optimizers
from jaxlm.training.loop import LoopConfig, fit
from jaxlm.training.optimizer import LinearConfig, NtAsgdConfig, SgdConfig
from jaxlm.training.step import make_step
from tests.training import tiny

INF, NAN = float("inf"), float("nan")


def begins_at(losses, patience):
    """Merity et al. 2018, algorithm 1: the number of the evaluation that begins to average; None: none does."""
    logs = []
    for t, v in enumerate(losses):
        if t > patience and v > min(logs[: t - patience]):
            return t
        logs.append(v)
    return None


def ours(losses, patience):
    trigger, see = asgd.fresh(patience), jax.jit(asgd.seen)
    for t, loss in enumerate(losses):
        trigger = see(trigger, jnp.float32(loss))
        if trigger.averaged:
            return t
    return None


@pytest.mark.parametrize(
    "losses, patience, begins",
    [
        ([5, 4, 3, 2, 1], 1, None),
        ([5, 6, 7], 1, 2),  # the second is worse, but only the third is asked: the first is then old enough
        ([5, 6, 5], 1, None),  # as good as the best is not worse
        ([5, 3, 4, 4.5], 1, 3),  # 4 is worse than 3, but 3 is not old enough before 4.5 comes
        ([5, 3, 4, 2], 1, None),
        ([5, 4, 6, 6, 6], 3, 4),
        ([5, 4, 6, 6, 5], 3, None),
        ([1, 9, 9, 9, 9, 9, 9], 5, 6),
        ([1, 9, 9, 9, 9, 9], 5, None),
        ([INF, INF, 3], 1, None),
        ([3, 4, INF], 1, 2),
        ([3, 4, NAN, 2], 1, None),  # what is no number is not worse than anything
        ([3, NAN, 2, 2.5, 2.6], 1, 4),  # nor better
        ([5, 5 + 1e-6, 5 + 1e-6], 1, 2),
    ],
)
def test_averaging_begins_where_the_paper_says(losses, patience, begins):
    assert ours(losses, patience) == begins
    if not np.isnan(losses).any():
        assert begins_at(losses, patience) == begins


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_averaging_begins_where_the_loop_written_out_says(patience):
    rng, found = np.random.default_rng(patience), []
    for _ in range(40):
        steps = rng.normal(-0.3, 1.0, 12).cumsum().round(1) + 10  # rounded, so that losses may be equal
        losses = steps.astype(np.float32).tolist()
        found.append(begins_at(losses, patience))
        assert ours(losses, patience) == found[-1]
    assert None in found and len(set(found)) > 3


# --- what is averaged

CONFIG = NtAsgdConfig(peak_rate=0.5, patience=1, decay=0.0)


def world(cfg=CONFIG):
    model = tiny.family(dropout=0.0)
    optimizer = optimizers.build(cfg, 100, model.axes, "float32")
    state = tiny.start(model, optimizer, averaged=True)._replace(trigger=asgd.fresh(cfg.patience))
    return state, jax.jit(make_step(tiny.loss_of(model), optimizer, rate=lambda n: 0.5, seed=None))


def trained(losses, steps, bad=()):
    """(last state, parameters after each step, metrics of each) where step n is evaluated as losses[n]."""
    state, step = world()
    path, told, count = [], [], itertools.count()

    def keeping(state, batch):
        if next(count) in bad:
            batch = batch._replace(weight=np.full_like(batch.weight, np.nan))
        state, metrics = step(state, batch)
        path.append(state.params)
        told.append(metrics)
        return state, metrics

    state = fit(
        LoopConfig(steps=steps, eval_every=1), state, map(tiny.batch, range(steps)), keeping,
        evaluate=lambda state: {"loss": losses[int(state.step)]},
        evaluated=lambda state, evaluation: asgd.evaluated(state, evaluation["loss"]),
    )  # fmt: skip
    return state, path, told


def mean(trees):
    return jax.tree.map(lambda *leaves: np.mean(np.stack(leaves).astype(np.float64), axis=0), *trees)


def test_the_average_is_the_mean_of_all_parameters_since_it_began():
    losses = {1: 3.0, 2: 2.0, 3: 2.5, 4: 2.6, 5: 9.0, 6: 1.0, 7: 9.0}  # worse than step 2's, at step 4
    state, path, told = trained(losses, 7)
    assert [int(metrics["averaged_steps"]) for metrics in told] == [0, 0, 0, 0, 2, 3, 4]
    assert int(state.trigger.averaged) == 4
    assert tiny.relative_distance(state.average, mean(path[3:])) < 1e-6
    for wrong in (path[2:], path[4:], path[3:-1]):
        assert tiny.relative_distance(state.average, mean(wrong)) > 1e-4
    tiny.assert_same_bits(state.params, path[-1])


def test_until_it_begins_the_average_is_the_parameters():
    state, path, _ = trained({n: 9.0 - n for n in range(5)}, 4)
    assert int(state.trigger.averaged) == 0
    tiny.assert_same_bits(state.average, path[-1])


def test_a_step_that_is_not_finite_is_not_averaged():
    losses = {1: 1.0, 2: 2.0, 3: 3.0, 4: 3.0, 5: 3.0}
    state, path, _ = trained(losses, 5, bad=[3])
    tiny.assert_same_bits(path[3], path[2])
    assert int(state.trigger.averaged) == 2
    assert tiny.relative_distance(state.average, mean([path[2], path[4]])) < 1e-6


def test_parameters_go_the_way_of_plain_descent():
    """The average only looks on; decay is added to the clipped gradient, but not for biases and norms."""
    cfg = NtAsgdConfig(peak_rate=0.5, decay=0.01, clip=0.25)
    plain = SgdConfig(peak_rate=0.5, clip=0.25, schedule=LinearConfig(warmup=0, final=1.0))
    params = tiny.family().init(jax.random.key(0))
    grads = jax.tree.map(jnp.ones_like, params)

    def change(cfg):
        optimizer = optimizers.build(cfg, 100, tiny.family().axes, "float32")
        return optimizer.update(grads, optimizer.init(params), params)[0]

    decayed = jax.tree.map(lambda c, p, on: c - 0.5 * 0.01 * p * on, change(plain), params, optimizers.decays(params))
    assert tiny.relative_distance(change(cfg), decayed) < 1e-6
    assert tiny.relative_distance(change(cfg), change(plain)) > 1e-3
    tiny.assert_same_bits(change(cfg.model_copy(update={"decay": 0.0})), change(plain))


def test_a_state_of_another_optimiser_stays_as_it_is():
    model, optimizer = tiny.family(), optax.sgd(0.1)
    state = tiny.start(model, optimizer)
    assert asgd.evaluated(state, 3.0) is state
