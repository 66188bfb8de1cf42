"""Muon against numpy, against optax's own, and the same for stacked and unrolled layers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlm.training import muon as muons
from jaxlm.training.muon import as_matrices, muon, newton_schulz, orthogonalize
from tests.training import tiny


def matrix(rows, columns, seed=0):
    return jax.random.normal(jax.random.key(seed), (rows, columns))


def in_numpy(g):
    """Five Newton-Schulz steps of Jordan et al. 2024, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = np.asarray(g, np.float64)
    x = x.T if g.shape[0] > g.shape[1] else x
    x = x / np.linalg.norm(x)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


@pytest.mark.parametrize("rows, columns", [(8, 8), (6, 11), (11, 6)])
def test_newton_schulz_is_that_of_numpy(rows, columns):
    g = matrix(rows, columns)
    np.testing.assert_allclose(newton_schulz(g[None], "float32")[0], in_numpy(g), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rows, columns", [(6, 24), (24, 6)])
def test_newton_schulz_keeps_the_directions_and_evens_the_lengths(rows, columns):
    """The nearest orthogonal matrix is u v; singular values end in about 0.7 to 1.2."""
    g = matrix(rows, columns)
    u, _, v = np.linalg.svd(g, full_matrices=False)
    lengths = np.diag(u.T @ np.asarray(newton_schulz(g[None], "float32")[0]) @ v.T)
    assert (lengths > 0.6).all() and (lengths < 1.3).all()


def test_a_gradient_of_zeros_stays_zeros():
    np.testing.assert_array_equal(newton_schulz(jnp.zeros((1, 4, 6)), "float32"), np.zeros((1, 4, 6)))


def test_matrices_of_one_shape_go_through_together_as_if_alone():
    tree = {"a": {"w": matrix(6, 8, 1)}, "b": {"w": matrix(6, 8, 2)}, "c": {"w": matrix(8, 6, 3)}}
    axes = {"a": {"w": ("width", "ff")}, "b": {"w": ("width", "ff")}, "c": {"w": ("ff", "width")}}
    together = orthogonalize(tree, axes, "float32")
    for name in tree:
        alone = orthogonalize({name: tree[name]}, axes, "float32")
        np.testing.assert_allclose(together[name]["w"], alone[name]["w"], rtol=1e-5, atol=1e-6)


def test_a_wide_matrix_gets_the_root_of_out_over_in():
    g = matrix(6, 24)
    got = orthogonalize({"w": g}, {"w": ("width", "ff")}, "float32")["w"]
    np.testing.assert_allclose(got, 2 * in_numpy(g), rtol=1e-3, atol=1e-3)
    got = orthogonalize({"w": g.T}, {"w": ("ff", "width")}, "float32")["w"]
    np.testing.assert_allclose(got, in_numpy(g).T, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "shape, names, expected",
    [
        ((8, 2, 1, 4), ("width", "kv", "group", "head"), (1, 8, 8)),
        ((2, 1, 4, 8), ("kv", "group", "head", "width"), (1, 8, 8)),
        ((8, 2, 6), ("width", "kv", "head"), (1, 8, 12)),
        ((3, 8, 2, 6), ("layers", "width", "kv", "head"), (3, 8, 12)),
        ((3, 2, 6, 8), ("layers", "kv", "head", "width"), (3, 12, 8)),
    ],
)
def test_a_weight_is_a_matrix_from_or_to_the_width(shape, names, expected):
    w = jnp.arange(np.prod(shape, dtype=int)).reshape(shape)
    assert as_matrices(w, names).shape == expected
    np.testing.assert_array_equal(as_matrices(w, names).ravel(), w.ravel())


def test_muon_is_that_of_optax():
    """Without decay, on one matrix, with Nesterov momentum and no bias correction of it."""
    p = {"w": matrix(6, 24, 9)}
    ours = muon(lambda n: 0.1, {"w": ("width", "ff")}, momentum=0.9, decay=0.0)
    theirs = optax.contrib.scale_by_muon(
        beta=0.9, nesterov=True, weight_dimension_numbers={"w": optax.contrib.MuonDimensionNumbers()}
    )
    state, other = ours.init(p), theirs.init(p)
    for n in range(3):
        g = {"w": matrix(6, 24, n)}
        got, state = ours.update(g, state, p)
        wanted, other = theirs.update(g, other, p)
        # optax averages the gradients, we sum them: the direction is the same but for bias correction.
        cosine = float(jnp.vdot(got["w"], wanted["w"]))
        cosine /= float(jnp.linalg.norm(got["w"]) * jnp.linalg.norm(wanted["w"]))
        assert cosine < -0.995, "an update goes against the direction that optax gives"


def test_momentum_decay_and_rate_are_applied_as_written():
    p, axes = {"w": matrix(6, 6, 9)}, {"w": ("width", "ff")}
    ours = muon(lambda n: 0.1 / (n + 1), axes, momentum=0.9, decay=0.5)
    state, velocity = ours.init(p), 0.0
    for n in range(3):
        g = matrix(6, 6, n)
        got, state = ours.update({"w": g}, state, p)
        velocity = 0.9 * velocity + g
        expected = -(0.1 / (n + 1)) * (in_numpy(0.9 * velocity + g) + 0.5 * np.asarray(p["w"]))
        np.testing.assert_allclose(got["w"], expected, rtol=1e-3, atol=1e-4)
    assert int(state.count) == 3


def test_stacked_and_unrolled_layers_move_alike():
    one, two = matrix(6, 8, 1), matrix(6, 8, 2)
    stacked = orthogonalize(
        {"blocks": {"up": {"w": jnp.stack([one, two])}}},
        {"blocks": {"up": {"w": ("layers", "width", "ff")}}},
        "float32",
    )["blocks"]["up"]["w"]
    unrolled = orthogonalize(
        {"block_0": {"up": {"w": one}}, "block_1": {"up": {"w": two}}},
        {"block_0": {"up": {"w": ("width", "ff")}}, "block_1": {"up": {"w": ("width", "ff")}}},
        "float32",
    )
    for n in range(2):
        np.testing.assert_allclose(stacked[n], unrolled[f"block_{n}"]["up"]["w"], rtol=1e-5, atol=1e-6)


def test_the_axes_of_a_model_name_the_width_of_each_matrix():
    for scan in (True, False):
        model = tiny.family(scan_layers=scan)
        shapes = jax.eval_shape(model.init, jax.random.key(0))
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
            if path[-1].key == "w":
                names = muons.look_up(model.axes, path)
                assert len(names) == leaf.ndim and names.count("width") == 1
