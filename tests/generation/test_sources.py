"""Encoder-decoders: the prompt is a source, read once, and the text begins from the separator alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.data.source import as_source, source_ids
from jaxlm.errors import UserError
from jaxlm.generation import prompts
from jaxlm.generation.beam import BeamConfig, search
from jaxlm.generation.decode import generate
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.models.build import build
from jaxlm.models.encoder_decoder import VASWANI, EncoderDecoderConfig
from tests.generation.history import history, log_probabilities, of_source
from tests.generation.letters import Few
from tests.generation.spelled_out import assert_same, by_definition
from tests.rows import short

NINE = Few(9)
SOURCES = ["", "hgfedcba", "cab", "a" * 20]
GREEDY = SamplingConfig(temperature=0)
TOKENS = 12


@functools.cache
def translator():
    family = history(11, reads=True)
    params = family.init(jax.random.key(4))

    def log_p_of(source: str):
        trace = of_source(params, source_ids(NINE.encode(source), NINE.separator).tolist())
        return lambda ids: log_probabilities(params, ids, trace)

    return family, params, log_p_of


def spelled_out(source: str, cfg: BeamConfig):
    """A prompt of no letters: the decoder begins from the separator."""
    return by_definition(translator()[2](source), NINE, "", cfg, TOKENS)


def test_greedy_text_of_each_source_is_greedy_by_definition():
    family, params, _ = translator()
    found = generate(family, params, NINE, SOURCES, GREEDY, tokens=TOKENS, seed=0)
    greedy = BeamConfig(beams=1, length_penalty=0)
    wanted = [spelled_out(source, greedy)[0] for source in SOURCES]
    assert [c.tokens + [NINE.separator] * c.stopped for c in found] == [ids for _, ids in wanted]
    assert [c.prompt for c in found] == SOURCES


def test_beams_of_each_source_are_those_of_the_search_spelled_out():
    family, params, _ = translator()
    cfg = BeamConfig(beams=4, best=2, length_penalty=0.8)
    found = search(family, params, NINE, SOURCES, cfg, tokens=TOKENS)
    wanted = [hypothesis for source in SOURCES for hypothesis in spelled_out(source, cfg)]
    assert_same(found, wanted, NINE, cfg.length_penalty)


def test_a_source_says_the_same_whatever_is_read_beside_it():
    family, params, _ = translator()
    hot = SamplingConfig(temperature=2.0)
    together = generate(family, params, NINE, SOURCES, hot, tokens=TOKENS, seed=3)
    for source, in_batch in zip(SOURCES, together, strict=True):
        (alone,) = generate(family, params, NINE, [source], hot, tokens=TOKENS, seed=3)
        assert alone.tokens == in_batch.tokens
    assert len({tuple(c.tokens) for c in together}) == len(SOURCES)


def test_a_lone_source_of_rounded_weights_is_one_row():
    family, params, _ = translator()
    family = family._replace(precision="bfloat16_operands")
    begun = prompts.begin(family, params, NINE, ["cab"], TOKENS)
    assert begun.rows.done_B.tolist() == [False]
    (found,) = generate(family, params, NINE, ["cab"], GREEDY, tokens=TOKENS, seed=0)
    assert len(found.tokens) + found.stopped > 0


def test_a_source_too_long_and_a_text_too_long_are_refused():
    family, params, _ = translator()
    family = family._replace(length=16, source_length=8)
    run = functools.partial(generate, family, params, NINE, cfg=GREEDY, seed=0)
    with pytest.raises(UserError, match=r"longest prompt has 9 tokens, with the separators.*reads at most 8"):
        run(prompts=["a", "abcdefg"], tokens=4)
    with pytest.raises(UserError, match=r"tokens=17.*at most 16 tokens"):
        run(prompts=["abcdef"], tokens=17)
    (full,) = run(prompts=["abcdef"], tokens=16)
    assert full.stopped or len(full.tokens) == 16
    assert prompts.default_tokens(family, NINE, ["abcdef"]) == 16
    assert prompts.default_tokens(translator()[0], NINE, ["abcdef"]) == prompts.TOKENS


MODELS = {
    "t5": EncoderDecoderConfig(layers=2, heads=2, width=16, precision="float32"),
    "scanned": EncoderDecoderConfig(layers=2, heads=2, width=16, precision="float32", tied=False, scan_layers=True),
    "vaswani": EncoderDecoderConfig(layers=2, heads=2, width=16, precision="float32", **VASWANI),
    "learned": EncoderDecoderConfig(layers=1, heads=4, kv_heads=2, width=16, precision="float32", position="learned"),
}


@functools.cache
def transformer(name: str):
    """An encoder-decoder, its parameters moved by noise so that ties are rare, and its full forward pass."""
    family = build(MODELS[name], vocab=11, length=24, packed=False, platform="cpu", source_length=32)
    params, noise = jax.jit(family.init)(jax.random.key(1)), np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + noise.normal(0, 0.2, x.shape).astype(np.float32), params)

    @jax.jit
    def logits(params, token_1L, source):
        ones, position_1L = jnp.ones((1, 24), int), jnp.arange(24)[None]
        batch = Batch(token_1L, token_1L, ones, ones, position_1L, source=source)
        return (family.hidden(params, batch) @ family.head(params).T)[0]

    def log_p_of(text: str):
        source = as_source([source_ids(NINE.encode(text), NINE.separator)], width=32, padding=0)

        @functools.cache
        def log_p(ids: tuple[int, ...]) -> np.ndarray:
            row_LV = np.asarray(logits(params, np.array([ids + (0,) * (24 - len(ids))]), source), np.float64)
            return row_LV[len(ids) - 1] - np.log(np.exp(row_LV[len(ids) - 1]).sum())

        return lambda ids: log_p(tuple(ids))

    return family, params, log_p_of


@pytest.mark.parametrize("name", short(MODELS, "t5"))
def test_an_encoder_decoder_finds_what_the_search_spelled_out_finds(name):
    family, params, log_p_of = transformer(name)
    cfg = BeamConfig(beams=3, best=3, length_penalty=0.8)
    found = search(family, params, NINE, SOURCES, cfg, tokens=TOKENS)
    wanted = [one for source in SOURCES for one in by_definition(log_p_of(source), NINE, "", cfg, TOKENS)]
    assert_same(found, wanted, NINE, cfg.length_penalty)
    assert len({tuple(c.tokens) for c in found[::3]}) > 1, "the source matters"


@pytest.mark.parametrize("name", short(["t5", "learned"], "t5"))
def test_an_encoder_decoder_says_the_likeliest_and_draws_each_source_alone(name):
    family, params, _ = transformer(name)
    greedy = generate(family, params, NINE, SOURCES, GREEDY, tokens=TOKENS, seed=0)
    found = search(family, params, NINE, SOURCES, BeamConfig(beams=1, length_penalty=0), tokens=TOKENS)
    assert [c.tokens for c in greedy] == [c.tokens for c in found]
    together = generate(family, params, NINE, SOURCES, SamplingConfig(), tokens=TOKENS, seed=3)
    for source, in_batch in zip(SOURCES, together, strict=True):
        (alone,) = generate(family, params, NINE, [source], SamplingConfig(), tokens=TOKENS, seed=3)
        assert alone.tokens == in_batch.tokens


def test_an_encoder_decoder_of_learned_positions_says_how_much_it_reads_and_writes():
    family, params, _ = transformer("learned")
    run = functools.partial(generate, family, params, NINE, cfg=GREEDY, seed=0)
    with pytest.raises(UserError, match=r"has 33 tokens.*reads at most 32"):
        run(prompts=["a" * 31], tokens=4)
    with pytest.raises(UserError, match=r"tokens=25.*at most 24"):
        run(prompts=["a" * 30], tokens=25)


def test_sources_are_padded_behind_and_the_padding_has_no_segment():
    source = as_source([np.array([8, 1, 8]), np.array([8, 8])], width=4, padding=8)
    assert source.token.tolist() == [[8, 1, 8, 8], [8, 8, 8, 8]]
    assert source.segment.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert source.position.tolist() == [[0, 1, 2, 0], [0, 1, 0, 0]]
