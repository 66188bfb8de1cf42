"""Beam search: of each prompt the likeliest completions that a few open ones lead to.

A step extends the open beams of a prompt by every token. Of the `beams` likeliest extensions those that end,
with the separator or for want of tokens, become hypotheses, which are kept apart; the likeliest that do not
end are the next open beams, always `beams` of them. A hypothesis scores its log-probability over
length**penalty, as in Hugging Face's `generate` (Wu et al. 2016, arXiv:1609.08144, eq. 14, divide by
((5 + length) / 6)**penalty). A prompt is done when no open beam can win any more; its log-probability only
falls, so that is certain and not a guess (Hugging Face's `early_stopping="never"`).

Left out: diverse groups of beams, beams that sample, constraints.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int

from jaxlm.config import Config
from jaxlm.generation.decode import STEPS, next_logits
from jaxlm.generation.prompts import Model, Rows, Weights, begin, padded
from jaxlm.generation.text import Completion, Tokenizer, require_finite
from jaxlm.models.family import Family

NOWHERE = -jnp.inf  # log-probability of a beam or hypothesis that is not there


class BeamConfig(Config):
    beams: int = pydantic.Field(default=4, gt=0, le=1_000)  # open ones of each prompt; 1: greedy; most: chosen
    # The power of the length that log-probability is divided by; 0: none, so short texts win; 1: the mean of a token.
    length_penalty: float = pydantic.Field(default=1.0, ge=0, le=100)
    best: int = pydantic.Field(default=1, gt=0)  # completions of each prompt

    @pydantic.model_validator(mode="after")
    def _beams_suffice(self):
        if self.best > self.beams:
            raise ValueError(f"best={self.best} completions are more than beams={self.beams} can find: give more beams")
        return self


class Goal(NamedTuple):
    """What the search is for; values, so that all goals share a program."""

    tokens: Any  # int32; most of a hypothesis
    penalty: Any  # float32
    best: Any  # int32; hypotheses that are asked for


class Hypotheses(NamedTuple):
    """Completions that ended, the best first; or extensions of which some end."""

    score_BK: Any  # float32; NOWHERE: there is none
    nats_BK: Any  # float32; log-probability of all tokens
    length_BK: Any  # int32; tokens, the separator included
    text_BKT: Any  # int32; its tokens, then anything


class Beams(NamedTuple):
    """Where the search stands: K open beams and K hypotheses of each prompt. Donated from step to step."""

    state: Any  # the family's, of B K rows: all tokens but the newest
    steps: Any  # int32; how many there were
    position_B: Any  # int32; of the newest token
    token_BK: Any  # int32; the newest of each beam
    nats_BK: Any  # float32; log-probability of all tokens after the prompt
    text_BKT: Any  # int32; these tokens, then anything
    found: Hypotheses
    done_B: Any  # bool; no open beam can win


def search(
    family: Family, params: dict, tokenizer: Tokenizer, prompts: list[str], cfg: BeamConfig, *, tokens: int
) -> list[Completion]:
    """The `cfg.best` best completions of each prompt, of at most `tokens` tokens, the best first.

    There are fewer of a prompt where no more exist. All prompts are one batch, and each is searched as if it
    were alone (but for rounding). Raises what `decode.generate` raises.
    """
    begun = begin(family, params, tokenizer, prompts, tokens)
    if begun is None:
        return []
    model, weights, _, rows = begun
    goal = Goal(np.int32(tokens), np.float32(cfg.length_penalty), np.int32(cfg.best))
    beams = spread(model, cfg.beams, padded(tokens, None), rows)
    del begun, rows  # the beams have their own state
    waiting = None
    for until in (*range(STEPS, tokens, STEPS), tokens):
        beams, all_done = advance(model, weights, goal, beams, np.int32(until))
        if waiting is not None and waiting:  # of the dispatch before: the device works on meanwhile
            break
        waiting = all_done
    found = jax.device_get(beams.found)
    return [
        completion
        for row, prompt in enumerate(prompts)
        for completion in completions(prompt, tokenizer, Hypotheses(*(x[row] for x in found)), cfg.best)
    ]


def completions(prompt: str, tokenizer: Tokenizer, found: Hypotheses, best: int) -> list[Completion]:
    """The best hypotheses of a prompt as text."""
    made = []
    for score, nats, length, text in zip(*(x[:best].tolist() for x in found), strict=True):
        if score == NOWHERE:
            break
        require_finite(score, prompt)
        stopped = text[length - 1] == tokenizer.separator
        tokens = text[: length - stopped]
        shown = tokenizer.decode_bytes(tokens).decode("utf-8", errors="replace")
        made.append(Completion(prompt, shown, tokens, stopped, nats / length, score))
    return made


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def spread(model: Model, beams: int, slots: int, rows: Rows) -> Beams:
    """Beams that all stand where their prompt ends; only the first of each counts, for they are equal."""
    B = rows.token_B.shape[0]
    nats_BK = jnp.full((B, beams), NOWHERE).at[:, 0].set(0.0)
    text_BKT = jnp.full((B, beams, slots), model.separator, jnp.int32)
    none = jnp.full((B, beams), NOWHERE)
    return Beams(
        state=model.reorder(rows.state, jnp.repeat(jnp.arange(B), beams)),
        steps=jnp.int32(0),
        position_B=rows.position_B,
        token_BK=jnp.repeat(rows.token_B[:, None], beams, axis=1),
        nats_BK=nats_BK,
        text_BKT=text_BKT,
        found=Hypotheses(none, none, jnp.zeros((B, beams), jnp.int32), text_BKT),
        done_B=rows.done_B,
    )


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def advance(model: Model, weights: Weights, goal: Goal, beams: Beams, until: Int[Array, ""]):
    """The beams once there were `until` steps, or fewer where all prompts are done; and whether they are."""
    more = lambda beams: (beams.steps < until) & ~beams.done_B.all()
    beams = jax.lax.while_loop(more, functools.partial(step, model, weights, goal), beams)
    return beams, beams.done_B.all()


def step(model: Model, weights: Weights, goal: Goal, beams: Beams) -> Beams:
    """One token more on each open beam."""
    B, K = beams.nats_BK.shape
    of_rows = lambda x_B: jnp.repeat(x_B, K)
    rows = Rows(beams.state, beams.token_BK.reshape(-1), of_rows(beams.position_B), of_rows(beams.done_B))
    logits_RV, state = next_logits(model, weights, rows)
    nats_RV = logits_RV - jax.nn.logsumexp(logits_RV, axis=-1, keepdims=True)
    if model.closing != model.separator:  # which only opens texts, so that one id ends them
        nats_RV = nats_RV.at[:, model.separator].set(NOWHERE)
    nats_BC, parent_BC, token_BC = extensions(nats_RV, beams.nats_BK, model.vocab)
    token_BC = jnp.where(token_BC == model.closing, model.separator, token_BC)
    text_BCT = pick(beams.text_BKT, parent_BC).at[:, :, beams.steps].set(token_BC)

    length = beams.steps + 1
    ends_BC = (token_BC == model.separator) | (length == goal.tokens)
    counts_BC = (jnp.arange(nats_BC.shape[1])[None] < K) & ~beams.done_B[:, None]
    score_BC = jnp.where(ends_BC & counts_BC, nats_BC / length**goal.penalty, NOWHERE)
    ended = Hypotheses(score_BC, nats_BC, jnp.full_like(token_BC, length), text_BCT)
    found = better(beams.found, ended)

    nats_BK, on_BK = jax.lax.top_k(jnp.where(ends_BC, NOWHERE, nats_BC), K)
    parent_BK, token_BK, text_BKT = pick((parent_BC, token_BC, text_BCT), on_BK)
    least_B = jnp.take(found.score_BK, goal.best - 1, axis=1)
    can_win_B = nats_BK[:, 0] / goal.tokens**goal.penalty > least_B
    return Beams(
        state=model.reorder(state, (jnp.arange(B)[:, None] * K + parent_BK).reshape(-1)),
        steps=length,
        position_B=beams.position_B + ~beams.done_B,  # one that is done stays within its slots
        token_BK=token_BK,
        nats_BK=nats_BK,
        text_BKT=text_BKT,
        found=found,
        done_B=beams.done_B | ~can_win_B,
    )


def extensions(nats_RV: Float[Array, "R V"], nats_BK: Float[Array, "B K"], vocab: int):
    """The 2 K likeliest of K beams by one id below `vocab`: log-probability, beam, id.

    At most one extension of a beam ends, so K of them go on.
    """
    B, K = nats_BK.shape
    nats_BKV = nats_BK[..., None] + nats_RV[:, :vocab].reshape(B, K, vocab)
    # What is no number wins, and so is reported: what sorting would make of it depends on the device.
    nats_BKV = jnp.where(jnp.isnan(nats_BKV), jnp.inf, nats_BKV)
    nats_BC, index_BC = jax.lax.top_k(nats_BKV.reshape(B, K * vocab), min(2 * K, K * vocab))
    return nats_BC, index_BC // vocab, index_BC % vocab


def better(found: Hypotheses, ended: Hypotheses) -> Hypotheses:
    """As many as `found` holds, the best of both; of equal ones the older."""
    both = Hypotheses(*(jnp.concatenate(pair, axis=1) for pair in zip(found, ended, strict=True)))
    _, best_BK = jax.lax.top_k(both.score_BK, found.score_BK.shape[1])
    return pick(both, best_BK)


def pick(tree: Any, index_BK: Int[Array, "B K"]) -> Any:
    """Entries `index` of each prompt, in every array of `tree`."""
    fitting = lambda x: jnp.expand_dims(index_BK, tuple(range(2, x.ndim)))
    return jax.tree.map(lambda x: jnp.take_along_axis(x, fitting(x), axis=1), tree)
