"""cuDNN's LSTM as far as a CPU goes: JAX's reference of the call, through our packing of weights, beside our scan."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from jaxlm import mesh as meshes
from jaxlm.models import recurrence_cudnn, recurrent, recurrent_layer
from jaxlm.models.build import build
from jaxlm.models.cells import CELLS
from jaxlm.models.layers import Noise, einsum
from jaxlm.models.recurrence import recurrence
from jaxlm.models.recurrence_cudnn import cudnn, lstm_layer
from jaxlm.models.recurrent import RecurrentConfig
from tests.models import test_families
from tests.rows import crossed

L, B, D, H = 6, 4, 3, 5


def reference(x_BLD, h_1BH, c_1BH, flat, exact):
    """What JAX says that the call computes."""
    rows, length, width = x_BLD.shape
    sizes = width, h_1BH.shape[2], 1
    weights = rnn.unpack_lstm_weights(flat, *sizes, False)
    return rnn.lstm_ref(x_BLD, h_1BH, c_1BH, *weights, jnp.full((rows,), length, jnp.int32), *sizes, 0.0, False)


def random(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(got, wanted, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), got, wanted)


def arguments(bias):
    state = random(3, B, H), random(4, B, H)
    return random(0, L, B, D), random(1, D, 4, H), random(2, H, 4, H), random(5, 4, H) if bias else None, state


def scan(x_LBD, w_DJH, w_HJH, b_JH, state, *, reverse):
    x_LBJH = einsum("LBD,DJH->LBJH", x_LBD, w_DJH, "float32") + (0 if b_JH is None else b_JH[None, None])
    w_HZ = w_HJH.reshape(H, 4 * H)
    x_LBZ = x_LBJH.reshape(L, B, 4 * H)
    return recurrence(CELLS["lstm"].step, x_LBZ, w_HZ, None, state, precision="float32", reverse=reverse)


def loss(run):
    """All outputs and both last states, each weighted differently."""
    return lambda *args: sum((jnp.sin(3 * y) * (n + 1)).sum() for n, y in enumerate(jax.tree.leaves(run(*args))))


@pytest.mark.parametrize(
    "reverse, bias", crossed([False, True], [True, False], fast=lambda reverse, bias: reverse == bias)
)
def test_the_call_is_our_scan_with_its_gradients(reverse, bias):
    ours = functools.partial(lstm_layer, precision="float32", kernel=reference, reverse=reverse)
    plain = functools.partial(scan, reverse=reverse)
    args = arguments(bias)
    close(jax.jit(ours)(*args), jax.jit(plain)(*args))
    gradient = lambda run: jax.jit(jax.grad(loss(run), (0, 1, 2, 3, 4)))(*args)
    close(gradient(ours), gradient(plain))


def test_on_a_mesh_each_device_runs_its_rows():
    """The gradients of weights, which all devices share, are summed over them."""
    mesh = meshes.build(meshes.MeshConfig(layout="replicated", devices=2))
    args, seen = arguments(bias=True), []

    def watched(x_BLD, *more):
        seen.append(x_BLD.shape[0])
        return reference(x_BLD, *more)

    both = lambda kernel: jax.jit(
        jax.value_and_grad(loss(functools.partial(lstm_layer, precision="float32", kernel=kernel)), (0, 1, 2, 3, 4))
    )
    with jax.set_mesh(mesh):
        got = both(watched)(*args)
    assert set(seen) == {B // 2}
    close(got, both(reference)(*args))


@pytest.fixture
def on_gpu(monkeypatch):
    """As if there were a GPU, whose call is JAX's reference."""
    for module in (recurrent, recurrence_cudnn):
        monkeypatch.setattr(module, "has_cudnn", lambda: True)
    calls = []

    def layer(*args, **options):
        calls.append(options)
        return lstm_layer(*args, **options, kernel=reference)

    monkeypatch.setattr(recurrent_layer, "lstm_layer", layer)
    return calls


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": 2, "weight_drop": 0.3, "dropout": 0.2, "hidden_dropout": 0.2},
        pytest.param({"layers": 3, "width": 12, "embedding": 8}, marks=pytest.mark.slow),
        pytest.param({"layers": 1, "bias": False, "tied": False}, marks=pytest.mark.slow),
        {"layers": 2, "bidirectional": True, "tied": False},
    ],
    ids=str,
)
def test_a_model_is_the_same_by_either_backend(settings, on_gpu):
    """Outputs, states, and gradients; dropped weights included; rows that go on from a state, and that begin anew."""
    cfg = RecurrentConfig(**{"width": 16, "precision": "float32"} | settings)
    made = lambda backend: build(
        cfg.model_copy(update={"backend": backend}), vocab=test_families.VOCAB, length=test_families.LENGTH,
        packed=False, platform="gpu",
    )  # fmt: skip
    ours, plain, batch = made("cudnn"), made("scan"), test_families.rows("lstm")
    params = jax.jit(ours.init)(jax.random.key(0))
    assert not on_gpu, "parameters are made without it"
    jax.tree.map(np.testing.assert_array_equal, params, jax.jit(plain.init)(jax.random.key(0)))
    if not cfg.tied:  # gradients near 1, for which `close` is meant: an untied table is normal(0, 1)
        params = params | {"embedding": params["embedding"] / 4}
    noise = Noise(jax.random.key(1), jax.random.split(jax.random.key(2), 3)) if cfg.noisy else None
    carry = jax.tree.map(lambda x: x + 0.5, plain.carry(3))
    mid_text = batch._replace(position=batch.position + np.array([[0], [7], [0]], np.int32))
    mid_text = jax.tree.map(jnp.asarray, mid_text)

    def run(family):
        forward = lambda params, carry: family.apply(params, mid_text, noise, carry)
        return jax.jit(lambda *args: (forward(*args), jax.grad(loss(forward), (0, 1))(*args)))(params, carry)

    got = run(ours)
    assert len(on_gpu) == 2 * cfg.layers * cfg.directions
    close(got, run(plain))
    assert len(on_gpu) == 2 * cfg.layers * cfg.directions


def test_decoding_goes_by_the_scan(on_gpu):
    """A padded prompt asks for a state that waits."""
    cfg = RecurrentConfig(width=8, precision="float32")
    family = build(cfg, vocab=5, length=4, packed=False, platform="gpu")
    params, token = jax.eval_shape(family.init, jax.random.key(0)), jnp.zeros((2, 3), jnp.int32)
    jax.eval_shape(family.decode, params, token, jnp.zeros_like(token), token == 0, family.init_state(2, 3))
    assert not on_gpu


@pytest.mark.parametrize("precision, tf32", [("float32", False), ("bfloat16", True)])
def test_the_call_itself_is_traced_with_its_gradient(precision, tf32, monkeypatch):
    """How much memory it needs is asked of the GPU's library, which is not here: only that answer is made up."""
    from jax._src.lib import gpu_rnn

    monkeypatch.setattr(gpu_rnn, "compute_rnn_workspace_reserve_space_sizes", lambda *_: (0, 64), raising=False)
    run = functools.partial(lstm_layer, precision=precision, kernel=cudnn)
    traced = str(jax.make_jaxpr(jax.grad(loss(run), (0, 1, 2, 3, 4)))(*arguments(bias=True)))
    assert traced.count("rnn_fwd[") == traced.count("rnn_bwd[") == 1
    assert traced.count(f"cudnn_allow_tf32={tf32}") == 2
    assert traced.count(f"hidden_size={H}") == traced.count(f"input_size={D}") == 2
