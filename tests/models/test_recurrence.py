"""The loops below the recurrent models, beside loops that spell out the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm import mesh
from jaxlm.models.cells import CELLS, linear_gates
from jaxlm.models.recurrence import linear_recurrence, recurrence, scan_cell
from tests.rows import crossed, short

L, B, H = 7, 3, 4


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(got, wanted, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), got, wanted)


FAST = (
    ("lstm", True, True),
    ("lstm", False, False),
    ("gru", False, True),
    ("tanh", True, False),
    ("relu", False, True),
)


@pytest.mark.parametrize(
    "name, reverse, flags",
    crossed(["tanh", "relu", "lstm", "gru"], [False, True], [False, True], fast=lambda *row: row in FAST),
)
def test_recurrence_and_its_gradients_are_those_of_a_plain_scan(name, reverse, flags):
    cell = CELLS[name]
    x, w, bias = random(0, L, B, cell.gates * H), random(1, H, cell.gates * H), random(2, cell.gates * H)
    state = tuple(random(3 + n, B, H) for n in range(len(cell.states)))
    fresh, still = (jax.random.bernoulli(jax.random.key(n), 0.3, (L, B)) for n in (0, 1)) if flags else (None, None)

    def ours(x, w, bias, state):
        return recurrence(cell.step, x, w, bias, state, fresh, still, precision="float32", reverse=reverse)

    def plain(x, w, bias, state):
        step = lambda x, state: cell.step(x, state[0] @ w + bias[None], state)
        return scan_cell(step, x, state, fresh, still, reverse=reverse)

    close(jax.jit(ours)(x, w, bias, state), jax.jit(plain)(x, w, bias, state))
    total = lambda f: lambda *a: sum(jnp.sin(3 * y).sum() for y in jax.tree.leaves(f(*a)))
    pulled = lambda f: jax.jit(jax.grad(total(f), (0, 1, 2, 3)))
    close(pulled(ours)(x, w, bias, state), pulled(plain)(x, w, bias, state))


def test_a_jitted_recurrence_is_differentiated_from_outside():
    """Its backward pass then runs when the trace of the forward pass, flags included, is over."""
    cell, x, w = CELLS["tanh"], random(0, L, B, H), random(1, H, H)
    fresh = jax.random.bernoulli(jax.random.key(0), 0.3, (L, B))
    run = lambda x, fresh: recurrence(cell.step, x, w, None, (jnp.ones((B, H)),), ~fresh, precision="float32")[0].sum()
    close(jax.grad(jax.jit(run))(x, fresh), jax.jit(jax.grad(run))(x, fresh))


def test_a_fresh_position_forgets_and_a_still_one_waits():
    cell = CELLS["tanh"]
    x, w, state = random(0, L, 1, H), random(1, H, H), (random(2, 1, H),)
    at = lambda *positions: jnp.isin(jnp.arange(L), jnp.array(positions))[:, None]
    run = lambda x, state, **flags: recurrence(cell.step, x, w, None, state, precision="float32", **flags)
    out, _ = run(x, state, fresh_LB=at(3))
    close(out[3:], run(x[3:], (jnp.zeros((1, H)),))[0])
    out, last = run(x, state, still_LB=at(4, 5, 6))
    close(last[0], run(x[:4], state)[1][0])
    close(out[4:], jnp.broadcast_to(out[3], (3, 1, H)))


@pytest.mark.parametrize("length", short([1, 2, 3, 17, 64, 8192], 1, 17, 8192))
def test_linear_recurrence_is_its_loop_with_saturated_gates(length):
    """Forward and gradients, in float32 beside float64."""
    a = np.asarray(jax.nn.sigmoid(12 * random(0, length, 2, 3)))  # from 1e-12 to 1 - 1e-7 and beyond
    b = np.asarray(random(1, length, 2, 3)) * (1 - a)
    first, of_h = np.asarray(random(2, 2, 3)), np.asarray(random(3, length, 2, 3))
    h, states = first.astype(np.float64), []
    for t in range(length):
        h = a[t].astype(np.float64) * h + b[t]
        states.append(h)
    of_state, of_a, of_b = np.zeros((2, 3)), [], []
    for t in reversed(range(length)):
        of_state = of_state + of_h[t]
        of_a.append(of_state * (states[t - 1] if t else first))
        of_b.append(of_state)
        of_state = of_state * a[t]
    wanted = np.stack(of_a[::-1]), np.stack(of_b[::-1]), of_state
    got, pull = jax.vjp(linear_recurrence, *map(jnp.asarray, (a, b, first)))
    relative = lambda x, y: np.abs(np.asarray(x) - y).max() / np.abs(y).max()
    assert relative(got, np.stack(states)) < 1e-5
    for ours, theirs in zip(pull(jnp.asarray(of_h)), wanted, strict=True):
        assert relative(ours, theirs) < 1e-5


@pytest.mark.parametrize("sizes", short([dict(sequence=8), dict(data=2, sequence=4)], dict(data=2, sequence=4)))
def test_a_linear_recurrence_goes_on_from_device_to_device(sizes):
    """Over five positions each, of which some forget all: a block of their square root is filled up."""
    a = jax.nn.sigmoid(random(0, 40, 2, 3)).at[jnp.array([0, 7, 15])].set(0.0)
    weighed = lambda a, b, state: (linear_recurrence(a, b, state) * random(3, 40, 2, 3)).sum()
    arguments = a, random(1, 40, 2, 3), random(2, 2, 3)
    run = lambda: jax.jit(jax.value_and_grad(lambda *args: weighed(*args), argnums=(0, 1, 2)))(*arguments)
    wanted = run()
    with jax.set_mesh(mesh.build(mesh.MeshConfig(layout="axes", **sizes))):
        got = run()
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(
    "name, length",
    crossed(["mingru", "minlstm"], [1, 100, 8192], fast=lambda *row: row in (("mingru", 8192), ("minlstm", 100))),
)
def test_a_linear_cell_is_its_sequential_form_with_saturated_gates(name, length):
    """Forward and gradients of what goes into the gates, float32 beside a scan in float64."""
    z, of_h = 12 * random(0, length, 2, CELLS[name].gates * H), random(1, length, 2, H)

    def sequential(z):
        step = lambda h, ab: (ab[0] * h + ab[1],) * 2
        return jax.lax.scan(step, jnp.zeros((2, H), z.dtype), linear_gates(name, z))[1]

    got, pull = jax.vjp(lambda z: linear_recurrence(*linear_gates(name, z), jnp.zeros((2, H))), z)
    with jax.enable_x64(True):
        wanted, exactly = jax.vjp(sequential, jnp.asarray(np.asarray(z, np.float64)))
        (wanted_z,) = exactly(jnp.asarray(np.asarray(of_h, np.float64)))
    assert wanted.dtype == np.float64
    relative = lambda x, y: np.abs(np.asarray(x) - np.asarray(y)).max() / np.abs(np.asarray(y)).max()
    assert relative(got, wanted) < 1e-5
    assert relative(pull(of_h)[0], wanted_z) < 1e-5


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_the_linear_cells_are_the_papers_in_log_space(name):
    """Feng et al. 2024, appendix B: cumulative log-sum-exp, in float64."""
    z = 3 * random(0, 9, 2, CELLS[name].gates * H)
    got = linear_recurrence(*linear_gates(name, z), jnp.zeros((2, H)))
    parts = np.split(np.asarray(z, np.float64), CELLS[name].gates, axis=-1)
    softplus = lambda x: np.logaddexp(0, x)
    log_g = lambda x: np.where(x >= 0, np.log(np.maximum(x, 0) + 0.5), -softplus(-x))
    if name == "mingru":
        log_keep, log_take = -softplus(parts[0]), -softplus(-parts[0])
    else:
        more = softplus(-parts[0]) - softplus(-parts[1])
        log_keep, log_take = -softplus(more), -softplus(-more)
    sums = np.cumsum(log_keep, axis=0)
    wanted = np.exp(sums + np.logaddexp.accumulate(log_take + log_g(parts[-1]) - sums, axis=0))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
