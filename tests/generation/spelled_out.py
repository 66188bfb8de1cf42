"""Beam search as it is defined, in plain Python, for tests to compare with."""

from collections.abc import Callable

import numpy as np

from jaxlm.generation.beam import BeamConfig
from jaxlm.generation.text import Completion
from tests.generation.letters import Few

LogP = Callable[[list[int]], np.ndarray]  # ids so far -> log-probability of each next id


def by_definition(log_p: LogP, tokenizer: Few, prompt: str, cfg: BeamConfig, tokens: int) -> list[tuple[float, list]]:
    """(score, ids with the separator that ends them) of the best; every step is taken, and nothing stops early."""
    start = [tokenizer.separator, *tokenizer.encode(prompt).tolist()]
    beams, found = [(0.0, [])], []
    for length in range(1, tokens + 1):
        longer = [(nats + log_p(start + ids)[i], [*ids, i]) for nats, ids in beams for i in range(tokenizer.vocab)]
        longer.sort(key=lambda x: -x[0])
        ends = lambda ids: ids[-1] == tokenizer.separator or len(ids) == tokens
        found += [(nats / length**cfg.length_penalty, ids) for nats, ids in longer[: cfg.beams] if ends(ids)]
        beams = [x for x in longer if not ends(x[1])][: cfg.beams]
        edge = [nats for nats, _ in longer[cfg.beams - 1 : cfg.beams + 1]]
        assert np.diff(edge).min(initial=-1.0) < -1e-6, "a tie: choose another seed"
    return sorted(found, key=lambda x: -x[0])[: cfg.best]


def with_end(completion: Completion, tokenizer: Few) -> list[int]:
    return completion.tokens + [tokenizer.separator] * completion.stopped


def assert_same(got: list[Completion], wanted: list[tuple[float, list]], tokenizer: Few, penalty: float) -> None:
    assert [with_end(c, tokenizer) for c in got] == [ids for _, ids in wanted]
    np.testing.assert_allclose([c.score for c in got], [score for score, _ in wanted], rtol=1e-5, atol=1e-5)
    lengths = [len(ids) for _, ids in wanted]
    mean = [score * length ** (penalty - 1) for (score, _), length in zip(wanted, lengths, strict=True)]
    np.testing.assert_allclose([c.log_probability for c in got], mean, rtol=1e-5, atol=1e-5)
