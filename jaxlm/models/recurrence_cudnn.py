"""cuDNN's LSTM, through `jax.experimental.rnn`: all positions of one direction of one layer in one call.

Its products are in float32 where the model's precision is float32, else in TF32, whose operands keep two bits more
than bfloat16's. State does not begin anew within a row, and there is no padding.
State of this file (jax 0.10.2, without a GPU): weights, outputs and gradients are tested against JAX's own reference
of the call, and the call is traced; it has not been run on a GPU yet.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from jaxlm.mesh import RULES, mesh_in_scope
from jaxlm.models.layers import Precision
from jaxlm.models.recurrence import State

# (x_BLD, h_1BH, c_1BH, flat weights, exact) -> y_BLH, last h_1BH, last c_1BH
Kernel = Callable[[Array, Array, Array, Array, bool], tuple[Array, Array, Array]]


@functools.cache
def has_cudnn() -> bool:
    """Has this process an NVIDIA GPU? (JAX does not start on CUDA without cuDNN.)"""
    return jax.default_backend() == "gpu" and "cuda" in jax.local_devices()[0].client.platform_version


def cudnn(x_BLD: Array, h_1BH: Array, c_1BH: Array, flat: Array, exact: bool) -> tuple[Array, Array, Array]:
    from jax.experimental import rnn  # only where it runs

    rows, length, width = x_BLD.shape
    lengths_B = jnp.full((rows,), length, jnp.int32)
    precision = jax.lax.Precision.HIGHEST if exact else jax.lax.Precision.HIGH
    return rnn.lstm(x_BLD, h_1BH, c_1BH, flat, lengths_B, width, h_1BH.shape[2], 1, 0.0, False, precision)


def lstm_layer(
    x_LBD: Float[Array, "L B D"],
    w_DJH: Float[Array, "D 4 H"],
    w_HJH: Float[Array, "H 4 H"],
    b_JH: Float[Array, "4 H"] | None,
    state: State,
    *,
    precision: Precision,
    reverse: bool = False,
    kernel: Kernel = cudnn,
) -> tuple[Float[Array, "L B H"], State]:
    """(h after each position, last state) in float32, as `recurrence` with the cell `lstm`, from the layer's input."""
    turn = (lambda x: jnp.flip(x, 0)) if reverse else (lambda x: x)
    x_BLD = jnp.swapaxes(turn(x_LBD.astype(jnp.float32)), 0, 1)
    run = on_each_device(functools.partial(_run, kernel, precision == "float32"))
    y_BLH, h_BH, c_BH = run(x_BLD, *state, pack(w_DJH, w_HJH, b_JH))
    return turn(jnp.swapaxes(y_BLH, 0, 1)), (h_BH, c_BH)


def _run(kernel: Kernel, exact: bool, x_BLD, h_BH, c_BH, flat):
    y_BLH, h_1BH, c_1BH = kernel(x_BLD, h_BH[None], c_BH[None], flat, exact)
    return y_BLH, h_1BH[0], c_1BH[0]


def pack(w_DJH: Array, w_HJH: Array, b_JH: Array | None) -> Array:
    """A layer's weights in cuDNN's order: input, recurrent, a bias for each, of which ours is the first.

    The order of gates, i f g o, is ours too.
    """
    outputs_first = lambda w: jnp.moveaxis(w, 0, 2).ravel()  # (J H, D)
    b_Z = jnp.zeros(w_HJH.shape[1] * w_HJH.shape[2]) if b_JH is None else b_JH.ravel()
    return jnp.concatenate([outputs_first(w_DJH), outputs_first(w_HJH), b_Z, jnp.zeros_like(b_Z)])


def on_each_device(run: Callable) -> Callable:
    """`run` on the rows of each device of the mesh in scope, if there is one: XLA cannot split the call by itself."""
    if mesh_in_scope() is None:
        return run
    rows = P(RULES["batch"])
    # check_vma: a call from outside JAX does not say over which axes its output varies.
    return jax.shard_map(run, in_specs=(rows, rows, rows, P()), out_specs=(rows, rows, rows), check_vma=False)
