"""Recurrent language models: Elman networks, LSTM, GRU, minGRU and minLSTM, with AWD-LSTM's regularisers.

Their config is in recurrent_config.py, a layer in recurrent_layer.py, masks and penalties in regularise.py; here they
are put together. Activations lie position first inside, "L B D", as the loops over positions read them.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxlm.batch import Batch
from jaxlm.mesh import constrain, whole_rows
from jaxlm.models.cells import CELLS, LINEAR
from jaxlm.models.family import SAMPLE, Family, Hidden, Setting, parameters, tokens
from jaxlm.models.heads import answer, bias_of, table_of, weights_of_tokens
from jaxlm.models.layers import Noise, activation_dtype, parameter, resolve_precision
from jaxlm.models.recurrence_choice import Case, announce, choose
from jaxlm.models.recurrence_cudnn import has_cudnn
from jaxlm.models.recurrent_config import RecurrentConfig, Spec
from jaxlm.models.recurrent_layer import Layer, Seen
from jaxlm.models.regularise import penalty, vary, word_dropout


class Recurrent(nn.Module):
    """Tokens and the state before them -> hidden states and the state after."""

    spec: Spec

    @nn.compact
    def __call__(self, batch: Batch, noise: Noise | None = None, carry: dict | None = None):
        s, c = self.spec, self.spec.cfg
        D = c.embedding or c.width
        carry = empty_carry(s, batch.token.shape[0]) if carry is None else carry
        std = D**-0.5 if c.tied else 1.0  # a head wants small rows, an input does not
        table_VD = parameter(self, "embedding", nn.initializers.normal(std), (s.vocab, D), ("vocab", "width"))
        last = c.widths(c.layers - 1)[1] * c.directions
        writes = s.head.kind == "tokens"
        if writes and not c.tied:
            parameter(self, "head", nn.initializers.normal(last**-0.5), (s.vocab, last), ("vocab", "width"))
        if writes and c.bias:
            parameter(self, "head_b", nn.initializers.zeros, (s.vocab,), ("vocab",))
        seen = self.seen(batch, noise)
        table_VD = whole_rows(table_VD)
        x_LBD = word_dropout(table_VD, c.word_dropout, noise, c.layers)[batch.token.T]
        x_LBD = constrain(x_LBD.astype(activation_dtype(s.precision)), ("length", "batch", "act_width"))
        x_LBD = vary(x_LBD, c.input_dropout, noise, c.layers)
        after = {}
        for n in range(c.layers):
            outputs = []
            for reverse in (False, True)[: c.directions]:
                name = f"layer_{n}" + ("_reverse" if reverse else "")
                state = tuple(carry[name][part] for part in CELLS[c.cell].states)
                y_LBH, state = Layer(s, n, reverse, name=name)(x_LBD, seen, state)
                after[name] = dict(zip(CELLS[c.cell].states, state, strict=True))
                outputs.append(y_LBH.astype(x_LBD.dtype))
            raw_LBD = outputs[0] if c.directions == 1 else jnp.concatenate(outputs, axis=-1)
            rate = c.hidden_dropout if n < c.layers - 1 else c.dropout
            x_LBD = vary(raw_LBD, rate, noise, n)
        total = 0.0
        if noise is not None:
            weighed = batch._replace(weight=weights_of_tokens(s.head, batch))
            total = penalty(weighed, x_LBD, raw_LBD, c.activation_penalty, c.temporal_penalty)
        array = answer(self, s.head, jnp.swapaxes(x_LBD, 0, 1), batch, last**-0.5, s.precision)
        return array, after, total

    def seen(self, batch: Batch, noise: Noise | None) -> Seen:
        begins_BL = batch.position == 0
        real_BL = batch.segment > 0
        ends_BL = jnp.concatenate([begins_BL[:, 1:] | ~real_BL[:, 1:], jnp.ones_like(begins_BL[:, :1])], axis=1)
        still_LB = ~real_BL.T if self.spec.packed else None
        return Seen((begins_BL & real_BL).T, (ends_BL & real_BL).T, still_LB, noise)


def empty_carry(spec: Spec, rows: int) -> dict:
    """The state of each layer before any token."""
    c = spec.cfg
    carry = {}
    for n in range(c.layers):
        H, P = c.widths(n)
        state = {name: jnp.zeros((rows, P if name == "h" else H)) for name in CELLS[c.cell].states}
        for suffix in ("", "_reverse")[: c.directions]:
            carry[f"layer_{n}{suffix}"] = state
    return carry


def flops_per_token(spec: Spec) -> float:
    """Operations of a training step for each token: 6 for each weight in a product, the head's included."""
    c, weights = spec.cfg, 0
    D, J = c.embedding or c.width, CELLS[c.cell].gates
    for n in range(c.layers):
        H, P = c.widths(n)
        recurrent = 0 if c.cell in LINEAR else P * J * H
        weights += c.directions * (D * J * H + recurrent + (H * P if c.projection else 0))
        D = P * c.directions
    return 6.0 * (weights + (spec.vocab * D if spec.head.kind == "tokens" else 0))


def family(cfg: RecurrentConfig, setting: Setting) -> Family:
    precision = resolve_precision(cfg.precision, setting.platform)
    cudnn = setting.platform == "gpu" and has_cudnn()
    choice = choose(
        Case(setting.platform, cfg.cell, precision, setting.packed, cfg.projection, cudnn=cudnn), cfg.backend
    )
    announce(choice)
    spec = Spec(cfg, setting.vocab, precision, setting.packed, setting.head, choice.name)
    writes = setting.head.kind == "tokens" and not cfg.bidirectional
    module, decoder = Recurrent(spec), Recurrent(spec._replace(packed=True, loop="scan"))
    init, axes = parameters(decoder, SAMPLE)  # the same ones, without asking a GPU for one position

    def apply(params, batch, noise=None, carry=()):
        out: Any = module.apply({"params": params}, batch, noise, carry or None)
        return Hidden(*out)

    def decode(params, token_BL, position_BL, real_BL, state):
        out: Any = decoder.apply({"params": params}, tokens(token_BL, position_BL, real_BL), None, state)
        return out[:2]

    return Family(
        init=init,
        axes=axes,
        apply=apply,
        head=table_of(setting.head, "embedding" if cfg.tied else "head"),
        bias=bias_of(setting.head, "head_b" if cfg.bias else None),
        init_state=(lambda rows, slots: empty_carry(spec, rows)) if writes else None,
        decode=decode if writes else None,
        carry=functools.partial(empty_carry, spec),
        vocab=setting.vocab,
        precision=spec.precision,
        flops_per_token=lambda length: flops_per_token(spec),
    )
