"""The decoder: one table of switches, and what must hold for every row of it."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.config import parse
from jaxlm.errors import UserError
from jaxlm.losses import soft_cap
from jaxlm.models.attention_choice import announce
from jaxlm.models.build import build
from jaxlm.models.layers import Noise
from jaxlm.models.transformer import SIZES, TransformerConfig
from tests.rows import crossed, short

VOCAB, LENGTH = 13, 12

# Every choice of each switch at least once, and the two whole recipes.
TABLE = {
    "gpt2": dict(bias=True),
    "llama": dict(position="rotary", norm="rmsnorm", activation="swiglu", kv_heads=2, tied=False),
    "grouped": dict(kv_heads=2, qk_norm=True),
    "multi_query": dict(kv_heads=1, position="rotary", bias=True, qk_norm=True),
    "rotary_layernorm": dict(position="rotary", tied=False, activation="relu2", bias=True),
    "learned_rmsnorm": dict(norm="rmsnorm", activation="relu2", head_width=6),
    "swiglu_bias": dict(norm="rmsnorm", activation="swiglu", bias=True, ff_width=20),
    "window": dict(position="rotary", window=4, softcap=30.0),
}


def config(**switches) -> TransformerConfig:
    defaults = dict(layers=2, heads=4, width=16, precision="float32", std=0.3)  # std: far from a flat model
    return TransformerConfig(**(defaults | switches))


def family(packed=False, **switches):
    return compiled(build(config(**switches), vocab=VOCAB, length=LENGTH, packed=packed, platform="cpu"))


def compiled(model):
    """Its functions as one program each: operation by operation they take ten times as long."""
    return model._replace(init=jax.jit(model.init), apply=jax.jit(model.apply), decode=jax.jit(model.decode))


def rows(seed=0, shape=(2, LENGTH), segment=None) -> Batch:
    token = jax.random.randint(jax.random.key(seed), shape, 0, VOCAB)
    segment = jnp.ones(shape, jnp.int32) if segment is None else jnp.asarray(segment)
    return Batch(token, token, jnp.ones(shape), segment, positions(np.asarray(segment)))


def positions(segment: np.ndarray) -> jax.Array:
    """Position in its segment of each token."""
    position = np.zeros_like(segment)
    for b, l in np.ndindex(segment.shape):
        position[b, l] = position[b, l - 1] + 1 if l and segment[b, l] == segment[b, l - 1] else 0
    return jnp.asarray(position)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def stack(params: dict) -> dict:
    """Parameters of unrolled layers -> of scanned ones."""
    blocks = [params[f"block_{n}"] for n in range(2)]
    rest = {name: leaf for name, leaf in params.items() if not name.startswith("block_")}
    return rest | {"blocks": jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)}


@pytest.fixture(params=short(TABLE, "multi_query", "window"), name="switches")
def _switches(request):
    return TABLE[request.param]


def test_cached_decoding_equals_the_full_forward_pass(switches):
    """A prompt at once, then single tokens, into a cache with room to spare."""
    model, batch = family(**switches), rows()
    params = model.init(jax.random.key(0))
    full = model.hidden(params, batch)
    assert np.isfinite(full @ model.head(params).T).all()
    state, got = model.init_state(2, LENGTH + 3), []
    decode = jax.jit(model.decode)
    for piece in (slice(0, 5), *(slice(l, l + 1) for l in range(5, LENGTH))):
        hidden, state = decode(params, batch.token[:, piece], batch.position[:, piece], None, state)
        got.append(hidden)
    close(jnp.concatenate(got, axis=1), full)


def test_rows_of_a_batch_decode_at_positions_of_their_own():
    model, batch = family(position="rotary"), rows()
    params = model.init(jax.random.key(0))
    _, state = model.decode(params, batch.token[:, :6], batch.position[:, :6], None, model.init_state(2, LENGTH))
    token = jnp.stack([batch.token[0, 3:4], batch.token[1, 6:7]])  # row 0 goes back and overwrites
    hidden, _ = model.decode(params, token, jnp.array([[3], [6]]), None, state)
    full = model.hidden(params, batch)
    close(hidden[:, 0], jnp.stack([full[0, 3], full[1, 6]]))


@pytest.mark.slow  # tests/models/test_families.py has it for each family; here it is for each switch
def test_a_packed_row_equals_its_documents_alone(switches):
    segment = np.array([[1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 0, 0], [1] * 12])
    model, batch = family(packed=True, **switches), rows(segment=segment)
    params = model.init(jax.random.key(0))
    packed = model.hidden(params, batch)
    assert np.isfinite(packed).all()  # padding too
    alone = family(packed=False, **switches)
    for row, piece in [(0, slice(0, 5)), (0, slice(5, 8)), (0, slice(8, 10)), (1, slice(0, 12))]:
        document = jax.tree.map(lambda x, row=row, piece=piece: x[row : row + 1, piece], batch)
        close(packed[row : row + 1, piece], alone.hidden(params, document))


def test_a_token_changes_nothing_before_it(switches):
    model, batch = family(**switches), rows()
    params = model.init(jax.random.key(0))
    before = model.hidden(params, batch)
    changed = batch._replace(token=batch.token.at[:, 7].set((batch.token[:, 7] + 1) % VOCAB))
    after = model.hidden(params, changed)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert (jnp.abs(before[:, 7:] - after[:, 7:]).max(axis=(0, 2)) > 1e-4)[:4].all()  # 4: the shortest window


WAYS = [("dots", False), ("full", False), ("none", True), ("full", True)]


@pytest.mark.parametrize(
    "name, way",
    crossed(["llama", "gpt2", "window"], WAYS, fast=lambda name, way: name == "llama" and way in (WAYS[0], WAYS[-1])),
    ids=str,
)
def test_remat_and_scan_change_nothing(name, way):
    (remat, scan), switches = way, TABLE[name]
    batch, reference = rows(), family(**switches)
    params = reference.init(jax.random.key(0))
    stacked = stack(params)
    noise = Noise(None, jax.vmap(jax.random.key)(jnp.arange(2)))

    def loss_and_gradient(model, params):
        loss = lambda params: jnp.sin(model.hidden(params, batch, noise) @ model.head(params).T).sum()
        return jax.jit(jax.value_and_grad(loss))(params)

    switches = switches | {"dropout": 0.2}  # its masks must agree as well
    loss, grads = loss_and_gradient(family(**switches), params)
    grads = stack(grads)
    model = family(**switches, remat=remat, scan_layers=scan)
    got_loss, got = loss_and_gradient(model, stacked if scan else params)
    np.testing.assert_allclose(got_loss, loss, rtol=1e-5, atol=1e-4)
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(same, got if scan else stack(got), grads)
    scanned = jax.eval_shape(family(**switches, scan_layers=True).init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, scanned) == jax.tree.map(jnp.shape, stacked)


def test_scanned_layers_decode_from_a_cache_too():
    model, batch = family(scan_layers=True, position="rotary", kv_heads=2), rows()
    params = model.init(jax.random.key(0))
    first, state = model.decode(params, batch.token[:, :5], batch.position[:, :5], None, model.init_state(2, LENGTH))
    rest, _ = model.decode(params, batch.token[:, 5:], batch.position[:, 5:], None, state)
    close(jnp.concatenate([first, rest], axis=1), model.hidden(params, batch))


def test_scanned_layers_start_from_different_weights():
    params = family(scan_layers=True).init(jax.random.key(0))
    w = params["blocks"]["mlp"]["up"]["w"]
    assert not np.array_equal(w[0], w[1])


def test_a_row_keeps_its_dropout_wherever_it_lies_in_the_batch():
    model, batch = family(dropout=0.3), rows(shape=(4, LENGTH))
    params = model.init(jax.random.key(0))
    noise = Noise(None, jax.vmap(jax.random.key)(jnp.arange(4)))
    all_rows = model.hidden(params, batch, noise)
    last = model.hidden(params, jax.tree.map(lambda x: x[3:], batch), Noise(None, noise.rows_B[3:]))
    close(all_rows[3:], last)
    assert jnp.abs(all_rows - model.hidden(params, batch)).max() > 0.1


def test_activations_have_the_dtype_of_the_precision_and_parameters_are_float32():
    for precision, dtype in [
        ("float32", jnp.float32),
        ("bfloat16_operands", jnp.float32),
        ("bfloat16", jnp.bfloat16),
    ]:
        model = family(precision=precision, position="rotary", qk_norm=True, bias=True)
        params = jax.eval_shape(model.init, jax.random.key(0))
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
        assert jax.eval_shape(model.hidden, params, rows()).dtype == dtype
        assert {leaf.dtype for leaf in jax.tree.leaves(model.init_state(1, 4))} == {jnp.dtype(dtype)}


def test_soft_capped_logits_stay_within_the_cap():
    logits = jnp.array([-1000.0, -1.0, 0.0, 1.0, 1000.0])
    np.testing.assert_allclose(soft_cap(logits, 30.0), 30 * np.tanh(np.asarray(logits) / 30), rtol=1e-6)
    assert jnp.abs(soft_cap(logits, 30.0)).max() <= 30
    assert soft_cap(logits, None) is logits
    assert family(softcap=30.0).softcap == 30.0


# Sizes


def parameters(model) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))


def test_llama_7b_has_as_many_parameters_as_published():
    llama = TransformerConfig(
        scan_layers=True,  # traced once
        layers=32,
        heads=32,
        width=4096,
        ff_width=11_008,
        position="rotary",
        norm="rmsnorm",
        activation="swiglu",
        tied=False,
    )
    assert parameters(build(llama, vocab=32_000, length=2_048, packed=False, platform="cpu")) == 6_738_415_616


def test_the_dial_gives_layers_heads_and_width_and_a_field_wins_over_it():
    for size, (layers, heads, width, *_) in SIZES.items():
        dims = TransformerConfig(size=size).dims
        assert (layers, heads, width, width // heads) == (dims.N, dims.G * dims.R, dims.D, dims.K)
    assert TransformerConfig(size="124m", layers=2, kv_heads=4).dims[:4] == (2, 768, 4, 3)


@pytest.mark.parametrize(
    "saved, words",
    [
        ({}, ["model.size", "model.layers, model.heads, model.width"]),
        ({"layers": 2, "width": 16}, ["model.heads"]),
        ({"layers": 2, "heads": 3, "width": 16}, ["model.width=16", "model.heads=3"]),
        ({"layers": 2, "heads": 4, "width": 16, "kv_heads": 3}, ["model.heads=4", "model.kv_heads=3"]),
        ({"layers": 2, "heads": 4, "width": 12, "position": "rotary"}, ["rotary", "width 3"]),
        ({"size": "1m", "attention": "flash"}, ["attention", "splash"]),
        ({"size": "1m", "activaton": "gelu"}, ["activaton", "activation"]),
    ],
    ids=str,
)
def test_shapes_that_do_not_agree_are_refused_with_both_values(saved, words):
    with pytest.raises(UserError) as error:
        parse(saved, TransformerConfig)
    assert all(word in str(error.value) for word in words)


def test_flops_are_those_counted_by_hand():
    # 2 layers, width 16, 4 heads of 4 over 2 kv heads, gelu 64, vocabulary 13, rows of 12.
    attention = 16 * 16 + 2 * 16 * 8 + 16 * 16  # q, k and v, o
    mlp = 2 * 16 * 64
    weights = 2 * (attention + mlp) + 13 * 16
    # In each layer 2 products, 2 operations, 4 heads of 4 channels, half of 12 keys; and backward.
    scores = 3 * 2 * (2 * 2 * 4 * 4 * 12 / 2)
    assert family(kv_heads=2).flops_per_token(LENGTH) == 6 * weights + scores


def test_flops_of_gated_and_windowed_models():
    gated = family(activation="swiglu", ff_width=64).flops_per_token(LENGTH)
    assert gated - family().flops_per_token(LENGTH) == 6 * 2 * 16 * 64  # one more product in each layer
    assert family(window=3).flops_per_token(100) == family().flops_per_token(6)
    assert family(window=100).flops_per_token(LENGTH) == family().flops_per_token(LENGTH)


def test_a_tied_head_counts_as_a_product_and_the_lookup_does_not():
    assert family(tied=True).flops_per_token(LENGTH) == family(tied=False).flops_per_token(LENGTH)


# The start of training


def test_residual_zero_starts_as_the_embedding_with_a_flat_head():
    model = family(residual="zero", tied=False, position="rotary", norm="rmsnorm")
    params = model.init(jax.random.key(0))
    batch = rows()
    embedded = params["embedding"][batch.token]
    expected = embedded / jnp.sqrt((embedded**2).mean(-1, keepdims=True) + 1e-5)
    close(model.hidden(params, batch), expected)
    assert not model.head(params).any()


def test_products_into_the_residual_stream_start_smaller():
    params = family(width=64, layers=8, residual="scaled", std=0.02, scan_layers=True).init(jax.random.key(0))
    assert np.std(params["blocks"]["mlp"]["down"]["w"][3]) == pytest.approx(0.02 / 4, rel=0.05)
    assert np.std(params["blocks"]["attention"]["o"]["w"][3]) == pytest.approx(0.02 / 4, rel=0.05)
    assert np.std(params["blocks"]["mlp"]["up"]["w"][3]) == pytest.approx(0.02, rel=0.05)


def test_an_attention_backend_that_cannot_run_is_the_users_mistake():
    model = family(attention="splash")
    params = model.init(jax.random.key(0))
    with pytest.raises(UserError, match=r"attention='splash'.*platform is 'cpu'"):
        model.hidden(params, rows())


def test_a_model_for_another_platform_says_which_attention_it_lacks(caplog):
    announce.cache_clear()  # another test may have been told already
    model = build(config(heads=1), vocab=VOCAB, length=LENGTH, packed=False, platform="tpu")
    params = jax.eval_shape(model.init, jax.random.key(0))
    with caplog.at_level(logging.WARNING, logger="jaxlm"):
        jax.eval_shape(model.hidden, params, rows())
    assert "attention by einsum: not splash" in caplog.text
