"""Beam search against all sequences there are, and against the same search spelled out over full forward passes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlm.batch import Batch
from jaxlm.errors import Diverged, UserError
from jaxlm.generation import beam
from jaxlm.generation.beam import BeamConfig, search
from jaxlm.generation.decode import STEPS, generate
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.models.build import build
from jaxlm.models.family import Family
from jaxlm.models.transformer import TransformerConfig
from tests.generation.history import history, log_probabilities
from tests.generation.letters import Few
from tests.generation.spelled_out import LogP, assert_same, by_definition, with_end
from tests.models.test_families import FAMILIES
from tests.rows import short

GREEDY = SamplingConfig(temperature=0)
LENGTH = 32  # tokens of context of learned positions, and of the reference's one shape
TOKENS = 12


NINE = Few(9)  # models have more ids
PROMPTS = ["", "a", "hgfedcba", "cab"]


@functools.cache
def of_history(vocab: int, seed: int = 0) -> tuple[Family, dict]:
    family = history(vocab)
    return family, family.init(jax.random.key(seed))


@functools.cache
def of_table(name: str) -> tuple[Family, dict, LogP]:
    """A family of the table; its parameters are moved by noise, so that logits spread and ties are rare."""
    family = build(FAMILIES[name], vocab=11, length=LENGTH, packed=False, platform="cpu")
    params, noise = jax.jit(family.init)(jax.random.key(1)), np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + noise.normal(0, 0.3, x.shape).astype(np.float32), params)

    @jax.jit
    def logits(params, token_1L):
        ones, position_1L = jnp.ones((1, LENGTH), int), jnp.arange(LENGTH)[None]
        hidden_1LD = family.hidden(params, Batch(token_1L, token_1L, ones, ones, position_1L))
        bias = family.bias(params)
        return (hidden_1LD @ family.head(params).T + (0.0 if bias is None else bias[None, None]))[0]

    @functools.cache
    def log_p(ids: tuple[int, ...]) -> np.ndarray:
        token_1L = np.array([ids + (0,) * (LENGTH - len(ids))], np.int32)  # what follows a token cannot matter
        row_V = np.asarray(logits(params, token_1L), np.float64)[len(ids) - 1]
        return row_V - np.log(np.exp(row_V).sum())

    return family, params, lambda ids: log_p(tuple(ids))


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0, 2.0])
def test_with_beams_enough_it_finds_the_best_of_all_sequences(penalty):
    three, tokens = Few(3), 4
    family, params = of_history(5)
    cfg = BeamConfig(beams=24, best=8, length_penalty=penalty)  # after 3 tokens 8 are open: 24 extensions
    found = search(family, params, three, ["a", "bba"], cfg, tokens=tokens)
    for n, prompt in enumerate(["a", "bba"]):
        start, everything = [three.separator, *three.encode(prompt).tolist()], []
        for length in range(1, tokens + 1):
            for ids in itertools.product(range(3), repeat=length):
                if three.separator not in ids[:-1] and (ids[-1] == three.separator or length == tokens):
                    nats = sum(log_probabilities(params, start + list(ids[:l]))[i] for l, i in enumerate(ids))
                    everything.append((nats / length**penalty, list(ids)))
        assert len(everything) == 1 + 2 + 4 + 8 * 3
        assert_same(found[8 * n : 8 * n + 8], sorted(everything, reverse=True)[:8], three, penalty)


@pytest.mark.parametrize("name", short(["lstm", "gru", "mingru", "gpt2", "llama", "scanned"], "lstm", "llama"))
def test_every_family_finds_what_the_search_spelled_out_finds(name):
    family, params, log_p = of_table(name)
    cfg = BeamConfig(beams=3, best=3, length_penalty=0.8)
    found = search(family, params, NINE, PROMPTS, cfg, tokens=TOKENS)
    for n, prompt in enumerate(PROMPTS):
        wanted = by_definition(log_p, NINE, prompt, cfg, TOKENS)
        assert_same(found[3 * n : 3 * n + 3], wanted, NINE, cfg.length_penalty)


def test_log_probabilities_are_the_models_own_where_another_token_closes():
    """Of all ids, the separator too, which only opens texts there."""
    five = Few(5)
    five.closing = 0  # an "a" ends a text
    family, params = of_history(6)
    stopped = 0
    for found in search(family, params, five, ["b", "cdb"], BeamConfig(beams=3, best=3, length_penalty=0.0), tokens=5):
        ids, nats = [five.separator, *five.encode(found.prompt).tolist()], 0.0
        new = [*found.tokens, *[five.closing] * found.stopped]
        for token in new:
            nats += log_probabilities(params, ids)[token]
            ids.append(token)
        np.testing.assert_allclose(found.log_probability, nats / len(new), rtol=1e-4)
        stopped += found.stopped
    assert stopped


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    beams=st.sampled_from([1, 2, 5]),
    penalty=st.floats(0, 2),
    tokens=st.integers(1, 14),
    prompts=st.lists(st.text("abcd", max_size=6), min_size=3, max_size=3),
)
def test_any_search_is_the_search_spelled_out(seed, beams, penalty, tokens, prompts):
    five, (family, _) = Few(5), of_history(6)
    params = family.init(jax.random.key(seed))
    cfg = BeamConfig(beams=beams, best=(beams + 1) // 2, length_penalty=penalty)
    found = search(family, params, five, prompts, cfg, tokens=tokens)
    wanted = [by_definition(functools.partial(log_probabilities, params), five, p, cfg, tokens) for p in prompts]
    assert_same(found, [one for of_prompt in wanted for one in of_prompt], five, penalty)


@pytest.mark.parametrize(
    "name",
    short(
        ["lstm", "gru_before", "minlstm", "projected", "gpt2", "gemma", "bloom", "scanned", "t5_scanned"],
        "lstm", "gpt2",
    ),
)  # fmt: skip
def test_one_beam_without_a_penalty_is_greedy(name):
    family, params, _ = of_table(name)
    greedy = generate(family, params, NINE, PROMPTS, GREEDY, tokens=TOKENS, seed=0)
    found = search(family, params, NINE, PROMPTS, BeamConfig(beams=1, length_penalty=0), tokens=TOKENS)
    assert [c._replace(log_probability=0) for c in greedy] == [c._replace(log_probability=0, score=None) for c in found]
    nats = [[c.log_probability for c in cs] for cs in (greedy, found)]
    np.testing.assert_allclose(*nats, rtol=1e-5)


def test_one_beam_of_a_single_prompt_is_greedy_with_rounded_weights():
    cfg = TransformerConfig(layers=2, heads=2, width=16, precision="bfloat16_operands", std=None)
    family = build(cfg, vocab=11, length=LENGTH, packed=False, platform="cpu")
    params = jax.jit(family.init)(jax.random.key(0))
    (greedy,) = generate(family, params, NINE, ["ab"], GREEDY, tokens=TOKENS, seed=0)
    (found,) = search(family, params, NINE, ["ab"], BeamConfig(beams=1, length_penalty=0), tokens=TOKENS)
    assert found.tokens == greedy.tokens
    np.testing.assert_allclose(found.log_probability, greedy.log_probability, rtol=1e-4)


@pytest.mark.parametrize("name", short(["gru", "lstm", "scanned"], "lstm"))
def test_a_prompt_finds_the_same_whatever_is_searched_beside_it(name):
    family, params, _ = of_table(name)
    cfg = BeamConfig(beams=3, best=2)
    together = search(family, params, NINE, PROMPTS, cfg, tokens=TOKENS)
    for n, prompt in enumerate(PROMPTS):
        alone = search(family, params, NINE, [prompt], cfg, tokens=TOKENS)
        in_batch = together[2 * n : 2 * n + 2]
        assert [c.tokens for c in alone] == [c.tokens for c in in_batch]
        np.testing.assert_allclose([c.score for c in alone], [c.score for c in in_batch], rtol=1e-5)


def test_the_same_search_finds_the_same_bits():
    family, params, _ = of_table("llama")
    once, again = (search(family, params, NINE, PROMPTS, BeamConfig(), tokens=TOKENS) for _ in range(2))
    assert once == again


def test_completions_end_at_the_separator_or_use_up_their_tokens():
    family, params = of_history(9)
    found = search(family, params, NINE, PROMPTS, BeamConfig(beams=8, best=8), tokens=5)
    assert {c.stopped for c in found} == {True, False}
    for c in found:
        assert c.stopped or len(c.tokens) == 5
        assert len(c.tokens) + c.stopped <= 5 and NINE.separator not in c.tokens
        assert c.text == NINE.decode_bytes(c.tokens).decode()


def test_the_best_comes_first_and_none_twice():
    family, params = of_history(9)
    found = search(family, params, NINE, ["ab"], BeamConfig(beams=6, best=6), tokens=5)
    scores = [c.score for c in found]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(with_end(c, NINE)) for c in found}) == 6
    first = search(family, params, NINE, ["ab"], BeamConfig(beams=6), tokens=5)
    assert first == found[:1]


def test_no_id_is_found_that_the_tokenizer_lacks():
    family, params = of_history(11)
    params = params | {"table": params["table"].at[:, 9:].add(5.0)}  # the model would rather have these
    found = search(family, params, NINE, PROMPTS, BeamConfig(best=4), tokens=TOKENS)
    assert max(max(c.tokens, default=0) for c in found) < NINE.vocab
    assert max(c.log_probability for c in found) < -2.0  # and the log-probability is the model's own


def test_where_fewer_completions_exist_there_are_fewer():
    family, params = of_history(3)
    found = search(family, params, Few(2), ["", "a"], BeamConfig(beams=9, best=9), tokens=2)
    # The separator at once; a and the separator; a and a.
    assert [(c.prompt, sorted(with_end(d, Few(2)) for d in found if d.prompt == c.prompt)) for c in found] == [
        (prompt, [[0, 0], [0, 1], [1]]) for prompt in ("", "a") for _ in range(3)
    ]


def steps_taken(monkeypatch, params: dict, cfg: BeamConfig, tokens: int) -> int:
    taken, advance = [], beam.advance

    def counting(*arguments):
        beams, all_done = advance(*arguments)
        taken.append(int(beams.steps))
        return beams, all_done

    monkeypatch.setattr(beam, "advance", counting)
    search(of_history(9)[0], params, NINE, ["a", "bc"], cfg, tokens=tokens)
    return taken[-1]


def test_it_stops_once_no_open_beam_can_win(monkeypatch):
    params = of_history(9)[1]
    ends = params | {"table": params["table"].at[:, NINE.separator].add(20.0)}  # the separator is all but certain
    assert steps_taken(monkeypatch, ends, BeamConfig(length_penalty=0), tokens=5 * STEPS) == 1
    # A penalty makes long texts better, but not so much better.
    assert steps_taken(monkeypatch, ends, BeamConfig(length_penalty=1), tokens=5 * STEPS) < STEPS
    never = params | {"table": params["table"].at[:, NINE.separator].add(-50.0)}
    assert steps_taken(monkeypatch, never, BeamConfig(), tokens=2 * STEPS + 1) == 2 * STEPS + 1


def test_other_goals_compile_nothing_new():
    family, params = of_history(9)
    run = lambda tokens, **fields: search(family, params, NINE, ["ab"], BeamConfig(beams=3, **fields), tokens=tokens)
    run(40)
    before = beam.advance._cache_size(), beam.spread._cache_size()
    run(60, best=3, length_penalty=0.3)
    run(33)
    assert (beam.advance._cache_size(), beam.spread._cache_size()) == before


@pytest.mark.parametrize(
    ("prompt", "tokens"), [("a" * 20, 13), ("a" * LENGTH, 1), ("a", 0)], ids=["beyond the context", "too long", "none"]
)
def test_what_sampling_refuses_is_refused_in_the_same_words(prompt, tokens):
    family, params, _ = of_table("gpt2")
    with pytest.raises(UserError) as sampled:
        generate(family, params, NINE, ["a", prompt], GREEDY, tokens=tokens, seed=0)
    with pytest.raises(UserError) as searched:
        search(family, params, NINE, ["a", prompt], BeamConfig(), tokens=tokens)
    assert str(searched.value) == str(sampled.value)


def test_the_context_is_filled_to_its_last_position():
    family, params, log_p = of_table("gpt2")
    prompt, cfg = "gca" * 8, BeamConfig(beams=2, length_penalty=2.0)
    tokens = LENGTH - 25 + 1
    found = search(family, params, NINE, [prompt], cfg, tokens=tokens)
    assert_same(found, by_definition(log_p, NINE, prompt, cfg, tokens), NINE, 2.0)


def test_no_prompts_give_no_completions():
    family, params = of_history(9)
    assert search(family, params, NINE, [], BeamConfig(), tokens=3) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_diverged_model_is_reported(value):
    family, params = of_history(9)
    broken = params | {"table": params["table"].at[:, 3].set(value)}
    with pytest.raises(Diverged, match="after 'ab' are not finite"):
        search(family, broken, NINE, ["ab", "c"], BeamConfig(), tokens=4)


def test_more_completions_than_beams_are_refused():
    with pytest.raises(ValueError, match=r"best=5.*beams=4"):
        BeamConfig(beams=4, best=5)


@pytest.mark.parametrize("beyond", [{"beams": 1_001}, {"beams": 10**6}, {"length_penalty": 1e308}], ids=str)
def test_a_search_that_would_not_end_is_refused(beyond):
    with pytest.raises(ValueError, match=next(iter(beyond))):
        BeamConfig(**beyond)
