"""From prompts to completions: one token a step from a cache of keys and values, drawn or the likeliest.

Left out: speculative decoding.
"""

import collections
import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxlm.generation.prompts import Model, Rows, Weights, begin
from jaxlm.generation.sampling import SamplingConfig, sample
from jaxlm.generation.text import Completion, Text, Tokenizer
from jaxlm.losses import soft_cap
from jaxlm.models.family import Family
from jaxlm.models.layers import einsum, exact

STEPS = 16  # most steps in one dispatch; chosen: the host's share vanishes, and a row that ends waits little


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
    begun = begin(family, params, tokenizer, prompts, tokens)
    if begun is None:
        return []
    model, weights, ids, rows = begun
    keys_B = row_keys(seed, ids)
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


def row_keys(seed: int, ids: list[np.ndarray]) -> jax.Array:
    """A key for each row from its prompt and, among equal prompts, its turn."""
    seen: collections.Counter[int] = collections.Counter()
    turns, hashes = [], [zlib.crc32(row.tobytes()) for row in ids]
    for digest in hashes:
        turns.append(seen[digest])
        seen[digest] += 1
    key = jax.random.key(seed)
    of_row = lambda digest, turn: jax.random.fold_in(jax.random.fold_in(key, digest), turn)
    return jax.vmap(of_row)(np.array(hashes, np.uint32), np.array(turns, np.uint32))


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
        logits_BV, state = next_logits(model, weights, rows)
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


def next_logits(model: Model, weights: Weights, rows: Rows) -> tuple[Float[Array, "B V"], Any]:
    """Logits of the token after each row's newest, and the state with that newest one in it."""
    hidden_BLD, state = model.decode(
        weights.params, rows.token_B[:, None], rows.position_B[:, None], ~rows.done_B[:, None], rows.state
    )
    # Without the dimension of length XLA's CPU compiler takes a rounded table as it lies, and does not turn it first.
    logits_BV = einsum("BD,VD->BV", hidden_BLD[:, 0], weights.table_VD, exact(model.precision))
    logits_BV = logits_BV if weights.bias_V is None else logits_BV + weights.bias_V[None]
    return soft_cap(logits_BV, model.softcap), state


def read(waiting, texts: list[Text]) -> None:
    """Wait for the tokens of a dispatch and hand them to their rows."""
    if waiting is None:
        return
    (token_BS, nats_BS), steps = jax.device_get(waiting)
    for text, row, nats in zip(texts, token_BS.tolist(), nats_BS.tolist(), strict=True):
        text.add(row[:steps], nats[:steps])
