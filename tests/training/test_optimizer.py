"""Schedules at their corners, and optimisers against what their papers write down."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlm.config import Config, parse
from jaxlm.errors import UserError
from jaxlm.training import optimizer as optimizers
from jaxlm.training.optimizer import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    LinearConfig,
    MuonConfig,
    SgdConfig,
    WsdConfig,
)
from tests.training import tiny

FLAT = LinearConfig(warmup=0, final=1.0)
AXES = {
    "embedding": ("vocab", "width"),
    "block": {"up": {"w": ("width", "ff"), "b": ("ff",)}, "norm": {"scale": ("norm",)}},
}


def params(seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    return {
        "embedding": jax.random.normal(keys[0], (7, 4)),
        "block": {
            "up": {"w": jax.random.normal(keys[1], (4, 6)), "b": jax.random.normal(keys[2], (6,))},
            "norm": {"scale": jax.random.normal(keys[3], (4,))},
        },
    }


def updates(cfg, steps=3, axes=AXES, start=params, scale=1.0):
    """The parameters after each step, with the gradients of `params(1)`, `params(2)`, ..."""
    optimizer = optimizers.build(cfg, 10, axes, "float32")
    now, path = start(), []
    state = optimizer.init(now)
    for n in range(steps):
        grads = jax.tree.map(lambda g: scale * g, start(n + 1))
        change, state = optimizer.update(grads, state, now)
        now = optax.apply_updates(now, change)
        path.append(now)
    return path


# --- schedules: peak 1, 100 steps


@pytest.mark.parametrize(
    "cfg, points",
    [
        (CosineConfig(warmup=9, final=0.1), {0: 0.1, 8: 0.9, 9: 1.0, 100: 0.1}),
        (CosineConfig(warmup=0, final=0.0), {0: 1.0, 50: 0.5, 100: 0.0}),
        (LinearConfig(warmup=20, final=0.0), {0: 1 / 21, 19: 20 / 21, 20: 1.0, 60: 0.5, 100: 0.0}),
        (LinearConfig(warmup=0, final=1.0), {0: 1.0, 99: 1.0}),
        (
            WsdConfig(warmup=10, decay=0.2, final=0.0),
            {0: 1 / 11, 10: 1.0, 50: 1.0, 80: 1.0, 90: 0.5, 100: 0.0},
        ),
        (WsdConfig(warmup=90, decay=0.2, final=0.0), {89: 90 / 91, 90: 1.0, 95: 0.5, 100: 0.0}),
        (WsdConfig(warmup=0, decay=1.0, final=0.5), {0: 1.0, 50: 0.75, 100: 0.5}),
    ],
    ids=str,
)
def test_a_schedule_passes_through_its_corners(cfg, points):
    rate = optimizers.schedule(cfg, 1.0, 100)
    for step, expected in points.items():
        np.testing.assert_allclose(rate(jnp.int32(step)), expected, rtol=1e-5, atol=1e-7, err_msg=f"step {step}")


@pytest.mark.parametrize("cfg", [CosineConfig(warmup=10), LinearConfig(warmup=10), WsdConfig(warmup=10)], ids=str)
def test_a_schedule_rises_to_its_peak_and_then_never_again(cfg):
    rates = np.array([float(optimizers.schedule(cfg, 0.02, 100)(n)) for n in range(100)])
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:]) <= 1e-9).all()
    assert rates.argmax() == 10 and rates[0] > 0, "the first step learns too"
    np.testing.assert_allclose(rates.max(), 0.02, rtol=1e-6)
    assert rates[-1] > 0, "the last step learns too"


def test_a_warm_up_as_long_as_the_run_is_a_rise_alone():
    rates = [float(optimizers.schedule(CosineConfig(warmup=10), 1.0, 10)(n)) for n in range(10)]
    np.testing.assert_allclose(rates, np.arange(1, 11) / 11, rtol=1e-6)


# --- AdamW


def test_adamw_is_its_paper():
    """Loshchilov & Hutter 2019, algorithm 2, with the mask of decay, in float64."""
    cfg = AdamWConfig(peak_rate=0.1, beta1=0.8, beta2=0.9, eps=1e-6, decay=0.3, clip=None, schedule=FLAT)
    path = updates(cfg)
    for read, decays in (
        (lambda p: p["embedding"], True),
        (lambda p: p["block"]["up"]["w"], True),
        (lambda p: p["block"]["up"]["b"], False),
        (lambda p: p["block"]["norm"]["scale"], False),
    ):
        w, m, v = np.asarray(read(params()), np.float64), 0.0, 0.0
        for t in range(1, 4):
            g = np.asarray(read(params(t)), np.float64)
            m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
            step = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-6) + 0.3 * decays * w
            w = w - 0.1 * step
            np.testing.assert_allclose(read(path[t - 1]), w, rtol=1e-5, atol=1e-6)


def test_clipping_scales_the_whole_gradient_to_the_norm():
    norm = float(optax.tree.norm(params(1)))
    (clipped,) = updates(SgdConfig(peak_rate=1.0, clip=norm / 4), steps=1)
    (small,) = updates(SgdConfig(peak_rate=1.0), steps=1, scale=0.25)
    assert tiny.relative_distance(clipped, small) < 1e-6
    (free,) = updates(SgdConfig(peak_rate=1.0, clip=norm * 4), steps=1)
    tiny.assert_same_bits(free, updates(SgdConfig(peak_rate=1.0), steps=1)[0])


def test_sgd_with_momentum_is_its_definition():
    path, v = updates(SgdConfig(peak_rate=0.1, momentum=0.5)), 0.0
    w = np.asarray(params()["embedding"])
    for t in range(1, 4):
        v = 0.5 * v + np.asarray(params(t)["embedding"])
        w = w - 0.1 * v
        np.testing.assert_allclose(path[t - 1]["embedding"], w, rtol=1e-5, atol=1e-6)


def test_biases_and_scales_of_norms_do_not_decay():
    assert optimizers.decays(params()) == {
        "embedding": True,
        "block": {"up": {"w": True, "b": False}, "norm": {"scale": False}},
    }


# --- Muon in the optimiser; its own parts are in test_muon.py


def test_muon_moves_hidden_matrices_and_adamw_the_rest():
    cfg = MuonConfig(peak_rate=0.1, others=AdamConfig(peak_rate=0.01, decay=0.0), schedule=FLAT)
    muon = updates(cfg)[-1]
    adamw = updates(AdamWConfig(peak_rate=0.01, decay=0.0, clip=None, schedule=FLAT))[-1]
    for read in (lambda p: p["embedding"], lambda p: p["block"]["up"]["b"], lambda p: p["block"]["norm"]):
        assert tiny.relative_distance(read(muon), read(adamw)) < 1e-6
    w = lambda p: p["block"]["up"]["w"]
    assert tiny.relative_distance(w(muon), w(adamw)) > 0.01


def test_the_matrices_of_a_model_that_muon_moves_are_those_in_its_blocks():
    model = tiny.family(tied=False)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    labels = jax.tree_util.tree_map_with_path(lambda path, _: optimizers.is_hidden_matrix(path), shapes)
    chosen = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, label in jax.tree_util.tree_leaves_with_path(labels)
        if label
    }
    parts = ("attention/q", "attention/k", "attention/v", "attention/o", "mlp/up", "mlp/down")
    assert chosen == {f"block_{n}/{part}/w" for n in range(2) for part in parts}


@pytest.mark.parametrize("saved", [{"kind": "adamm"}, {"kind": "muon", "momentum": 1.0}, {"kind": "sgd", "beta1": 0.9}])
def test_an_optimiser_that_does_not_exist_is_refused(saved):
    class Holder(Config):
        optimizer: optimizers.OptimizerConfig

    with pytest.raises(UserError, match="optimizer"):
        parse({"optimizer": saved}, Holder)
