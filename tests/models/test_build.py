"""The seam: a family is plain functions over a plain dict, with a name for each dimension."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm import mesh
from jaxlm.batch import Batch, Source
from jaxlm.losses import cross_entropy
from jaxlm.models.build import build
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import EncoderDecoderConfig
from jaxlm.models.transformer import TransformerConfig
from tests.rows import short

FAMILIES = {
    "gpt2": TransformerConfig(layers=2, heads=4, width=16, bias=True, precision="float32"),
    "llama": TransformerConfig(
        layers=2,
        heads=4,
        kv_heads=2,
        width=16,
        position="rotary",
        norm="rmsnorm",
        activation="swiglu",
        qk_norm=True,
        tied=False,
        precision="float32",
    ),
    "bert": EncoderConfig(layers=2, heads=4, width=16, sentence_order=True, precision="float32"),
    "t5": EncoderDecoderConfig(layers=1, heads=4, width=16, precision="float32", std=0.3),
    "scanned": TransformerConfig(
        layers=2, heads=4, width=16, scan_layers=True, bias=True, qk_norm=True, precision="float32"
    ),
}


@pytest.fixture(params=short(FAMILIES, "llama", "bert"), name="model", scope="module")
def _model(request):
    model = build(FAMILIES[request.param], vocab=16, length=8, packed=False, platform="cpu")
    return model._replace(init=jax.jit(model.init))


def is_names(x) -> bool:
    return isinstance(x, tuple)


def batch_of(shape) -> Batch:
    token = jnp.arange(shape[0] * shape[1]).reshape(shape) % 16
    position = jnp.broadcast_to(jnp.arange(shape[1])[None], shape)
    segment = jnp.ones(shape, jnp.int32)
    source = Source(token[:, 1:], segment[:, 1:], position[:, :-1])  # read by an encoder-decoder, the label by BERT
    label = jnp.arange(shape[0])[:, None] % 2
    return Batch(token, (token + 1) % 16, jnp.ones(shape), segment, position, source=source, label=label)


def test_parameters_are_a_plain_dict_of_float32_arrays(model):
    params = model.init(jax.random.key(0))

    def check(node):
        assert type(node) is dict or isinstance(node, jax.Array)
        for child in node.values() if isinstance(node, dict) else ():
            check(child)

    check(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("model", FAMILIES, indirect=True)
def test_every_dimension_of_every_parameter_has_a_name_with_a_rule(model):
    params = jax.eval_shape(model.init, jax.random.key(0))
    named = jax.tree.map(lambda names, leaf: len(names) == len(leaf.shape), model.axes, params, is_leaf=is_names)
    assert jax.tree.structure(named) == jax.tree.structure(params)
    assert all(jax.tree.leaves(named))
    for names in jax.tree.leaves(model.axes, is_leaf=is_names):
        assert set(names) <= set(mesh.RULES)
        mesh.spec(names)  # and no mesh axis twice


def test_init_is_a_function_of_its_key(model):
    one, same, other = (model.init(jax.random.key(seed)) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), one, same))
    assert (one["embedding"] != other["embedding"]).all()


def test_head_gives_the_table_of_the_vocabulary(model):
    params = model.init(jax.random.key(0))
    assert model.head(params).shape == (16, 16)
    assert (model.head(params) is params["embedding"]) == ("head" not in params)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(dict(data=8), marks=pytest.mark.slow),
        pytest.param(dict(fsdp=8), marks=pytest.mark.slow),
        dict(data=2, fsdp=2, tensor=2),
    ],
    ids=str,
)
def test_loss_and_gradients_agree_on_every_mesh(model, sizes):
    params, batch = model.init(jax.random.key(0)), batch_of((8, 8))

    def loss(params, batch):
        hidden, head = model.apply(params, batch), model.head(params)
        nats = cross_entropy(hidden.array, head, batch.target, batch.weight, precision=model.precision)[0]
        return nats + jnp.sum(hidden.penalty)

    expected, grads = jax.jit(jax.value_and_grad(loss))(params, batch)
    built = mesh.build(mesh.MeshConfig(layout="axes", **sizes))
    mesh.check_divides(built, model.axes, jax.eval_shape(model.init, jax.random.key(0)))
    with jax.set_mesh(built):
        placed = jax.device_put(params, mesh.shardings(built, model.axes))
        rows = jax.device_put(batch, mesh.batch_shardings(built, batch))
        got, got_grads = jax.jit(jax.value_and_grad(loss))(placed, rows)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    jax.tree.map(same, got_grads, grads)


def test_only_learned_positions_limit_the_length():
    rows = lambda **switches: build(
        TransformerConfig(size="1m", **switches), vocab=16, length=8, packed=False, platform="cpu"
    )
    assert rows().length == 8
    assert rows(max_length=32).length == 32
    assert rows(position="rotary").length is None


def test_layers_are_scanned_except_on_a_cpu():
    for platform, scanned in [("cpu", False), ("gpu", True), ("tpu", True)]:
        model = build(FAMILIES["gpt2"], vocab=16, length=8, packed=False, platform=platform)
        assert ("blocks" in model.axes) == scanned
