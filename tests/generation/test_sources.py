"""Encoder-decoders: the prompt is a source, read once, and the text begins from the separator alone."""

import functools

import jax
import numpy as np
import pytest

from jaxlm.data.source import as_source, source_ids
from jaxlm.errors import UserError
from jaxlm.generation import prompts
from jaxlm.generation.beam import BeamConfig, search
from jaxlm.generation.decode import generate
from jaxlm.generation.sampling import SamplingConfig
from tests.generation.history import history, log_probabilities, of_source
from tests.generation.letters import Few
from tests.generation.spelled_out import assert_same, by_definition

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


def test_a_lone_source_of_rounded_weights_has_an_idle_row_beside_it():
    family, params, _ = translator()
    family = family._replace(precision="bfloat16_operands")
    begun = prompts.begin(family, params, NINE, ["cab"], TOKENS)
    assert begun.rows.done_B.tolist() == [False, True]
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


def test_sources_are_padded_behind_and_the_padding_has_no_segment():
    source = as_source([np.array([8, 1, 8]), np.array([8, 8])], width=4, padding=8)
    assert source.token.tolist() == [[8, 1, 8, 8], [8, 8, 8, 8]]
    assert source.segment.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    assert source.position.tolist() == [[0, 1, 2, 0], [0, 1, 0, 0]]
