"""Saved runs as scorers of documents, for corpus/scores.py: how likely a class is, or how well a text is predicted.

All of a document counts. One that is longer than the run's rows (`data.length`) is cut into windows, each read alone:
its probability of a class is the mean of theirs, weighted by tokens; its nats are the sum of theirs, as in training
and in `jaxlm eval`, where the rest of a long document begins anew too.

A text's score depends on no other text and on no number of workers: each window goes through the model by itself, at a
shape that its own length decides, as XLA's products have other bits for other numbers of rows. Another kind of
processor may have other bits.
"""

import functools
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm import host
from jaxlm.batch import Batch
from jaxlm.config import dump
from jaxlm.corpus import tasks
from jaxlm.corpus.score_config import ProbabilityConfig, ScoreConfig
from jaxlm.data.examples import Classification
from jaxlm.errors import UserError
from jaxlm.evaluation import classes, perplexity
from jaxlm.flat import flatten, parameters_sha256
from jaxlm.run_folder import RunFolder
from jaxlm.saved import Saved, load

VERSION = 1  # of the scores that one model gives one text
_ROWS = 32  # windows of one call of the compiled program: chosen, a call then costs little beside them
_LEAST = 32  # tokens of the shortest shape: chosen, shorter ones save nothing


class RunScorer(NamedTuple):
    """A saved step of a run, opened in whatever process asks it first."""

    run: str  # absolute, as workers stand in other folders
    step: int
    kind: str  # of a ScoreConfig
    of: int  # number of the class, or -1
    digest: str  # of parameters, tokenizer and what is asked

    def __call__(self, texts: Sequence[str]) -> list[float]:
        return _opened(self.run, self.step, self.kind, self.of)(texts)


def of_runs(scores: Sequence[ScoreConfig]) -> dict[str, RunScorer]:
    """A scorer for the name of each score.

    UserError where a run is none, or cannot say what is asked.
    """
    found = {}
    for score in scores:
        try:
            run = str(Path(score.run).absolute())
            saved = _saved(run, None)
            of = _class_number(saved, score) if isinstance(score, ProbabilityConfig) else _require_writer(saved, score)
        except UserError as error:
            raise UserError(f"score {score.name!r}: {error}") from None
        found[score.name] = RunScorer(run, saved.step, score.kind, of, _digest(saved, score.kind, of))
    return found


def _class_number(saved: Saved, score: ProbabilityConfig) -> int:
    objective = saved.config.data.objective
    if not isinstance(objective, Classification) or objective.second_field is not None:
        raise UserError(
            f"kind='probability' asks of which class a text is, and run={score.run!r} learned "
            f"data.objective.kind={objective.kind!r}{' of two texts' if isinstance(objective, Classification) else ''}:"
            f" name a run that learned 'classification'"
        )
    if score.of not in objective.classes:
        raise UserError(
            f"of={score.of!r} is none of the classes of run={score.run!r}: "
            f"{', '.join(map(repr, objective.classes))}; name one of them"
        )
    return objective.classes.index(score.of)


def _require_writer(saved: Saved, score: ScoreConfig) -> int:
    if saved.config.data.objective.kind != "next_token":
        raise UserError(
            f"kind={score.kind!r} asks a model to predict a text token by token, and run={score.run!r} learned "
            f"data.objective.kind={saved.config.data.objective.kind!r}: name a run that learned 'next_token', or use "
            f"kind='probability'"
        )
    return -1


def _digest(saved: Saved, kind: str, of: int) -> str:
    parameters = {f"params/{name}": np.asarray(x) for name, x in flatten(saved.params).items()}
    data = saved.config.data
    told = dump(saved.config.model), dump(data.objective), data.length, data.rows
    return tasks.key(VERSION, parameters_sha256(parameters), saved.tokenizer.digest, told, kind, of)


@functools.cache
def _saved(run: str, step: int | None) -> Saved:
    """On a CPU, unless JAX_PLATFORMS says otherwise: workers would share one accelerator, and its bits differ."""
    RunFolder(run).require()
    if not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")
    host.start_jax(1)
    return load(run, step)


@functools.cache
def _opened(run: str, step: int, kind: str, of: int) -> Callable[[Sequence[str]], list[float]]:
    saved = _saved(run, step)
    if kind == "probability":
        return functools.partial(_probabilities, saved, _each(saved, _of_class(saved, of)))
    return functools.partial(_predicted, saved, _each(saved, _nats(saved)), kind)


class Window(NamedTuple):
    """What of a text goes through a model at once."""

    token: np.ndarray
    target: np.ndarray  # what comes after each


OfRow = Callable[[Any, Batch], jax.Array]  # (params, a batch of one row) -> a number


def _of_class(saved: Saved, of: int) -> OfRow:
    probabilities = classes.probabilities(saved.model)
    at_last = getattr(saved.config.data.objective, "at", "first") == "last"

    def of_row(params: Any, batch: Batch) -> jax.Array:
        place = (batch.segment.sum(1, keepdims=True) - 1) * at_last
        ones = jnp.ones((1, 1))
        return probabilities(params, batch._replace(where=place, target=place * 0, weight=ones))[0, 0, of]

    return of_row


def _nats(saved: Saved) -> OfRow:
    sums = perplexity.row_sums(saved.model)
    return lambda params, batch: sums(params, batch, ())[0][0, 0]


def _each(saved: Saved, of_row: OfRow) -> Callable[[Sequence[Window]], np.ndarray]:
    """`of_row` of windows, each by itself in a batch of one row: what else is asked for changes no bit of it."""

    @jax.jit
    def of_rows(params, token_RL, target_RL, size_R, rows):
        place_1L = jnp.arange(token_RL.shape[1], dtype=jnp.int32)[None]

        def add(row, found_R):
            token_1L, target_1L = (jax.lax.dynamic_slice_in_dim(x, row, 1) for x in (token_RL, target_RL))
            real_1L = place_1L < size_R[row]
            segment_1L, weight_1L = real_1L.astype(jnp.int32), real_1L.astype(jnp.float32)
            batch = Batch(token_1L, target_1L, weight_1L, segment_1L, place_1L * segment_1L)
            return found_R.at[row].set(of_row(params, batch))

        return jax.lax.fori_loop(0, rows, add, jnp.zeros(token_RL.shape[0]))

    def of_windows(windows: Sequence[Window]) -> np.ndarray:
        found = np.zeros(len(windows))
        shapes = np.array([_shape(len(window.token), saved.config.data.length) for window in windows])
        for length in np.unique(shapes):
            same = np.flatnonzero(shapes == length)
            for some in np.split(same, np.arange(_ROWS, len(same), _ROWS)):
                token_RL, target_RL = np.zeros((2, _ROWS, length), np.int32)
                for row, number in enumerate(some):
                    size = len(windows[number].token)
                    token_RL[row, :size], target_RL[row, :size] = windows[number]
                size_R = np.array([len(windows[number].token) for number in some] + [0] * (_ROWS - len(some)))
                found[some] = np.asarray(of_rows(saved.params, token_RL, target_RL, size_R, len(some)))[: len(some)]
        return found

    return of_windows


def _shape(tokens: int, length: int) -> int:
    """The least power of two that holds a window of so many tokens, and no more than a row has."""
    return min(length, max(_LEAST, 1 << (tokens - 1).bit_length()))


def _probabilities(saved: Saved, each: Callable[[Sequence[Window]], np.ndarray], texts: Sequence[str]) -> list[float]:
    """Windows have the separator before them, and after them what closes a text where the model learned it so."""
    tokenizer, data = saved.tokenizer, saved.config.data
    assert isinstance(data.objective, Classification)
    closes = tokenizer.closing != tokenizer.separator and data.objective.at == "first"
    opening, closing = np.array([tokenizer.separator], np.int32), np.array([tokenizer.closing] * closes, np.int32)
    room = max(1, data.length - 1 - closes)
    windows, text_of = [], []
    for number, ids in enumerate(tokenizer.encode_batch(texts)):
        for begin in range(0, max(len(ids), 1), room):
            token = np.concatenate([opening, ids[begin : begin + room], closing]).astype(np.int32)
            windows.append(Window(token, token))
            text_of.append(number)
    tokens = np.array([len(window.token) for window in windows], np.float64)
    total = lambda of_windows: np.bincount(text_of, of_windows, len(texts))
    return (total(each(windows) * tokens) / total(tokens)).tolist()


def _predicted(
    saved: Saved, each: Callable[[Sequence[Window]], np.ndarray], kind: str, texts: Sequence[str]
) -> list[float]:
    """Each token of a text and the separator after it is predicted once."""
    tokenizer, length = saved.tokenizer, saved.config.data.length
    windows, text_of = [], []
    for number, ids in enumerate(tokenizer.encode_batch(texts)):
        read = np.concatenate([[tokenizer.separator], ids])
        following = np.concatenate([ids, [tokenizer.closing]])
        for begin in range(0, len(read), length):
            windows.append(Window(read[begin : begin + length], following[begin : begin + length]))
            text_of.append(number)
    tokens = np.bincount(text_of, [len(window.token) for window in windows], len(texts))
    nats = np.bincount(text_of, each(windows), len(texts))
    if kind == "bits_per_byte":
        return (nats / math.log(2) / [max(1, len(text.encode())) for text in texts]).tolist()
    return np.exp(np.minimum(nats / tokens, 700.0)).tolist()
