"""Recurrent language models: Elman networks, LSTM, GRU, minGRU and minLSTM, with AWD-LSTM's regularisers.

Cells as PyTorch documents them, so its weights fit (interop/); minGRU and minLSTM by Feng et al. 2024
(arXiv:2410.01201); regularisers by Merity et al. 2018 (arXiv:1708.02182). Activations lie position first inside,
"L B D", as the loops read them. Left out: peepholes, layer norm inside cells.
"""

import functools
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.models.family import SAMPLE, Family, Head, Hidden, Setting, parameters, tokens
from jaxlm.models.heads import answer, bias_of, table_of, weights_of_tokens
from jaxlm.models.layers import Einsum, Noise, Precision, activation_dtype, dropout, parameter, resolve_precision
from jaxlm.models.recurrence import State, Step, linear_recurrence, product, recurrence, scan_cell

CellName = Literal["tanh", "relu", "lstm", "gru", "gru_before", "mingru", "minlstm"]
_Rate = pydantic.Field(default=0.0, ge=0, lt=1)


class RecurrentConfig(Config):
    kind: Literal["recurrent"] = "recurrent"
    # gru: reset after the product, as PyTorch and cuDNN; gru_before: as in Cho et al. 2014 (arXiv:1406.1078).
    cell: CellName = "lstm"
    layers: int = pydantic.Field(default=2, gt=0)
    width: int = pydantic.Field(gt=0)  # of the state
    embedding: int | None = pydantic.Field(default=None, gt=0)  # width of the table; None: width
    vocab: int | None = pydantic.Field(default=None, gt=0)  # None: the tokenizer's
    # The head is the embedding, and the last layer as wide (Press & Wolf 2017, arXiv:1608.05859).
    tied: bool = True
    projection: int | None = pydantic.Field(default=None, gt=0)  # LSTM: width of h (Sak et al. 2014, arXiv:1402.1128)
    bidirectional: bool = False  # for encoders: each layer also reads from the end, and hands on both
    bias: bool = True
    dropout: float = _Rate  # of what the head reads; one mask for all positions, as the next two
    input_dropout: float = _Rate  # of embedded words
    hidden_dropout: float = _Rate  # between layers
    word_dropout: float = _Rate  # of whole rows of the embedding: a word is gone wherever it stands in the batch
    weight_drop: float = _Rate  # of recurrent weights, one mask for the whole batch and all positions
    activation_penalty: float = pydantic.Field(default=0.0, ge=0)  # times the mean square of what the head reads
    temporal_penalty: float = pydantic.Field(default=0.0, ge=0)  # times the mean square of the change of h
    precision: Precision | Literal["auto"] = "auto"

    @pydantic.model_validator(mode="after")
    def _parts_agree(self):
        if self.projection is not None and self.cell != "lstm":
            raise ValueError(f"model.projection={self.projection} is for LSTM, and model.cell={self.cell!r}")
        if self.weight_drop and self.cell in LINEAR:
            raise ValueError(
                f"model.weight_drop={self.weight_drop} drops recurrent weights, and model.cell={self.cell!r} has none"
            )
        if self.bidirectional and self.tied:
            raise ValueError(
                "model.bidirectional=True makes the last layer twice as wide as the embedding: set model.tied=False"
            )
        return self

    @property
    def causal(self) -> bool:
        """Does a token see none after it, so that the next one can be asked for?"""
        return not self.bidirectional

    @property
    def noisy(self) -> bool:
        """Is training not what evaluation is: with random masks, or penalties?"""
        rates = self.dropout, self.input_dropout, self.hidden_dropout, self.word_dropout, self.weight_drop
        return any(rates) or self.activation_penalty > 0 or self.temporal_penalty > 0

    def widths(self, layer: int) -> tuple[int, int]:
        """(state, output of one direction) of a layer."""
        last = layer == self.layers - 1
        state = self.embedding if self.tied and last and self.embedding and not self.projection else self.width
        if self.projection:
            return state, (self.embedding or self.width) if self.tied and last else self.projection
        return state, state

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1


class Cell(NamedTuple):
    gates: int  # outputs of the input's product, each as wide as the state
    step: Step | None  # None: not a cell whose one product is h @ w
    states: tuple[str, ...] = ("h",)


def split(z: Array, gates: int) -> list[Array]:
    return jnp.split(z, gates, axis=-1)


def lstm(x: Array, r: Array, state: State) -> State:
    """Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; gates i, f, g, o."""
    i, f, g, o = split(x + r, 4)
    c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def gru(x: Array, r: Array, state: State) -> State:
    """Cho et al. 2014, but with the reset after the product, as cuDNN; gates r, z, n."""
    (x_r, x_z, x_n), (r_r, r_z, r_n) = split(x, 3), split(r, 3)
    z = jax.nn.sigmoid(x_z + r_z)
    n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + r_r) * r_n)
    return (n + z * (state[0] - n),)


CELLS = {
    "tanh": Cell(1, lambda x, r, state: (jnp.tanh(x + r),)),
    "relu": Cell(1, lambda x, r, state: (jax.nn.relu(x + r),)),
    "lstm": Cell(4, lstm, ("h", "c")),
    "gru": Cell(3, gru),
    "gru_before": Cell(3, None),
    "mingru": Cell(2, None),
    "minlstm": Cell(3, None),
}
LINEAR = ("mingru", "minlstm")


def positive(x: Array) -> Array:
    """What minGRU's candidate state goes through, so that it stays positive (arXiv:2410.01201, appendix B.2)."""
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


def linear_gates(cell: CellName, x: Array) -> tuple[Array, Array]:
    """(a, b) of h[t] = a h[t - 1] + b."""
    if cell == "mingru":
        z, h = split(x, 2)
        return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * positive(h)
    f, i, h = split(x, 3)
    # sigmoid(f) / (sigmoid(f) + sigmoid(i)), by the difference of their logarithms: nothing is divided by 0.
    more = jax.nn.softplus(-f) - jax.nn.softplus(-i)
    return jax.nn.sigmoid(-more), jax.nn.sigmoid(more) * positive(h)


class Seen(NamedTuple):
    """What a layer needs beside activations."""

    fresh_LB: Array  # a document begins here
    last_LB: Array  # a document ends here: where reading from the end begins
    still_LB: Array | None  # padding; None: there is none
    noise: Noise | None


class Spec(NamedTuple):
    """A config and what only a run knows, hashable."""

    cfg: RecurrentConfig
    vocab: int
    precision: Precision
    packed: bool  # rows hold several documents, or padding
    head: Head = Head()


class Layer(nn.Module):
    """One direction of one layer."""

    spec: Spec
    number: int
    reverse: bool

    @nn.compact
    def __call__(self, x_LBD, seen: Seen, state: State):
        c, p = self.spec.cfg, self.spec.precision
        cell = CELLS[c.cell]
        H, P = c.widths(self.number)
        D, J = x_LBD.shape[-1], cell.gates
        std = (3 * H) ** -0.5  # that of `uniform(H)`
        x_LBJH = Einsum("LBD,DJH->LBJH", (D, J, H), ("state_in", "gate", "state"), p, std, name="input")(x_LBD)
        if c.bias:
            x_LBJH += parameter(self, "b", self.initial_bias, (J, H), ("gate", "state"))[None, None]
        x_LBZ = x_LBJH.reshape(*x_LBJH.shape[:2], J * H).astype(jnp.float32)
        fresh_LB = seen.last_LB if self.reverse else seen.fresh_LB
        if c.cell in LINEAR:
            return self.linear(x_LBZ, fresh_LB, seen.still_LB, state)
        w_PZ = parameter(self, "w", uniform(H), (P, J, H), ("state_in", "gate", "state")).reshape(P, J * H)
        if seen.noise is not None and c.weight_drop:
            key = jax.random.fold_in(seen.noise.step, 2 * self.number + self.reverse)
            w_PZ = jnp.where(jax.random.bernoulli(key, 1 - c.weight_drop, w_PZ.shape), w_PZ / (1 - c.weight_drop), 0.0)
        flags = fresh_LB, seen.still_LB
        if c.cell == "gru_before":
            return scan_cell(functools.partial(self.gru_before, w_PZ), x_LBZ, state, *flags, reverse=self.reverse)
        if c.projection:
            down = parameter(self, "projection", uniform(H), (H, P), ("state", "state_in"))
            step = functools.partial(self.projected, w_PZ, down)
            return scan_cell(step, x_LBZ, state, *flags, reverse=self.reverse)
        bias_Z = None
        if c.cell == "gru" and c.bias:  # the candidate's own, inside the reset
            bias_H = parameter(self, "candidate_b", nn.initializers.zeros, (H,), ("state",))
            bias_Z = jnp.concatenate([jnp.zeros(2 * H), bias_H])
        assert cell.step is not None
        return recurrence(cell.step, x_LBZ, w_PZ, bias_Z, state, *flags, precision=p, reverse=self.reverse)

    def initial_bias(self, key, shape, dtype):
        """Zeros; a forget gate starts open, at 1 (Jozefowicz et al. 2015, section 2.2)."""
        forgets = self.spec.cfg.cell == "lstm"
        return jnp.zeros(shape, dtype).at[1].set(1.0) if forgets else jnp.zeros(shape, dtype)

    def product(self, h, w):
        return product("BH,HZ->BZ", h, w, self.spec.precision)

    def gru_before(self, w_PZ, x, state: State) -> State:
        (x_r, x_z, x_n), (h,) = split(x, 3), state
        w_r, w_z, w_n = split(w_PZ, 3)
        r, z = jax.nn.sigmoid(x_r + self.product(h, w_r)), jax.nn.sigmoid(x_z + self.product(h, w_z))
        n = jnp.tanh(x_n + self.product(r * h, w_n))
        return (n + z * (h - n),)

    def projected(self, w_PZ, down_HP, x, state: State) -> State:
        h, c = lstm(x, self.product(state[0], w_PZ), state)
        return self.product(h, down_HP), c

    def linear(self, x_LBZ, fresh_LB, still_LB, state: State):
        a_LBH, b_LBH = linear_gates(self.spec.cfg.cell, x_LBZ)
        a_LBH = jnp.where(fresh_LB[..., None], 0.0, a_LBH)
        if still_LB is not None:
            a_LBH = jnp.where(still_LB[..., None], 1.0, a_LBH)
            b_LBH = jnp.where(still_LB[..., None], 0.0, b_LBH)
        turn = (lambda x: jnp.flip(x, 0)) if self.reverse else (lambda x: x)
        h_LBH = linear_recurrence(turn(a_LBH), turn(b_LBH), state[0])
        return turn(h_LBH), (h_LBH[-1],)


def uniform(width: int):
    """Between +-1/sqrt(width), as PyTorch begins."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -(width**-0.5), width**-0.5)


class Recurrent(nn.Module):
    """Tokens and the state before them -> hidden states and the state after."""

    spec: Spec

    @nn.compact
    def __call__(self, batch: Batch, noise: Noise | None = None, carry: dict | None = None):
        s, c = self.spec, self.spec.cfg
        D = c.embedding or c.width
        carry = empty_carry(s, batch.token.shape[0]) if carry is None else carry
        table_VD = parameter(self, "embedding", nn.initializers.normal(D**-0.5), (s.vocab, D), ("vocab", "width"))
        last = c.widths(c.layers - 1)[1] * c.directions
        writes = s.head.kind == "tokens"
        if writes and not c.tied:
            parameter(self, "head", uniform(last), (s.vocab, last), ("vocab", "width"))
        if writes and c.bias:
            parameter(self, "head_b", nn.initializers.zeros, (s.vocab,), ("vocab",))
        seen = self.seen(batch, noise)
        x_LBD = word_dropout(table_VD, c.word_dropout, noise, c.layers)[batch.token.T]
        x_LBD = x_LBD.astype(activation_dtype(s.precision))
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
        array = answer(self, s.head, jnp.swapaxes(x_LBD, 0, 1), batch, last**-0.5, s.precision)
        return array, after, self.penalty(batch, x_LBD, raw_LBD) if noise is not None else 0.0

    def seen(self, batch: Batch, noise: Noise | None) -> Seen:
        begins_BL = batch.position == 0
        real_BL = batch.segment > 0
        ends_BL = jnp.concatenate([begins_BL[:, 1:] | ~real_BL[:, 1:], jnp.ones_like(begins_BL[:, :1])], axis=1)
        still_LB = ~real_BL.T if self.spec.packed else None
        return Seen((begins_BL & real_BL).T, (ends_BL & real_BL).T, still_LB, noise)

    def penalty(self, batch: Batch, x_LBD, raw_LBD):
        """Activation and temporal activation regularisation (Merity et al. 2017, arXiv:1708.01009), over tokens."""
        c, total = self.spec.cfg, jnp.zeros(())
        weight_LB, square = (
            weights_of_tokens(self.spec.head, batch).T,
            lambda x: jnp.square(x.astype(jnp.float32)).mean(-1),
        )
        if c.activation_penalty:
            total += c.activation_penalty * (weight_LB * square(x_LBD)).sum()
        if c.temporal_penalty:
            goes_on_LB = weight_LB[1:] * (batch.position.T[1:] > 0)
            total += c.temporal_penalty * (goes_on_LB * square(raw_LBD[1:] - raw_LBD[:-1])).sum()
        return total


def vary(x_LBD: Array, rate: float, noise: Noise | None, site: int) -> Array:
    """Variational dropout: one mask for all positions of a row (Gal & Ghahramani 2016, arXiv:1512.05287)."""
    if noise is None or not rate:
        return x_LBD
    return jnp.swapaxes(dropout(jnp.swapaxes(x_LBD, 0, 1), rate, noise, site, over=(1,)), 0, 1)


def word_dropout(table_VD: Array, rate: float, noise: Noise | None, site: int) -> Array:
    """`table` with whole words zeroed and the others scaled (Gal & Ghahramani 2016), the same for all rows."""
    if noise is None or not rate:
        return table_VD
    key = jax.random.fold_in(noise.step, 2 * site)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, (len(table_VD), 1)), table_VD / (1 - rate), 0.0)


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
    spec = Spec(cfg, setting.vocab, resolve_precision(cfg.precision, setting.platform), setting.packed, setting.head)
    writes = setting.head.kind == "tokens" and not cfg.bidirectional
    module, decoder = Recurrent(spec), Recurrent(spec._replace(packed=True))
    init, axes = parameters(module, SAMPLE)

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
