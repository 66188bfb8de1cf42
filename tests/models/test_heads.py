"""Heads of tasks on every family that has them: what they give, and that the one loss serves them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlm
from jaxlm.batch import Batch
from jaxlm.errors import UserError
from jaxlm.losses import cross_entropy, row_scores
from jaxlm.models.build import build
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import EncoderDecoderConfig
from jaxlm.models.family import Head
from jaxlm.models.layers import Noise
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig
from tests.rows import crossed, short

VOCAB, LENGTH = 11, 8
SMALL = {"layers": 1, "width": 16, "precision": "float32"}
MODELS = {
    "encoder": EncoderConfig(heads=2, std=0.3, dropout=0.2, **SMALL),
    "decoder": TransformerConfig(heads=2, std=0.3, softcap=2.0, dropout=0.2, **SMALL),
    "recurrent": RecurrentConfig(dropout=0.2, activation_penalty=1.0, temporal_penalty=1.0, **SMALL),
    "bidirectional": RecurrentConfig(bidirectional=True, tied=False, **SMALL),
}


TOKENS = Head()


@pytest.fixture(params=short(MODELS, "encoder", "recurrent"))
def cfg(request):
    return MODELS[request.param]


def family(cfg, head=TOKENS):
    model = build(cfg, vocab=VOCAB, length=LENGTH, packed=True, platform="cpu", head=head)
    return model._replace(init=jax.jit(model.init))


def hidden_of(model, params, batch, noise=None):
    return jax.jit(model.apply)(params, batch, noise).array


def rows(**asks) -> Batch:
    token = np.random.default_rng(0).integers(0, VOCAB, (3, LENGTH), dtype=np.int32)
    position = np.arange(LENGTH, dtype=np.int32)[None].repeat(3, axis=0)
    segment = (position < [[8], [5], [6]]).astype(np.int32)
    batch = Batch(token, token, segment.astype(np.float32), segment, position)._replace(**asks)
    return jax.tree.map(jnp.asarray, batch)


def loss_of(model, params, batch, noise=None):
    """(to minimise, nats)"""
    hidden = model.apply(params, batch, noise)
    rest = dict(precision="float32", softcap=model.softcap, bias_V=model.bias(params))
    objective, nats = cross_entropy(hidden.array, model.head(params), batch.target, batch.weight, **rest)
    return objective + hidden.penalty, nats


def learns(model, params, batch, noise=None) -> bool:
    """Does a step down the gradient make the loss smaller, and the head's table move?"""
    loss = lambda params: loss_of(model, params, batch, noise)
    (before, nats), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    assert jnp.abs(grads["classifier"]).max() > 0
    hidden, rest = hidden_of(model, params, batch, noise), dict(precision="float32", softcap=model.softcap)
    scores = jax.jit(functools.partial(row_scores, **rest))
    by_row, _ = scores(hidden, model.head(params), batch.target, batch.weight, bias_V=model.bias(params))
    np.testing.assert_allclose(by_row.sum(), nats, rtol=1e-5)
    return bool(jax.jit(loss)(jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads))[0] < before)


WHERE = np.array([[7], [4], [5]], np.int32)
CLASSES = dict(where=WHERE, target=np.array([[2], [0], [1]]), weight=np.ones((3, 1), np.float32))


def test_a_class_is_read_where_the_batch_asks(cfg):
    model = family(cfg, Head("classes", 3))
    params, batch = model.init(jax.random.key(0)), rows(**CLASSES)
    got = hidden_of(model, params, batch)
    plain = {name: leaf for name, leaf in params.items() if not name.startswith("classifier")}
    if cfg.kind == "encoder":
        tags = hidden_of(family(cfg, Head("tags", 3)), {k: v for k, v in params.items() if k != "pooler"}, rows())
        at = np.take_along_axis(np.asarray(tags), WHERE[..., None], axis=1)
        expected = np.tanh(at @ np.asarray(params["pooler"]["w"]) + np.asarray(params["pooler"]["b"]))
    else:
        whole = jax.eval_shape(family(cfg).init, jax.random.key(0))
        rest = {name: jnp.zeros(x.shape) for name, x in whole.items() if name in ("head", "head_b")}
        hidden = hidden_of(family(cfg), plain | rest, rows())
        expected = np.take_along_axis(np.asarray(hidden), WHERE[..., None], axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert (model.head(params).shape, model.bias(params).shape) == ((3, got.shape[-1]), (3,))
    assert learns(model, params, batch)


def test_an_encoder_reads_a_class_at_the_first_token_unless_told_where():
    model = family(MODELS["encoder"], Head("classes", 3))
    params = model.init(jax.random.key(0))
    first = rows(where=np.zeros((3, 1), np.int32))
    np.testing.assert_array_equal(hidden_of(model, params, rows()), hidden_of(model, params, first))


@pytest.mark.parametrize("cfg", short(MODELS, "encoder", "decoder"), indirect=True)
def test_each_document_of_a_packed_row_has_a_class_of_its_own(cfg):
    model = family(cfg, Head("classes", 3))
    params = model.init(jax.random.key(0))
    ends = cfg.kind == "decoder"  # an encoder asks the first token of a document, others the last
    packed = rows(
        segment=np.repeat([[1, 2]], [3, 5], axis=1).repeat(3, axis=0),
        position=np.concatenate([np.arange(3), np.arange(5)])[None].repeat(3, axis=0),
        where=np.array([[2, 7] if ends else [0, 3]] * 3, np.int32),
    )
    got = hidden_of(model, params, packed)
    for n, piece in enumerate((slice(0, 3), slice(3, 8))):
        size = piece.stop - piece.start
        alone = jax.tree.map(lambda x, piece=piece: x[:, piece], packed._replace(where=None))
        alone = alone._replace(where=np.full((3, 1), size - 1 if ends else 0, np.int32))
        np.testing.assert_allclose(got[:, n : n + 1], hidden_of(model, params, alone), rtol=1e-5, atol=1e-6)


def test_every_token_has_a_tag(cfg):
    model = family(cfg, Head("tags", 4))
    batch = rows(target=rows().token % 4)
    params = model.init(jax.random.key(0))
    assert hidden_of(model, params, batch).shape[:2] == (3, LENGTH)
    assert learns(model, params, batch)


def test_a_span_begins_and_ends_at_real_tokens_of_the_part_that_answers(cfg):
    model = family(cfg, Head("span"))
    kind = (np.arange(LENGTH)[None].repeat(3, axis=0) > 2).astype(np.int32)
    asks = dict(target=np.array([[3, 4], [4, 4], [3, 5]]), weight=np.ones((3, 2), np.float32))
    params = model.init(jax.random.key(0))
    assert model.head(params) is None
    assert model.bias(params) is None
    for batch in (rows(kind=kind, **asks), rows(**asks)):
        logits = hidden_of(model, params, batch)
        assert logits.shape == (3, 2, LENGTH)
        first_BL = np.arange(batch.segment.shape[1])[None] == 0  # where a span is that the row does not hold
        open_BL = (batch.segment > 0) & (True if batch.kind is None else (batch.kind == 1) | first_BL)
        seen = logits > -1e29
        np.testing.assert_array_equal(seen, open_BL[:, None].repeat(2, axis=1))
        assert learns(model, params, batch)


def each(*heads: Head, fast: tuple[str, ...]) -> list:
    """Every model with every head; in the short suite those of `fast`."""
    return crossed(MODELS, heads, fast=lambda name, head: f"{name}-{head.kind}" in fast)


def kind(value) -> str | None:
    return getattr(value, "kind", None)


@pytest.mark.parametrize(
    "cfg, head",
    each(
        Head("classes", 3), Head("tags", 3), Head("span"),
        fast=("encoder-span", "decoder-classes", "recurrent-tags", "bidirectional-span"),
    ),
    indirect=["cfg"],
    ids=kind,
)  # fmt: skip
def test_a_model_with_the_head_of_a_task_does_not_write_and_trains_with_noise(cfg, head):
    model = family(cfg, head)
    assert model.decode is None
    assert model.init_state is None
    assert "head" not in jax.eval_shape(model.init, jax.random.key(0))
    if not cfg.noisy:
        return
    noise = Noise(jax.random.key(1), jax.vmap(jax.random.key)(jnp.arange(3)))
    asks = {
        "classes": CLASSES,
        "tags": dict(target=rows().token % 3),
        "span": dict(target=np.array([[0, 1]] * 3), weight=np.ones((3, 2), np.float32)),
    }
    batch = rows(**asks[head.kind])
    params = model.init(jax.random.key(0))
    noisy, plain = (jax.jit(lambda n: loss_of(model, params, batch, n)[0])(n) for n in (noise, None))
    assert np.isfinite(noisy)
    assert noisy != plain


def test_penalties_weigh_all_tokens_of_a_row_by_what_is_asked_of_it():
    cfg = MODELS["recurrent"].model_copy(update={"dropout": 0.0, "temporal_penalty": 0.0})
    model, noise = family(cfg, Head("classes", 3)), Noise(jax.random.key(1), jax.vmap(jax.random.key)(jnp.arange(3)))
    params = model.init(jax.random.key(0))
    weight = np.array([[1.0], [0.0], [2.0]], np.float32)
    got = jax.jit(model.apply)(params, rows(**CLASSES | {"weight": weight}), noise).penalty
    square = np.square(hidden_of(family(cfg, Head("tags", 3)), params, rows())).mean(-1)
    assert got == pytest.approx(square[0, :8].mean() + 2 * square[2, :6].mean(), rel=1e-5)


def test_an_encoder_decoder_has_no_head_of_a_task():
    with pytest.raises(UserError, match=r"'tags' are asked of it.*model.kind='encoder'"):
        family(EncoderDecoderConfig(heads=2, **SMALL), Head("tags", 3))


@pytest.mark.parametrize(
    "cfg, head",
    each(TOKENS, Head("tags", 3), Head("span"), fast=("encoder-span", "decoder-tokens", "recurrent-tags")),
    indirect=["cfg"],
    ids=kind,
)
def test_logits_are_what_the_losses_see(cfg, head):
    model = family(cfg, head)
    params = jax.tree.map(lambda x: x + 0.1, model.init(jax.random.key(0)))  # no bias of 0
    batch = rows()
    found = np.asarray(jax.jit(functools.partial(jaxlm.logits, model))(params, batch))
    hidden, table, bias = hidden_of(model, params, batch), model.head(params), model.bias(params)
    wanted = np.asarray(hidden) if table is None else np.asarray(hidden) @ np.asarray(table).T
    wanted = wanted if bias is None else wanted + np.asarray(bias)
    wanted = wanted if model.softcap is None else model.softcap * np.tanh(wanted / model.softcap)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
