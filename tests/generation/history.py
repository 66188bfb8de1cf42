"""A model that can be checked by hand: its state is one number a row, in which every token leaves a trace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.models.family import Family

FADES = 0.6  # of the trace, with each token


def history(vocab: int, reads: bool = False, **more) -> Family:
    """Logits are a row of `table`, chosen by the newest token, and the trace times `weight`.

    With `reads` it is an encoder-decoder, and its trace begins as what the source left.
    """

    def read(params, source, slots):
        left_BM = params["mark"][source.token] * jnp.cos(source.position.astype(jnp.float32))
        return {"trace": jnp.where(source.segment > 0, left_BM, 0.0).sum(1)}

    def decode(params, token_BL, position_BL, real_BL, state):
        def step(trace_B, at):
            token_B, real_B = at
            trace_B = jnp.where(real_B, FADES * trace_B + params["mark"][token_B], trace_B)
            return trace_B, jnp.concatenate([jax.nn.one_hot(token_B, vocab), trace_B[:, None]], axis=-1)

        trace_B, hidden_LBD = jax.lax.scan(step, state["trace"], (token_BL.T, real_BL.T))
        return jnp.swapaxes(hidden_LBD, 0, 1), {"trace": trace_B}

    return Family(
        init=functools.partial(parameters, vocab),
        axes={},
        apply=lambda *_: (_ for _ in ()).throw(NotImplementedError),
        head=lambda params: jnp.concatenate([params["table"].T, params["weight"][:, None]], axis=1),
        vocab=vocab,
        precision="float32",
        flops_per_token=lambda length: 0.0,
        init_state=None if reads else lambda rows, slots: {"trace": jnp.zeros(rows)},
        read=read if reads else None,
        decode=decode,
        **more,
    )


def parameters(vocab: int, key) -> dict:
    a, b, c = jax.random.split(key, 3)
    return {
        "table": jax.random.normal(a, (vocab, vocab)),
        "weight": jax.random.normal(b, (vocab,)),
        "mark": jax.random.normal(c, (vocab,)),
    }


def log_probabilities(params: dict, ids: list[int], trace: float = 0.0) -> np.ndarray:
    """Of the token after `ids`, spelled out; `trace` is what there was before them."""
    table, weight, mark = (np.asarray(params[name], np.float64) for name in ("table", "weight", "mark"))
    for token in ids:
        trace = FADES * trace + mark[token]
    logits = table[ids[-1]] + trace * weight
    return logits - np.log(np.exp(logits).sum())


def of_source(params: dict, ids: list[int]) -> float:
    """The trace that a source leaves."""
    return float(sum(np.asarray(params["mark"], np.float64)[token] * np.cos(n) for n, token in enumerate(ids)))
