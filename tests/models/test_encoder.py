"""The encoder's own: parts of an example, the order of sentences, where its head runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.config import parse
from jaxlm.errors import UserError
from jaxlm.evaluation import perplexity
from jaxlm.models.build import build
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.models.family import Head

VOCAB, LENGTH = 11, 8
BERT = dict(layers=2, heads=2, width=16, std=0.3, precision="float32")


@functools.cache
def family(packed=True, **switches):
    model = build(EncoderConfig(**BERT | switches), vocab=VOCAB, length=LENGTH, packed=packed, platform="cpu")
    return model, jax.jit(model.init)(jax.random.key(0)), jax.jit(model.apply)


def rows(**asks) -> Batch:
    token = np.random.default_rng(0).integers(0, VOCAB, (3, LENGTH), dtype=np.int32)
    ones, position = np.ones_like(token), np.arange(LENGTH, dtype=np.int32)[None].repeat(3, axis=0)
    return Batch(token, token, ones.astype(np.float32), ones, position)._replace(**asks)


def test_parts_of_an_example_are_told_apart_and_no_part_is_part_0():
    _, params, apply = family(kinds=3)
    zero, mixed = np.zeros((3, LENGTH), np.int32), np.arange(3 * LENGTH, dtype=np.int32).reshape(3, LENGTH) % 3
    plain = apply(params, rows()).array
    np.testing.assert_array_equal(apply(params, rows(kind=zero)).array, plain)
    assert jnp.abs(apply(params, rows(kind=mixed)).array - plain).max() > 1e-2
    assert "kind" not in family(kinds=0)[1]


def test_the_order_of_sentences_costs_the_mean_over_rows_beside_the_mean_over_tokens():
    _, params, apply = family(sentence_order=True)
    where = np.array([[1, 2], [3, 4], [5, 6]], np.int32)
    asks = dict(where=where, target=where, weight=np.ones((3, 2), np.float32))
    label = np.array([[1], [0], [1]], np.int32)
    got = apply(params, rows(**asks, label=label)).penalty.sum() / 6  # the weight of all, as the loss is divided
    # The hidden states behind the head, from the same parameters with another one.
    tags = build(EncoderConfig(**BERT), vocab=VOCAB, length=LENGTH, packed=True, platform="cpu", head=Head("tags", 2))
    rest = {"classifier": jnp.zeros((2, 16)), "classifier_b": jnp.zeros(2)}
    own = {name: params[name] for name in jax.eval_shape(tags.init, jax.random.key(0)) if name in params}
    first = np.asarray(jax.jit(tags.hidden)(own | rest, rows()))[:, 0]
    w = jax.tree.map(np.asarray, params)
    logits = np.tanh(first @ w["pooler"]["w"] + w["pooler"]["b"]) @ w["order"].T + w["order_b"]
    nats = np.log(np.exp(logits).sum(-1)) - logits[np.arange(3), label[:, 0]]
    assert got == pytest.approx(nats.mean(), rel=1e-5)


def test_a_row_that_is_not_asked_for_its_order_or_for_tokens_does_not_count():
    _, params, apply = family(sentence_order=True)
    label = np.array([[1], [0], [-1]], np.int32)
    all_rows = apply(params, rows(label=label)).penalty
    assert all_rows[2] == 0
    two = jax.tree.map(lambda x: x[:2], rows(label=label))
    np.testing.assert_allclose(all_rows[:2], apply(params, two).penalty, rtol=1e-6)
    weight = np.ones((3, LENGTH), np.float32)
    weight[1] = 0
    one = jax.tree.map(lambda x: x[:1], rows(label=label))
    lone = apply(params, rows(label=label, weight=weight)).penalty
    np.testing.assert_allclose(lone, [apply(params, one).penalty[0], 0, 0], rtol=1e-6)
    assert (apply(params, rows()).penalty == 0).all()


def test_microbatches_have_the_penalty_of_the_batch():
    _, params, apply = family(sentence_order=True)
    weight = np.array([[1], [2], [5]]) * np.ones((3, LENGTH), np.float32)
    batch = rows(label=np.array([[1], [0], [1]], np.int32), weight=weight.astype(np.float32))
    parts = [apply(params, jax.tree.map(lambda x, n=n: x[n : n + 1], batch)).penalty for n in range(3)]
    np.testing.assert_allclose(np.concatenate(parts), apply(params, batch).penalty, rtol=1e-5)


def test_a_score_says_what_the_order_of_sentences_costs():
    model, params, apply = family(sentence_order=True)
    weight = np.ones((3, LENGTH), np.float32)
    weight[2] = 0  # a row that fills up the batch
    batch = rows(label=np.array([[1], [0], [1]], np.int32), weight=weight)
    sums = jax.jit(perplexity.row_sums(model))
    found = perplexity.score(sums, params, [batch, batch], None)
    np.testing.assert_allclose(found.order, apply(params, batch).penalty.sum() / weight.sum(), rtol=1e-5)
    assert 0.3 < found.order < 1.5
    assert perplexity.score(sums, params, [rows()], None).order is None
    with pytest.raises(UserError, match="asks for nothing in any of its rows"):
        perplexity.score(sums, params, [rows(weight=0 * weight)], None)


def test_a_label_without_a_head_for_it_is_refused_with_the_field_to_set():
    model, params, _ = family()
    with pytest.raises(UserError, match=r"model\.sentence_order=False"):
        model.apply(params, rows(label=np.zeros((3, 1), np.int32)))


def test_the_head_runs_where_it_is_asked_only():
    model, params, _ = family(width=32)
    where = np.zeros((3, 2), np.int32)
    flops = lambda batch: jax.jit(model.hidden).lower(params, batch).compile().cost_analysis()["flops"]
    saved = flops(rows()) - flops(rows(where=where, target=where, weight=where.astype(np.float32)))
    assert saved > 2 * 3 * (LENGTH - 2) * 32 * 32  # the transform's product at the positions not asked for


@pytest.mark.parametrize(
    "saved, words",
    [
        (dict(global_every=3), ["model.global_every=3", "model.window"]),
        (dict(MODERN, scan_layers=True), ["model.scan_layers=True", "model.global_every=3"]),
        (dict(first_norm=False), ["model.first_norm=False", "model.post_norm=True"]),
        (dict(position="rotary", local_rope_base=100.0), ["model.local_rope_base=100.0", "model.global_every"]),
        (dict(rope_scaling={"kind": "linear", "factor": 2.0}), ["model.rope_scaling", "'learned'"]),
        (dict(position="sinusoidal", heads=1, width=15), ["sinusoidal", "model.width=15"]),
        (dict(size="huge"), ["size", "base"]),
    ],
    ids=lambda x: "+".join(x) if isinstance(x, dict) else "",
)
def test_switches_that_do_not_agree_are_refused_by_name(saved, words):
    with pytest.raises(UserError) as error:
        parse(BERT | saved, EncoderConfig)
    assert all(word in str(error.value) for word in words), str(error.value)
