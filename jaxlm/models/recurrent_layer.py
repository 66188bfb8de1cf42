"""One direction of one recurrent layer: its weights, and the loop over positions that its cell wants.

What a cell does at one position is in cells.py, the loops are in recurrence.py and recurrence_cudnn.py. Activations
lie position first, "L B D", as the loops read them.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlm.mesh import whole
from jaxlm.models.cells import CELLS, LINEAR, linear_gates, lstm, split
from jaxlm.models.layers import Noise, einsum, parameter
from jaxlm.models.recurrence import State, enter, linear_recurrence, product, recurrence, scan_cell
from jaxlm.models.recurrence_cudnn import lstm_layer
from jaxlm.models.recurrent_config import Spec
from jaxlm.models.regularise import weight_drop


class Seen(NamedTuple):
    """What a layer needs beside activations."""

    fresh_LB: Array  # a document begins here
    last_LB: Array  # a document ends here: where reading from the end begins
    still_LB: Array | None  # padding; None: there is none
    noise: Noise | None


class InputWeight(nn.Module):
    """The weight of the input's product, alone: who multiplies depends on the backend."""

    shape: tuple[int, int, int]

    @nn.compact
    def __call__(self) -> Array:
        std = self.shape[0] ** -0.5  # fan-in
        return parameter(self, "w", nn.initializers.normal(std), self.shape, ("state_in", "gate", "state"))


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
        w_DJH = whole(InputWeight((D, J, H), name="input")())
        b_JH = parameter(self, "b", self.initial_bias, (J, H), ("gate", "state")) if c.bias else None
        fresh_LB = seen.last_LB if self.reverse else seen.fresh_LB
        if c.cell not in LINEAR:
            w_PJH = whole(parameter(self, "w", orthogonal, (P, J, H), ("state_in", "gate", "state")))
            w_PZ = w_PJH.reshape(P, J * H)
            w_PZ = weight_drop(w_PZ, c.weight_drop, seen.noise, 2 * self.number + self.reverse)
        if self.spec.loop == "cudnn":
            w_PJH, before = w_PZ.reshape(P, J, H), enter(state, fresh_LB[-1 if self.reverse else 0])
            return lstm_layer(x_LBD, w_DJH, w_PJH, b_JH, before, precision=p, reverse=self.reverse)
        x_LBJH = einsum("LBD,DJH->LBJH", x_LBD, w_DJH, p)
        if b_JH is not None:
            x_LBJH += b_JH[None, None]
        x_LBZ = x_LBJH.reshape(*x_LBJH.shape[:2], J * H).astype(jnp.float32)
        if c.cell in LINEAR:
            return self.linear(x_LBZ, fresh_LB, seen.still_LB, state)
        flags = fresh_LB, seen.still_LB
        if c.cell == "gru_before":
            return scan_cell(functools.partial(self.gru_before, w_PZ), x_LBZ, state, *flags, reverse=self.reverse)
        if c.projection:
            down = whole(parameter(self, "projection", uniform(H), (H, P), ("state", "state_in")))
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


def orthogonal(key, shape, dtype):
    """The matrix of each gate keeps the length of a state (Saxe et al. 2014, arXiv:1312.6120).

    With input weights and the head's by fan-in an LSTM of a million parameters is at 1.70 nats a character of War and
    Peace after 300 steps, a GRU at 1.48; with all as PyTorch begins them, between +-1/sqrt(width), at 2.00 and 1.59.
    """
    P, J, H = shape
    of_gate = lambda key: nn.initializers.orthogonal()(key, (P, H), dtype)
    return jnp.stack([of_gate(k) for k in jax.random.split(key, J)], axis=1)


def uniform(width: int):
    """Between +-1/sqrt(width), as PyTorch begins."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -(width**-0.5), width**-0.5)
