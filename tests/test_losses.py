"""The chunked loss is the plain one: same values, same gradients, a fraction of the memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm import losses
from jaxlm import mesh as meshes
from jaxlm.losses import CHUNK_BYTES, LossConfig, chunk_length, cross_entropy
from jaxlm.plan import hlo
from jaxlm.plan.collectives import by_kind, collectives
from tests.rows import crossed

B, L, D, V = 3, 14, 8, 11


def case(seed=0):
    """Hidden states, table, targets, and weights of which some are 0."""
    keys = jax.random.split(jax.random.key(seed), 4)
    hidden_BLD = jax.random.normal(keys[0], (B, L, D))
    table_VD = jax.random.normal(keys[1], (V, D))
    target_BL = jax.random.randint(keys[2], (B, L), 0, V)
    weight_BL = jax.random.uniform(keys[3], (B, L)) * (jnp.arange(L) % 3 != 0).reshape(1, L)
    return hidden_BLD, table_VD, target_BL, weight_BL


def sums(hidden_BLD, table_VD, target_BL, weight_BL, softcap=None, **config):
    cfg = LossConfig(**config)
    return cross_entropy(hidden_BLD, table_VD, target_BL, weight_BL, precision="float32", cfg=cfg, softcap=softcap)


def with_gradients(softcap=None, **config):
    hidden_BLD, table_VD, target_BL, weight_BL = case()

    def total(hidden_BLD, table_VD):
        objective, nats = sums(hidden_BLD, table_VD, target_BL, weight_BL, softcap, **config)
        return 3 * objective, (objective, nats)  # 3: the cotangent is not always 1

    (_, values), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(hidden_BLD, table_VD)
    return *values, *gradients


def definition(softcap=None, z_loss=0.0, label_smoothing=0.0):
    """(objective, nats) token by token in float64."""
    hidden, table, target, weight = (np.asarray(x, np.float64) for x in case())
    objective, nats = 0.0, np.zeros(B)
    for b, l in np.ndindex(B, L):
        logits = table @ hidden[b, l]
        if softcap:
            logits = softcap * np.tanh(logits / softcap)
        normaliser = np.log(np.exp(logits).sum())
        nats_of_each = normaliser - logits  # of every token, were it the target
        of_target = nats_of_each[int(target[b, l])]
        smoothed = (1 - label_smoothing) * of_target + label_smoothing * nats_of_each.mean()
        objective += weight[b, l] * (smoothed + z_loss * normaliser**2)
        nats[b] += weight[b, l] * of_target
    return objective, nats.sum(), nats


EXTRAS = [
    {},
    {"z_loss": 0.1},
    {"label_smoothing": 0.2},
    {"softcap": 2.0},
    {"z_loss": 0.1, "label_smoothing": 0.2, "softcap": 2.0},
]


@pytest.mark.parametrize("extras", EXTRAS, ids=str)
@pytest.mark.parametrize("chunk", [5, L])
def test_the_loss_is_its_definition(extras, chunk):
    got = sums(*case(), chunk=chunk, **extras)
    for one, expected in zip(got, definition(**extras)[:2], strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_evaluation_has_the_nats_of_each_row(softcap, monkeypatch):
    monkeypatch.setattr(losses, "CHUNK_BYTES", 4 * B * V * 5)  # five tokens at once
    nats_B, hits_B = losses.row_scores(*case(), precision="float32", softcap=softcap)
    np.testing.assert_allclose(nats_B, definition(softcap=softcap)[2], rtol=1e-5)
    hidden, table, target, weight = map(np.asarray, case())
    best = np.argmax(np.einsum("bld,vd->blv", hidden, table), axis=-1)
    np.testing.assert_allclose(hits_B, ((best == target) * weight).sum(1), rtol=1e-6)


@pytest.mark.parametrize(
    "chunk, extras",
    crossed([1, 5, 7, 13], EXTRAS, fast=lambda chunk, extras: chunk == 5 or (chunk in (1, 7) and not extras)),
    ids=str,
)
def test_chunks_change_neither_values_nor_gradients(extras, chunk):
    plain = with_gradients(chunk=L, **extras)
    for chunked, whole in zip(with_gradients(chunk=chunk, **extras), plain, strict=True):
        np.testing.assert_allclose(chunked, whole, rtol=1e-6, atol=1e-6 * np.abs(whole).max())


@pytest.mark.parametrize("chunk", [5, L])
def test_tokens_of_weight_0_count_for_nothing(chunk):
    hidden_BLD, table_VD, target_BL, weight_BL = case()
    other_BL = jnp.where(weight_BL == 0, (target_BL + 1) % V, target_BL)
    noisy_BLD = jnp.where(weight_BL[..., None] == 0, 50.0, hidden_BLD)
    for got, expected in zip(
        sums(noisy_BLD, table_VD, other_BL, weight_BL, chunk=chunk),
        sums(hidden_BLD, table_VD, target_BL, weight_BL, chunk=chunk),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


def test_with_no_weight_at_all_the_sums_are_0():
    hidden_BLD, table_VD, target_BL, _ = case()
    for got in sums(hidden_BLD, table_VD, target_BL, jnp.zeros((B, L)), chunk=4):
        assert got == 0


def test_nats_hold_neither_smoothing_nor_z_loss():
    _, plain = sums(*case())
    objective, nats = sums(*case(), z_loss=0.1, label_smoothing=0.2)
    np.testing.assert_array_equal(nats, plain)
    assert np.abs(objective - nats) > 0.01


@pytest.mark.parametrize("rows, length, vocab", [(1, 64, 97), (12, 1024, 50_257), (512, 100, 200_000)])
def test_the_logits_of_a_chunk_fit_and_chunks_are_even(rows, length, vocab):
    chunk = chunk_length(rows, length, vocab)
    assert 1 <= chunk <= length
    assert chunk == 1 or 4 * rows * chunk * vocab <= CHUNK_BYTES
    chunks = -(-length // chunk)
    assert chunks * chunk - length < chunks, "padding is less than one token a chunk"


def test_the_compiled_chunked_loss_needs_at_most_a_third_of_the_plain_ones_memory():
    rows, length, width, vocab = 4, 1_024, 16, 50_257  # plain logits: 823 MB
    wide = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    targets = jax.ShapeDtypeStruct((rows, length), jnp.int32)

    def temporary_bytes(chunk):
        def total(hidden_BLD, table_VD, target_BL, weight_BL):
            return sums(hidden_BLD, table_VD, target_BL, weight_BL, chunk=chunk)[0]

        gradient = jax.jit(jax.grad(total, argnums=(0, 1)))
        arguments = wide(rows, length, width), wide(vocab, width), targets, wide(rows, length)
        return gradient.lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    assert 3 * temporary_bytes(None) <= temporary_bytes(length)


@pytest.mark.parametrize("chunk", [5, L])
@pytest.mark.parametrize("extras", EXTRAS, ids=str)
def test_gradients_are_those_of_the_definition(extras, chunk):
    hidden_BLD, table_VD, target_BL, weight_BL = case()
    z_loss, smoothing, softcap = (extras.get(name, 0.0) for name in ("z_loss", "label_smoothing", "softcap"))

    def written_out(hidden_BLD, table_VD):
        logits_BLV = hidden_BLD @ table_VD.T
        logits_BLV = softcap * jnp.tanh(logits_BLV / softcap) if softcap else logits_BLV
        chance_BLV = jax.nn.log_softmax(logits_BLV)
        asked_BLV = (1 - smoothing) * jax.nn.one_hot(target_BL, V) + smoothing / V
        of_each_BL = -(asked_BLV * chance_BLV).sum(-1) + z_loss * jax.nn.logsumexp(logits_BLV, axis=-1) ** 2
        return 3 * (weight_BL * of_each_BL).sum()

    expected = jax.grad(written_out, argnums=(0, 1))(hidden_BLD, table_VD)
    for got, exact in zip(with_gradients(chunk=chunk, **extras)[2:], expected, strict=True):
        np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize("logit", [-jnp.inf, 1e4])
def test_a_logit_far_off_leaves_loss_and_gradient_finite(logit):
    logits_BLV = jnp.zeros((1, 1, 4)).at[0, 0, 3].set(logit)

    def total(logits_BLV):
        target_BL, weight_BL = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1))
        return cross_entropy(logits_BLV, None, target_BL, weight_BL, precision="float32")[0]

    value, gradient = jax.value_and_grad(total)(logits_BLV)
    np.testing.assert_allclose(value, np.log(3) if logit < 0 else 1e4, rtol=1e-6)
    np.testing.assert_allclose(gradient[0, 0], [-2 / 3, 1 / 3, 1 / 3, 0] if logit < 0 else [-1, 0, 0, 1], rtol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "bfloat16_operands"])
def test_a_bias_is_added_to_its_last_bit_and_its_gradient_is_the_sum_over_rows(precision):
    rng = np.random.default_rng(0)
    bias_V, weight_BLV = (rng.standard_normal(shape).astype(np.float32) for shape in ((V,), (B, L, V)))
    bias_V *= np.float32(100) ** rng.uniform(-1, 1, V).astype(np.float32)
    hidden_BLD = jnp.zeros((B, L, D), jnp.bfloat16 if precision == "bfloat16" else jnp.float32)
    logits = lambda bias: losses.logits_of((jnp.ones((V, D)), bias), hidden_BLD, precision, None)
    np.testing.assert_array_equal(logits(jnp.asarray(bias_V)), np.broadcast_to(bias_V, (B, L, V)))
    got_V = jax.grad(lambda bias: (logits(bias) * weight_BLV).sum())(jnp.asarray(bias_V))
    rounded_BLV = weight_BLV if precision != "bfloat16_operands" else np.asarray(jnp.bfloat16(weight_BLV), np.float32)
    np.testing.assert_allclose(got_V, rounded_BLV.sum((0, 1)), rtol=1e-5, atol=1e-5)


def test_gradients_beside_a_bias_are_right_where_the_table_lies_on_two_axes():
    """XLA (jax 0.10.2) makes the hidden states' wrong where the bias's columns join a table split by its width."""
    random = lambda seed, *shape: jax.random.normal(jax.random.key(seed), shape)
    target_BL, weight_BL = jnp.arange(32).reshape(8, 4) % 16, jnp.ones((8, 4))

    def total(hidden_BLD, table_VD, bias_V, turn_DD):
        turned_BLD = jnp.einsum("BLD,DF->BLF", hidden_BLD, turn_DD)
        return cross_entropy(turned_BLD, table_VD, target_BL, weight_BL, precision="float32", bias_V=bias_V)[0]

    arguments = random(0, 8, 4, 32), random(1, 16, 32), random(2, 16), random(3, 32, 32)
    gradients = lambda **lies: jax.jit(jax.grad(lambda *xs: total(*xs), argnums=(0, 1, 2, 3)), **lies)
    wanted = gradients()(*arguments)
    built = meshes.build(meshes.MeshConfig(layout="axes", data=2, fsdp=2, tensor=2))
    names = ("batch", "length", "act_width"), ("vocab", "width"), ("vocab",), ("width", "ff")
    lies = tuple(meshes.shardings(built, axes) for axes in names)
    with jax.set_mesh(built):
        got = gradients(in_shardings=lies, out_shardings=lies)(*arguments)
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_chunks_of_rows_that_devices_share_are_cut_on_each_device():
    run = jax.jit(lambda: with_gradients(chunk=5))
    wanted = run()
    with jax.set_mesh(meshes.build(meshes.MeshConfig(layout="axes", sequence=2, tensor=1))):
        got = jax.jit(lambda: with_gradients(chunk=5))()
        chunks = losses.in_chunks(6, jnp.arange(L)[None])[0]
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert chunks[0].tolist() == [[0, 1, 2, 7, 8, 9]]  # three positions of each device's seven


MESHES = [{"fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2}, {"data": 4, "sequence": 2}]


@pytest.mark.parametrize("axes", MESHES, ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_the_chunked_loss_on_a_mesh_is_that_of_one_device(axes, bias):
    rng = np.random.default_rng(0)
    hidden_BLD, table_VD = rng.standard_normal((8, 12, 16)), rng.standard_normal((24, 16))
    bias_V = rng.standard_normal(24).astype(np.float32) if bias else None
    target_BL = jnp.asarray(rng.integers(0, 24, (8, 12)))
    weight_BL = jnp.asarray(rng.uniform(size=(8, 12)), jnp.float32)

    def of(hidden_BLD, table_VD, bias_V):
        cfg = LossConfig(chunk=4, z_loss=0.1)
        return cross_entropy(hidden_BLD, table_VD, target_BL, weight_BL, precision="float32", cfg=cfg, bias_V=bias_V)

    args = (np.float32(hidden_BLD), np.float32(table_VD), bias_V)
    differentiated = jax.value_and_grad(of, argnums=(0, 1, 2) if bias else (0, 1), has_aux=True)
    alone = jax.jit(differentiated)(*args)
    mesh = meshes.build(meshes.MeshConfig(layout="axes", **axes))
    placed = [meshes.shardings(mesh, names) for names in (("batch", "length", "act_width"), ("vocab", "width"))]
    with jax.set_mesh(mesh):
        together = jax.jit(differentiated, in_shardings=(*placed, None))(*args)
    for expected, got in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_on_a_mesh_the_table_is_gathered_and_its_gradient_summed_once_for_all_chunks():
    mesh = meshes.build(meshes.MeshConfig(layout="axes", fsdp=8))
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((8, 64, 16), (24, 16), (8, 64))]
    placed = [meshes.shardings(mesh, n) for n in (("batch", "norm", "norm"), ("vocab", "width"), ("batch", "norm"))]

    def gradient(hidden_BLD, table_VD, weight_BL):
        of = lambda h, t: cross_entropy(
            h, t, jnp.zeros((8, 64), int), weight_BL, precision="float32", cfg=LossConfig(chunk=4)
        )[0]
        return jax.grad(of, argnums=(0, 1))(hidden_BLD, table_VD)

    with jax.set_mesh(mesh):
        lowered = jax.jit(gradient, in_shardings=placed, out_shardings=tuple(placed[:2])).lower(*shapes)
    traffic = by_kind(collectives(hlo.parse(lowered.compile().as_text())))
    table = 24 * 16 * 4 * 7 / 8  # bytes that a device must hear of
    assert traffic["all-gather"] == (1, table)
    assert traffic["all-reduce"].count == 1 and traffic["all-reduce"].bytes <= 2 * table + 100  # CPU cannot scatter
