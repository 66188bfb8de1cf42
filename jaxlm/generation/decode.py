"""From prompts to completions: prefill, then one token a step from a cache of keys and values.

A prompt is the separator and its text; token number p of a row has position p and lies in slot p of the
cache. Prompts of a batch are padded on the right. A query sees no slot after its own position, and
decoding writes each slot before it reaches it, so no padded token is ever seen.

Left out: prompts over several processes, speculative decoding, paged caches.
"""

import collections
import functools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jaxlm.errors import UserError
from jaxlm.generation.sampling import SamplingConfig, sample
from jaxlm.generation.text import Completion, Text, Tokenizer
from jaxlm.losses import soft_cap
from jaxlm.models.family import Family
from jaxlm.models.layers import Precision, einsum, exact

TOKENS = 200  # new ones, where nobody says how many; chosen: a screen of text
STEPS = 16  # most steps in one dispatch; chosen: the host's share vanishes, and a row that ends waits little
PIECE = 512  # most tokens of a prompt fed at once; chosen: scores are PIECE x slots, not prompt x slots
SHORTEST = 16  # prompts and caches are padded to powers of two from here on, so few programs are compiled


class Model(NamedTuple):
    """What a compiled program depends on; hashable, so that `jax.jit` finds the program again."""

    init_state: Callable
    decode: Callable
    head: Callable
    bias: Callable
    softcap: float | None
    precision: Precision
    vocab: int  # ids the tokenizer has; the model may have more
    separator: int
    closing: int  # ends a text as the separator does; another id where a model made elsewhere has two


class Weights(NamedTuple):
    """Parameters as decoding reads them."""

    params: dict
    table_DV: Any  # of the head; as V D, XLA's CPU compiler would transpose it, in bfloat16, at each dispatch
    bias_V: Any  # of the logits, or None


class Rows(NamedTuple):
    """Where the rows of a batch stand; donated from step to step."""

    state: Any  # the family's: keys and values of all tokens before `position_B`
    token_B: Any  # int32; the newest token, not yet in `state`
    position_B: Any  # int32; its position
    done_B: Any  # bool; the row has met its separator


def generate(
    family: Family,
    params: dict,
    tokenizer: Tokenizer,
    prompts: list[str],
    cfg: SamplingConfig,
    *,
    tokens: int,
    seed: int,
    on_text: Callable[[int, str], None] | None = None,
) -> list[Completion]:
    """Continue each prompt by at most `tokens` tokens, up to the separator; all prompts are one batch.

    `on_text(row, piece)` gets the text as it comes, whole characters only. A row's text depends on `seed`,
    its prompt and the number of rows above with that same prompt, not on the rest of the batch (but for
    rounding: products of other row counts have other last bits). Raises UserError where prompt and `tokens`
    do not fit the model's context, Diverged where its logits are not finite.
    """
    ids = encoded(tokenizer, prompts)
    check(family, tokenizer, ids, tokens)
    if not ids:
        return []
    assert family.init_state is not None and family.decode is not None
    model = Model(
        family.init_state, family.decode, family.head, family.bias, family.softcap, family.precision,
        tokenizer.vocab, tokenizer.separator, tokenizer.closing,
    )  # fmt: skip
    weights = as_operands(model, params)
    # XLA's CPU compiler has no product of a single bfloat16 row: each dispatch would turn all weights into
    # float32. So a lone prompt gets an idle row beside it.
    idle = int(len(ids) == 1 and model.precision == "bfloat16_operands")
    rows = prefill(model, weights, ids, idle, tokens, family.length)
    keys_B = row_keys(seed, ids, idle)
    show = on_text or (lambda row, piece: None)
    texts = [Text(tokenizer, functools.partial(show, row)) for row in range(len(ids))]
    stride = 1 if on_text else STEPS
    waiting = None
    for start in range(0, tokens, stride):
        steps = min(stride, tokens - start)
        rows, new = advance(model, cfg, weights, keys_B, rows, steps)
        read(waiting, texts)  # of the dispatch before: the device works on meanwhile
        waiting = new, steps
        if all(text.stopped for text in texts):
            break
    read(waiting, texts)
    return [text.completion(prompt) for text, prompt in zip(texts, prompts, strict=True)]


def encoded(tokenizer: Tokenizer, prompts: list[str]) -> list[np.ndarray]:
    """The ids of each prompt, with the separator before it."""
    return [np.concatenate([[tokenizer.separator], tokenizer.encode(p)]).astype(np.int32) for p in prompts]


def default_tokens(family: Family, tokenizer: Tokenizer, prompts: list[str]) -> int:
    """TOKENS, or as many as fit behind the longest prompt; 1, which `check` refuses, where none do."""
    longest = max(map(len, encoded(tokenizer, prompts)), default=0)
    return TOKENS if family.length is None else max(1, min(TOKENS, room(family.length, longest)))


def room(context: int, longest: int) -> int:
    """New tokens that fit behind a prompt of `longest` ids: the last one is not fed back."""
    return context - longest + 1


def check(family: Family, tokenizer: Tokenizer, ids: list[np.ndarray], tokens: int) -> None:
    """Raise UserError for what the model cannot do."""
    if family.decode is None:
        raise UserError("this model reads a text in both directions, so it cannot write one: generate with a decoder")
    if tokens < 1:
        raise UserError(f"tokens={tokens}: ask for at least one new token")
    if tokenizer.vocab > family.vocab:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab} ids but the model {family.vocab}: "
            f"give the tokenizer that the model was trained with"
        )
    longest = max(map(len, ids), default=0)
    if family.length is None or tokens <= room(family.length, longest):
        return
    fits = room(family.length, longest)
    mend = f"ask for at most {fits} new tokens, or shorten the prompt" if fits > 0 else "shorten the prompt"
    raise UserError(
        f"the longest prompt has {longest} tokens, with the separator before it, and {tokens} new ones are "
        f"asked for, but the model's context is {family.length} tokens: {mend}"
    )


def row_keys(seed: int, ids: list[np.ndarray], idle: int) -> jax.Array:
    """A key for each row from its prompt and, among equal prompts, its turn; any key for idle rows."""
    seen: collections.Counter[int] = collections.Counter()
    turns, hashes = [], [zlib.crc32(row.tobytes()) for row in ids] + [0] * idle
    for digest in hashes:
        turns.append(seen[digest])
        seen[digest] += 1
    key = jax.random.key(seed)
    of_row = lambda digest, turn: jax.random.fold_in(jax.random.fold_in(key, digest), turn)
    return jax.vmap(of_row)(np.array(hashes, np.uint32), np.array(turns, np.uint32))


def prefill(model: Model, weights: Weights, ids: list[np.ndarray], idle: int, tokens: int, limit: int | None) -> Rows:
    """Rows that have read their prompts but for the last token, which the first step feeds; and idle ones."""
    length_B = np.array([len(row) for row in ids] + [1] * idle, np.int32)
    longest = int(length_B.max())
    slots = padded(longest + tokens - 1, limit)
    width = min(padded(longest - 1, PIECE), slots)
    token_BP = np.full((len(length_B), -(-(longest - 1) // width) * width), model.separator, np.int32)
    last_B = np.full(len(length_B), model.separator, np.int32)
    for n, row in enumerate(ids):
        token_BP[n, : len(row) - 1] = row[:-1]
        last_B[n] = row[-1]
    state = empty_state(model, len(length_B), slots)
    for start in range(0, token_BP.shape[1], width):
        piece = token_BP[:, start : min(start + width, slots)]
        state = feed(model, weights.params, state, piece, start, length_B - 1)
    return Rows(state, last_B, length_B - 1, np.arange(len(length_B)) >= len(ids))


def padded(tokens: int, limit: int | None) -> int:
    """The next power of two, at most `limit`."""
    power = max(SHORTEST, 1 << max(tokens - 1, 0).bit_length())
    return power if limit is None else min(power, limit)


@functools.partial(jax.jit, static_argnums=0)
def as_operands(model: Model, params: dict) -> Weights:
    """`params` and the table of the head, matrices rounded once as `einsum` would round them at each step.

    A leaf named "w" is nothing but the operand of a product (`models.layers.Einsum` makes them so); the other leaves
    stay as they are. Rounding takes longer than the products of one token do.
    """
    if model.precision == "float32":
        return Weights(params, model.head(params).T, model.bias(params))
    is_matrix = lambda path: jax.tree_util.keystr(path[-1:], simple=True) == "w"
    rounded = lambda path, x: x.astype(jnp.bfloat16) if is_matrix(path) else x
    table_DV = model.head(params).T.astype(jnp.bfloat16)
    return Weights(jax.tree_util.tree_map_with_path(rounded, params), table_DV, model.bias(params))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def empty_state(model: Model, rows: int, slots: int):
    return model.init_state(rows, slots)


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def feed(
    model: Model, params: dict, state, token_BL: Int[Array, "B L"], start: Int[Array, ""], length_B: Int[Array, "B"]
):
    """The state after tokens at positions `start` and on, those under `length_B`; nothing is predicted from them."""
    position_BL = jnp.broadcast_to(start + jnp.arange(token_BL.shape[1])[None], token_BL.shape)
    return model.decode(params, token_BL, position_BL, position_BL < length_B[:, None], state)[1]


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=4)
def advance(
    model: Model,
    cfg: SamplingConfig,
    weights: Weights,
    keys_B: Key[Array, "B"],
    rows: Rows,
    steps: Int[Array, ""],
):
    """`steps` tokens more (at most STEPS, fewer where all rows are done) and their log-probabilities.

    `steps` is a value and not a shape: streaming by single tokens runs the same program.
    """
    B = rows.token_B.shape[0]

    def step(going):
        n, rows, token_BS, nats_BS = going
        hidden_BLD, state = model.decode(
            weights.params, rows.token_B[:, None], rows.position_B[:, None], ~rows.done_B[:, None], rows.state
        )
        logits_BLV = einsum("BLD,DV->BLV", hidden_BLD, weights.table_DV, exact(model.precision))
        logits_BLV = logits_BLV if weights.bias_V is None else logits_BLV + weights.bias_V[None, None]
        logits_BV = soft_cap(logits_BLV, model.softcap)[:, 0]
        now_B = jax.vmap(jax.random.fold_in)(keys_B, rows.position_B)
        token_B = sample(logits_BV, now_B, cfg, vocab=model.vocab)
        token_B = jnp.where(rows.done_B, model.separator, token_B)
        of_token_B = jnp.take_along_axis(logits_BV, token_B[:, None], axis=-1)[:, 0]
        if model.closing != model.separator:
            token_B = jnp.where(token_B == model.closing, model.separator, token_B)
        token_BS = token_BS.at[:, n].set(token_B)
        nats_BS = nats_BS.at[:, n].set(of_token_B - jax.nn.logsumexp(logits_BV, axis=-1))
        # A row that is done stays at its position, within its slots, while others go on.
        position_B = rows.position_B + ~rows.done_B
        done_B = rows.done_B | (token_B == model.separator)
        return n + 1, Rows(state, token_B, position_B, done_B), token_BS, nats_BS

    more = lambda going: (going[0] < steps) & ~going[1].done_B.all()
    empty = jnp.full((B, STEPS), model.separator, jnp.int32), jnp.zeros((B, STEPS))
    _, rows, token_BS, nats_BS = jax.lax.while_loop(more, step, (0, rows, *empty))
    return rows, (token_BS, nats_BS)


def read(waiting, texts: list[Text]) -> None:
    """Wait for the tokens of a dispatch and hand them to their rows."""
    if waiting is None:
        return
    (token_BS, nats_BS), steps = jax.device_get(waiting)
    for text, row, nats in zip(texts, token_BS.tolist(), nats_BS.tolist(), strict=False):  # idle rows have none
        text.add(row[:steps], nats[:steps])
