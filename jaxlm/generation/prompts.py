"""Prompts become rows: encoded, checked, and read by the model, ready for the first new token.

A prompt is the separator and its text; token number p of a row has position p and lies in slot p of the
cache. Prompts of a batch are padded on the right. A query sees no slot after its own position, and
decoding writes each slot before it reaches it, so no padded token is ever seen.

Of an encoder-decoder the prompt is the source, read at once; its rows begin with the separator alone, or with what
the tokenizer says.

Left out: prompts over several processes, paged caches.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxlm.batch import Source
from jaxlm.data.source import as_source, source_ids
from jaxlm.errors import UserError
from jaxlm.generation.text import Tokenizer
from jaxlm.models.family import Family
from jaxlm.models.layers import Precision

TOKENS = 200  # new ones, where nobody says how many; chosen: a screen of text
MOST_TOKENS = 2**20  # chosen: beyond any use, so that a slip of a digit is told and not computed
PIECE = 512  # most tokens of a prompt fed at once; chosen: scores are PIECE x slots, not prompt x slots
SHORTEST = 16  # prompts and caches are padded to powers of two from here on, so few programs are compiled


class Model(NamedTuple):
    """What a compiled program depends on; hashable, so that `jax.jit` finds the program again."""

    init_state: Callable | None  # None: it has `read`
    read: Callable | None
    decode: Callable
    reorder: Callable
    head: Callable
    bias: Callable
    softcap: float | None
    precision: Precision
    vocab: int  # ids the tokenizer has; the model may have more
    separator: int
    closing: int  # ends a text as the separator does; another id where a model made elsewhere has two
    start: int  # begins what an encoder-decoder writes; the separator, but for models made elsewhere
    prefix: bool  # the prompt is read from both sides


class Weights(NamedTuple):
    """Parameters as decoding reads them."""

    params: dict
    table_VD: Any  # of the head
    bias_V: Any  # of the logits, or None


class Rows(NamedTuple):
    """Where the rows of a batch stand; donated from step to step."""

    state: Any  # the family's: keys and values of all tokens before `position_B`
    token_B: Any  # int32; the newest token, not yet in `state`
    position_B: Any  # int32; its position
    done_B: Any  # bool; the row has met its separator


def model_of(family: Family, tokenizer: Tokenizer) -> Model:
    assert family.decode is not None
    return Model(
        family.init_state, family.read, family.decode, family.reorder, family.head, family.bias, family.softcap,
        family.precision, tokenizer.vocab, tokenizer.separator, tokenizer.closing, tokenizer.start, family.prefix,
    )  # fmt: skip


class Begun(NamedTuple):
    """A batch of prompts, read."""

    model: Model
    weights: Weights
    ids: list[np.ndarray]  # of the prompts
    rows: Rows  # one for each prompt


def begin(family: Family, params: dict, tokenizer: Tokenizer, prompts: list[str], tokens: int) -> Begun | None:
    """`prompts` read, with room for `tokens` more; None where there are none.

    Raises UserError where prompt and `tokens` do not fit the model's context.
    """
    ids = encoded(family, tokenizer, prompts)
    check(family, tokenizer, ids, tokens)
    if not ids:
        return None
    model = model_of(family, tokenizer)
    weights = as_operands(model, params)
    starts = [np.array([model.start], np.int32)] * len(ids)
    firsts = ids if model.read is None else starts  # what the rows begin with
    slots = padded(max(map(len, firsts)) + tokens - 1, family.length)
    if model.read is None:
        state = empty_state(model, len(firsts), slots)
    else:
        width = padded(max(map(len, ids)), family.source_length)
        state = read(model, weights.params, as_source(ids, width, model.separator), slots)
    return Begun(model, weights, ids, prefill(model, weights, state, firsts, slots))


def encoded(family: Family, tokenizer: Tokenizer, prompts: list[str]) -> list[np.ndarray]:
    """The ids of each prompt, with the separator before it; of an encoder-decoder as those of a source."""
    ids = [np.asarray(tokenizer.encode(prompt), np.int32) for prompt in prompts]
    if family.read is not None:
        return [source_ids(row, tokenizer.separator, tokenizer.start) for row in ids]
    return [np.concatenate([[tokenizer.separator], row]).astype(np.int32) for row in ids]


def default_tokens(family: Family, tokenizer: Tokenizer, prompts: list[str]) -> int:
    """TOKENS, or as many as fit behind the longest prompt; 1, which `check` refuses, where none do."""
    fits = room(family, encoded(family, tokenizer, prompts))
    return TOKENS if fits is None else max(1, min(TOKENS, fits))


def room(family: Family, ids: list[np.ndarray]) -> int | None:
    """New tokens that fit behind the longest prompt: the last one is not fed back; None: any number."""
    longest = 1 if family.read is not None else max(map(len, ids), default=0)
    return None if family.length is None else family.length - longest + 1


def check(family: Family, tokenizer: Tokenizer, ids: list[np.ndarray], tokens: int) -> None:
    """Raise UserError for what the model cannot do."""
    if family.decode is None:
        raise UserError("this model reads a text in both directions, so it cannot write one: generate with a decoder")
    if not 1 <= tokens <= MOST_TOKENS:
        raise UserError(f"tokens={tokens}: ask for 1 to {MOST_TOKENS:,} new tokens")
    if tokenizer.vocab > family.vocab:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab} ids but the model {family.vocab}: "
            f"give the tokenizer that the model was trained with"
        )
    longest, fits = max(map(len, ids), default=0), room(family, ids)
    if family.source_length is not None and longest > family.source_length:
        raise UserError(
            f"the longest prompt has {longest} tokens, with the separators around it, but the model reads at most "
            f"{family.source_length}: shorten it"
        )
    if fits is None or tokens <= fits:
        return
    if family.read is not None:
        raise UserError(f"tokens={tokens}: the model writes at most {fits} tokens, so ask for no more")
    if fits < 1:
        raise UserError(
            f"the longest prompt has {longest} tokens, with the separator before it, and the model's context is "
            f"{family.length} tokens, so no new one fits: shorten the prompt"
        )
    mend = f"ask for at most {fits} new tokens, or shorten the prompt"
    raise UserError(
        f"the longest prompt has {longest} tokens, with the separator before it, and {tokens} new ones are "
        f"asked for, but the model's context is {family.length} tokens: {mend}"
    )


def prefill(model: Model, weights: Weights, state: Any, ids: list[np.ndarray], slots: int) -> Rows:
    """Rows that have taken in their ids but for the last one, which the first step feeds.

    A prompt that is read from both sides goes in as one piece, its last token too: the first step feeds that again,
    and writes over it what is there.
    """
    length_B = np.array([len(row) for row in ids], np.int32)
    fed_B = length_B if model.prefix else length_B - 1
    longest = int(fed_B.max())
    width = min(padded(longest, None if model.prefix else PIECE), slots)
    token_BP = np.full((len(ids), -(-longest // width) * width), model.separator, np.int32)
    for row, of_row, fed in zip(token_BP, ids, fed_B, strict=True):
        row[:fed] = of_row[:fed]
    for start in range(0, token_BP.shape[1], width):
        piece = token_BP[:, start : min(start + width, slots)]
        state = feed(model, weights.params, state, piece, start, fed_B)
    last_B = np.array([row[-1] for row in ids], np.int32)
    return Rows(state, last_B, length_B - 1, np.zeros(len(ids), bool))


def padded(tokens: int, limit: int | None) -> int:
    """The next power of two, at most `limit`."""
    power = max(SHORTEST, 1 << max(tokens - 1, 0).bit_length())
    return power if limit is None else min(power, limit)


def as_operands(model: Model, params: dict) -> Weights:
    """`params` and the table of the head, matrices rounded once as `einsum` would round them at each step.

    A leaf named "w" is nothing but the operand of a product (`models.layers.Einsum` makes them so); the other leaves
    stay as they are. Rounding takes longer than the products of one token do.
    """
    table_VD, bias_V = model.head(params), model.bias(params)
    if model.precision == "float32":
        return Weights(params, table_VD, bias_V)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
    leaves = {name(path): x for path, x in jax.tree_util.tree_leaves_with_path(params)}
    matrices = {key: x for key, x in leaves.items() if key.split("/")[-1] == "w"}
    rounded, table_VD = round_matrices(matrices, table_VD)
    params = jax.tree_util.tree_map_with_path(lambda path, x: rounded.get(name(path), x), params)
    return Weights(params, table_VD, bias_V)


@jax.jit
def round_matrices(matrices: dict, table_VD: Array) -> tuple[dict, Array]:
    """Only what changes: whatever a compiled function returns as it came is copied."""
    return jax.tree.map(lambda x: x.astype(jnp.bfloat16), matrices), table_VD.astype(jnp.bfloat16)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def empty_state(model: Model, rows: int, slots: int):
    assert model.init_state is not None
    return model.init_state(rows, slots)


@functools.partial(jax.jit, static_argnums=(0, 3))
def read(model: Model, params: dict, source: Source, slots: int):
    """The state of rows that have read their sources and written nothing."""
    assert model.read is not None
    return model.read(params, source, slots)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def feed(
    model: Model, params: dict, state, token_BL: Int[Array, "B L"], start: Int[Array, ""], length_B: Int[Array, "B"]
):
    """The state after tokens at positions `start` and on, those under `length_B`; nothing is predicted from them."""
    position_BL = jnp.broadcast_to(start + jnp.arange(token_BL.shape[1])[None], token_BL.shape)
    return model.decode(params, token_BL, position_BL, position_BL < length_B[:, None], state)[1]
