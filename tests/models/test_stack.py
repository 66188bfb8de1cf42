"""What stacks of blocks share: which layers see how far, prefixes, layers scanned, optimisers that know the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch, Source
from jaxlm.models import block, stack
from jaxlm.models.build import build
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.models.encoder_decoder import V1_1, EncoderDecoderConfig
from jaxlm.models.layers import Noise
from jaxlm.models.transformer import TransformerConfig
from jaxlm.training import optimizer as optimizers
from tests.rows import crossed, short

VOCAB, LENGTH = 11, 12
SMALL = dict(heads=4, width=16, std=0.3, precision="float32")


def family(cfg, packed=False):
    return build(cfg, vocab=VOCAB, length=LENGTH, packed=packed, platform="cpu")


def rows(**asks) -> Batch:
    token = np.random.default_rng(0).integers(0, VOCAB, (2, LENGTH), dtype=np.int32)
    ones, position = np.ones_like(token), np.arange(LENGTH, dtype=np.int32)[None].repeat(2, axis=0)
    return Batch(token, token, ones.astype(np.float32), ones, position)._replace(**asks)


def sources(batch: Batch) -> Source:
    return Source(batch.token[:, ::2], batch.segment[:, ::2], batch.position[:, : LENGTH // 2])


def reach(cfg) -> np.ndarray:
    """[l, m]: does the hidden state at l depend on the token at m?"""
    model = family(cfg)
    params, batch = jax.jit(model.init)(jax.random.key(0)), rows()
    hidden = jax.jit(model.hidden)
    plain, depends = np.asarray(hidden(params, batch))[0], np.zeros((LENGTH, LENGTH), bool)
    for m in range(LENGTH):
        token = batch.token.copy()
        token[:, m] = (token[:, m] + 1) % VOCAB
        depends[:, m] = np.abs(np.asarray(hidden(params, batch._replace(token=token)))[0] - plain).max(-1) > 0
    return depends


def mask(causal: bool, window: int | None) -> np.ndarray:
    ahead = np.arange(LENGTH)[:, None] - np.arange(LENGTH)[None]
    seen = np.ones((LENGTH, LENGTH), bool) if not causal else ahead >= 0
    return seen if window is None else seen & (np.abs(ahead) < window)


SPANS = [
    (dict(layers=1, window=3), [3]),
    (dict(layers=2, window=3), [3, 3]),
    (dict(layers=2, window=2, global_every=3), [2, 2]),
    (dict(layers=3, window=2, global_every=3), [2, 2, None]),
    (dict(layers=1, window=2, global_every=2, global_first=True), [None]),
    (dict(layers=3, window=2, global_every=4, global_first=True), [None, 2, 2]),
]


@pytest.mark.parametrize(
    "kind, span",
    crossed(
        [TransformerConfig, EncoderConfig],
        SPANS,
        fast=lambda kind, span: span[1] in ([[3, 3], [None, 2, 2]] if kind is TransformerConfig else [[2, 2, None]]),
    ),
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_each_layer_sees_as_far_as_the_config_says(kind, span):
    switches, windows = span
    cfg = kind(**SMALL, **switches, position="rotary")
    assert [cfg.sees_all(n) for n in range(cfg.layers)] == [window is None for window in windows]
    seen = np.eye(LENGTH, dtype=bool)
    for window in windows:  # what a layer sees has seen what the layers before it saw
        seen = (mask(cfg.causal, window).astype(int) @ seen) > 0
    np.testing.assert_array_equal(reach(cfg), seen)


def test_local_layers_turn_by_a_base_of_their_own():
    base = dict(layers=2, window=4, global_every=2, position="rotary", **SMALL)
    one, same, other = (
        TransformerConfig(**base, **switches)
        for switches in ({}, dict(local_rope_base=10_000.0), dict(local_rope_base=50.0))
    )
    params = jax.jit(family(one).init)(jax.random.key(0))
    hidden = [np.asarray(jax.jit(family(cfg).hidden)(params, rows())) for cfg in (one, same, other)]
    np.testing.assert_allclose(hidden[0], hidden[1], rtol=1e-6, atol=1e-6)
    assert np.abs(hidden[0] - hidden[2]).max() > 1e-3


@pytest.mark.parametrize("position", short(["rotary", "alibi", "buckets"], "rotary", "buckets"))
def test_tokens_of_a_prefix_see_each_other_and_no_token_after_it(position):
    model = family(TransformerConfig(layers=2, position=position, **SMALL), packed=True)
    params, hidden = jax.jit(model.init)(jax.random.key(0)), jax.jit(model.hidden)
    segment = np.repeat([[1, 2]], [5, 7], axis=1).repeat(2, axis=0)
    place = np.concatenate([np.arange(5), np.arange(7)])[None].repeat(2, axis=0)
    prefix = np.isin(np.arange(LENGTH), [0, 1, 2, 5, 6])[None].repeat(2, axis=0)
    batch = rows(segment=segment, position=place, prefix=prefix)
    before = np.asarray(hidden(params, batch))

    def moved(m):
        token = batch.token.copy()
        token[:, m] = (token[:, m] + 1) % VOCAB
        return set(
            np.flatnonzero(np.abs(np.asarray(hidden(params, batch._replace(token=token))) - before).max((0, 2)) > 1e-6)
        )

    assert moved(2) == {0, 1, 2, 3, 4}  # of the first segment's prefix: all of that segment
    assert moved(3) == {3, 4}  # behind it: what comes after
    assert moved(6) == set(range(5, 12))
    assert moved(11) == {11}
    nothing = hidden(params, batch._replace(prefix=np.zeros_like(prefix)))
    np.testing.assert_allclose(nothing, hidden(params, batch._replace(prefix=None)), rtol=1e-6, atol=1e-6)


def test_scanned_layers_of_an_encoder_decoder_are_the_same_layers():
    switches = dict(layers=2, decoder_layers=3, buckets=8, bucket_reach=6, dropout=0.2, **SMALL)
    plain, scanned = (
        family(EncoderDecoderConfig(**switches, scan_layers=scan, remat="full" if scan else "none"))
        for scan in (False, True)
    )
    params, noise = jax.jit(plain.init)(jax.random.key(0)), Noise(None, jax.vmap(jax.random.key)(jnp.arange(2)))
    batch = jax.tree.map(jnp.asarray, rows(source=sources(rows())))

    def stacked(params):
        def of_stack(stack, layers):
            rest = {name: leaf for name, leaf in stack.items() if not name.startswith("block_")}
            same = lambda *leaves: np.stack(leaves)  # not one program for each shape
            return rest | {"blocks": jax.tree.map(same, *(stack[f"block_{n}"] for n in range(layers)))}

        return params | {"encoder": of_stack(params["encoder"], 2), "decoder": of_stack(params["decoder"], 3)}

    def of(model, params):
        loss = lambda params: jnp.sin(model.hidden(params, batch, noise) @ model.head(params).T).sum()
        return jax.jit(jax.value_and_grad(loss))(params)

    (loss, grads), (got_loss, got) = of(plain, params), of(scanned, stacked(params))
    np.testing.assert_allclose(got_loss, loss, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), got, stacked(grads))
    expected = jax.tree.map(jnp.shape, stacked(params))
    assert jax.tree.map(jnp.shape, jax.eval_shape(scanned.init, jax.random.key(0))) == expected


def test_every_part_of_an_encoder_decoder_draws_masks_of_its_own():
    """All dropouts of one site would draw the same mask: as many keys as sites, and none twice."""
    seen = []
    model = family(EncoderDecoderConfig(layers=2, dropout=0.5, **SMALL))
    params, batch = jax.eval_shape(model.init, jax.random.key(0)), rows(source=sources(rows()))

    def counted(x, rate, noise, site, over=()):
        seen.append(int(site))
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "dropout", counted)
        patch.setattr(stack, "dropout", counted)
        jax.eval_shape(model.hidden, params, batch)
    assert len(seen) == (2 * 2 + 1) + (2 * 3 + 1)
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    "cfg",
    [
        EncoderConfig(layers=2, sentence_order=True, **SMALL),
        pytest.param(EncoderConfig(layers=2, **SMALL, **MODERN | {"window": 3}), marks=pytest.mark.slow),
        EncoderDecoderConfig(layers=1, **SMALL, **V1_1),
    ],
    ids=["bert", "modern", "t5"],
)
def test_muon_takes_every_product_and_decay_spares_biases_and_scales(cfg):
    model = family(cfg)
    params = jax.jit(model.init)(jax.random.key(0))
    optimizer = optimizers.build(optimizers.MuonConfig(), 10, model.axes, model.precision)
    # Without a gradient nothing but decay moves a weight, and Muon's direction of a full gradient is near orthogonal.
    noise = np.random.default_rng(1)
    grads = jax.tree.map(lambda p: noise.normal(size=p.shape).astype(np.float32), params)
    updates, _ = jax.jit(optimizer.update)(grads, jax.jit(optimizer.init)(params), params)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(updates))
    names = {path[-1].key: decays for path, decays in jax.tree_util.tree_leaves_with_path(optimizers.decays(params))}
    spared = {name for name, decays in names.items() if not decays}
    assert spared == {"b", "scale", "head_b", "order_b", "bucket_b"} & set(names)
