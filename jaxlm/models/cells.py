"""The cells of recurrent models: one position's mathematics, and nothing of loops or weights' making.

Elman, LSTM and GRU as PyTorch documents them, so its weights fit (interop/); minGRU and minLSTM by Feng et al. 2024
(arXiv:2410.01201). Left out: peepholes, layer norm inside cells.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlm.models.recurrence import State, Step

CellName = Literal["tanh", "relu", "lstm", "gru", "gru_before", "mingru", "minlstm"]


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
