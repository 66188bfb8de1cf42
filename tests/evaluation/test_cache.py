"""The continuous cache beside its definition written out, and what it must not see."""

import functools

import jax
import numpy as np
import pytest

from jaxlm.evaluation import perplexity
from jaxlm.evaluation.cache import CacheConfig, empty, with_cache
from tests.evaluation import lanes
from tests.evaluation.lanes import BATCHES, FAMILY, LANES, LENGTH, SUMS, VOCAB
from tests.rows import crossed


@functools.cache
def sums(cfg):
    return with_cache(SUMS, FAMILY, cfg)


def cached(cfg, given) -> perplexity.Score:
    params, state = lanes.params(), FAMILY.carry(LANES)
    return perplexity.score(sums(cfg), params, given, 100, (state, state, empty(cfg, FAMILY, params, given[0], state)))


def written_out(cfg, given) -> float:
    """Grave et al. 2017, equations 2 and 3, in float64: nats a token."""
    params, state = lanes.params(), FAMILY.carry(LANES)
    apply, table, bias = jax.jit(FAMILY.apply), np.float64(FAMILY.head(params)), np.float64(FAMILY.bias(params))
    pairs, nats, tokens = [[] for _ in range(LANES)], 0.0, 0.0
    for batch in given:
        hidden = apply(params, batch, None, state)
        state = hidden.carry
        for lane in range(LANES):
            for l in range(LENGTH):
                if batch.segment[lane, l] == 0:
                    continue
                h, word = np.float64(hidden.array[lane, l]), batch.target[lane, l]
                p = np.exp(table @ h + bias)
                p = p / p.sum()
                remembered = pairs[lane][-cfg.window :]
                if remembered:
                    of_word = np.zeros(VOCAB)
                    for h_i, word_i in remembered:
                        of_word[word_i] += np.exp(cfg.theta * (h @ h_i))
                    p = (1 - cfg.weight) * p + cfg.weight * of_word / of_word.sum()
                nats -= batch.weight[lane, l] * np.log(p[word])
                tokens += batch.weight[lane, l]
                pairs[lane].append((h, word))
    return nats / tokens


@pytest.mark.parametrize(
    "weighing, window",
    crossed(
        [(0.0, 0.3), (2.0, 0.6)],
        [1, 3, 6, 50],  # within a batch, over one edge, over two, everything
        fast=lambda weighing, window: weighing == (2.0, 0.6) and window in (1, 6, 50),
    ),
    ids=str,
)
def test_the_cache_is_its_definition(weighing, window):
    theta, weight = weighing
    cfg, given = CacheConfig(window=window, theta=theta, weight=weight), lanes.batches(lanes.text())
    found = cached(cfg, given)
    np.testing.assert_allclose(found.loss, written_out(cfg, given), rtol=1e-5)
    assert abs(found.loss - lanes.plain(lanes.params(), given).loss) > 1e-3


def test_chunks_of_a_batch_change_nothing(monkeypatch):
    from jaxlm.evaluation import cache

    cfg, given = CacheConfig(window=6, weight=0.5), lanes.batches(lanes.text())
    whole = cached(cfg, given)
    monkeypatch.setattr(cache, "chunk_length", lambda *_: 3)  # does not divide a batch of four
    sums.cache_clear()
    np.testing.assert_allclose(cached(cfg, given).loss, whole.loss, rtol=1e-6)
    sums.cache_clear()


def test_without_weight_the_score_is_the_plain_one_bit_for_bit():
    given = lanes.batches(lanes.text())
    assert cached(CacheConfig(window=6, weight=0.0), given) == lanes.plain(lanes.params(), given)


@pytest.mark.parametrize("last", [2, 5, 13])
def test_what_comes_later_changes_no_score(last):
    """The targets until `last` count; all tokens after them are others."""
    cfg, text, weighed = CacheConfig(window=50, weight=0.5), lanes.text(), lambda number: number <= last
    changed = text.copy()
    changed[:, last + 2 :] = (changed[:, last + 2 :] + 1) % VOCAB
    score = cached(cfg, lanes.batches(text, weighed))
    assert cached(cfg, lanes.batches(changed, weighed)) == score
    changed[:, last] = (changed[:, last] + 1) % VOCAB
    assert cached(cfg, lanes.batches(changed, weighed)) != score


def test_a_lane_remembers_nothing_of_the_others():
    cfg, text = CacheConfig(window=50, weight=0.5), lanes.text()
    weight = lambda batch, lane: batch._replace(weight=batch.weight * (np.arange(LANES) == lane)[:, None])
    other = text.copy()
    other[1:] = lanes.text(seed=1)[1:]
    of_lane_0 = [cached(cfg, [weight(b, 0) for b in lanes.batches(t)]) for t in (text, other)]
    np.testing.assert_allclose(of_lane_0[0].loss, of_lane_0[1].loss, rtol=1e-6)


def test_a_text_that_repeats_itself_gains():
    given = lanes.batches(lanes.text(period=5))
    plain = lanes.plain(lanes.params(), given)
    assert cached(CacheConfig(window=50, weight=0.5), given).loss < plain.loss - 0.3
    assert BATCHES * LENGTH > 3 * 5


@pytest.mark.parametrize("window", [0, 100_001, 10**11])
def test_a_window_that_no_memory_holds_is_refused(window):
    with pytest.raises(ValueError, match="window"):
        CacheConfig(window=window)
