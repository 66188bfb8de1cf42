"""Dynamic evaluation beside its definition written out: score first, learn afterwards."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.evaluation import perplexity
from jaxlm.evaluation.dynamic import DynamicRmsConfig, DynamicSgdConfig, adapting, root_mean_square
from tests.evaluation import lanes
from tests.evaluation.lanes import FAMILY, LANES, SUMS, VOCAB
from tests.rows import crossed

SGD = DynamicSgdConfig(rate=0.5, decay=0.1)
RMS = DynamicRmsConfig(rate=0.02, decay=0.3, eps=1e-2)


@functools.cache
def rms():
    return root_mean_square(FAMILY, lanes.params(), lanes.batches(lanes.text(seed=9)), FAMILY.carry(LANES))


def adapted(cfg, given) -> perplexity.Score:
    params, state = lanes.params(), FAMILY.carry(LANES)
    sums = adapting(SUMS, FAMILY, cfg, rms() if cfg.kind == "rms" else None)
    return perplexity.score(sums, params, given, 100, (state, state, params))


@functools.cache
def mean_loss():
    """(mean loss of a batch, state after it), written out, and its gradient."""

    def loss(params, batch, state):
        hidden = FAMILY.apply(params, batch, None, state)
        logits_BLV = hidden.array @ FAMILY.head(params).T + FAMILY.bias(params)[None, None]
        of_target_BL = jnp.take_along_axis(jax.nn.log_softmax(logits_BLV), batch.target[..., None], -1)[..., 0]
        return -(of_target_BL * batch.weight).sum() / batch.weight.sum(), hidden.carry

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def written_out(cfg, given) -> float:
    """Krause et al. 2018, section 4: nats a token."""
    host = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
    trained, state = host(lanes.params()), FAMILY.carry(LANES)
    now, nats, tokens = trained, 0.0, 0.0
    if cfg.kind == "rms":
        squares, count, past = jax.tree.map(np.zeros_like, trained), 0, FAMILY.carry(LANES)
        for batch in lanes.batches(lanes.text(seed=9)):
            (_, past), grads = mean_loss()(lanes.params(), batch, past)
            squares, count = jax.tree.map(lambda s, g: s + g**2, squares, host(grads)), count + 1
        r = jax.tree.map(lambda s: np.sqrt(s / count), squares)
        average = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(r)]).mean()
    for batch in given:
        (loss, state), grads = mean_loss()(jax.tree.map(np.float32, now), batch, state)
        nats, tokens = nats + float(loss) * batch.weight.sum(), tokens + batch.weight.sum()
        if cfg.kind == "sgd":
            move = lambda w, t, g: w - cfg.rate * g + cfg.decay * (t - w)
            now = jax.tree.map(move, now, trained, host(grads))
        else:
            move = lambda w, t, g, r: (
                w - cfg.rate * g / (r + cfg.eps) + np.minimum(cfg.decay * r / average, 1.0) * (t - w)
            )
            now = jax.tree.map(move, now, trained, host(grads), r)
    return nats / tokens


@pytest.mark.parametrize("cfg", [SGD, RMS, RMS.model_copy(update={"decay": 0.0})], ids=str)
def test_dynamic_evaluation_is_its_definition(cfg):
    given = lanes.batches(lanes.text())
    found = adapted(cfg, given)
    np.testing.assert_allclose(found.loss, written_out(cfg, given), rtol=1e-5)
    assert abs(found.loss - lanes.plain(lanes.params(), given).loss) > 1e-3


def test_parameters_go_back_to_the_trained_ones_and_never_past_them():
    """Some arrays have gradients so large that decay times their share of the mean is over 1."""
    from jaxlm.evaluation.dynamic import moved

    trained = lanes.params()
    away, still = jax.tree.map(lambda w: w + 1, trained), jax.tree.map(jnp.zeros_like, trained)
    after = moved(RMS, away, trained, still, rms())
    left = np.concatenate([np.ravel(a - t) for a, t in zip(*map(jax.tree.leaves, (after, trained)), strict=True)])
    assert (left > -1e-5).all() and (left < 1 + 1e-5).all()
    assert np.isclose(left, 0, atol=1e-5).any() and (left > 0.5).any()


@pytest.mark.parametrize("cfg", [DynamicSgdConfig(rate=0.0, decay=0.5), DynamicRmsConfig(rate=0.0)], ids=str)
def test_without_a_rate_the_score_is_the_plain_one_bit_for_bit(cfg):
    given = lanes.batches(lanes.text())
    assert adapted(cfg, given) == lanes.plain(lanes.params(), given)


@pytest.mark.parametrize(
    "last, cfg", crossed([3, 11], [SGD, RMS], fast=lambda last, cfg: (last == 3) == (cfg is RMS)), ids=str
)
def test_what_comes_later_changes_no_score(cfg, last):
    """Whole batches count, since what is weighed is also what is learnt from; all tokens after them are others."""
    text, upto = lanes.text(), (last + 1) // lanes.LENGTH
    changed = text.copy()
    changed[:, last + 2 :] = (changed[:, last + 2 :] + 1) % VOCAB
    score = lambda text: adapted(cfg, nothing_counts_from(upto, lanes.batches(text)))
    assert score(changed) == score(text)
    changed[:, last] = (changed[:, last] + 1) % VOCAB
    assert score(changed) != score(text)


def nothing_counts_from(number, given):
    empty = lambda batch: batch._replace(weight=np.zeros_like(batch.weight))
    return [*given[:number], *map(empty, given[number:])]


def test_a_batch_is_scored_before_it_is_learnt_from():
    """The first batch is scored by the trained parameters, whatever the rate."""
    given = nothing_counts_from(1, lanes.batches(lanes.text()))
    assert adapted(DynamicSgdConfig(rate=50.0), given) == lanes.plain(lanes.params(), given)


@pytest.mark.parametrize("cfg", [SGD, RMS], ids=str)
def test_a_text_that_repeats_itself_gains(cfg):
    given = lanes.batches(lanes.text(period=5)) * 4
    assert adapted(cfg, given).loss < lanes.plain(lanes.params(), given).loss - 0.3
