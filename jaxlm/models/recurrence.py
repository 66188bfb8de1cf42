"""Recurrences over positions: the loops below the recurrent models, and nothing of their weights' making.

`recurrence` runs cells whose one product is `h @ w` (Elman, LSTM, GRU with the reset after the product). What
does not depend on the state, the input's projection, is made for all positions before the loop, and in the
backward pass the weight's gradient is one product over all positions after it, where plain differentiation
of a scan adds up L small ones. `scan_cell` runs any other cell. `linear_recurrence` is for cells that are
linear in their state (minGRU, minLSTM).

Sources: cells as PyTorch documents them; Feng et al. 2024 (arXiv:2410.01201) for the linear ones.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from jaxlm.mesh import RULES, axis_of, mesh_in_scope, shards
from jaxlm.models.layers import Precision, einsum, exact

# Positions in one body of the loop: with 4, LSTMs of 128 to 256 took 3 to 22 % longer on CPU (docs/log.md).
UNROLL = 1

State = tuple[Array, ...]  # each "B H"; the first is what the next product reads
Step = Callable[[Array, Array, State], State]  # (from the input, from the product, state) -> state


def recurrence(
    cell: Step,
    x_LBZ: Float[Array, "L B Z"],
    w_HZ: Float[Array, "H Z"],
    bias_Z: Float[Array, " Z"] | None,
    state: State,
    fresh_LB: Bool[Array, "L B"] | None = None,
    still_LB: Bool[Array, "L B"] | None = None,
    *,
    precision: Precision,
    reverse: bool = False,
    unroll: int | None = None,  # None: UNROLL
) -> tuple[Float[Array, "L B H"], State]:
    """(first state after each position, last state), in float32; the cell is given x and h @ w + bias.

    `state` is zeros before a position of `fresh`, and stays what it was over one of `still` (padding).
    """
    loop = functools.partial(jax.lax.scan, unroll=min(unroll or UNROLL, len(x_LBZ)))

    # Flags are arguments too: a traced array that the backward pass held from outside would have left its trace by
    # the time a jitted function is differentiated.
    def forward(x_LBZ, w_HZ, bias_Z, state, flags):
        w = w_HZ if precision == "float32" else w_HZ.astype(jnp.bfloat16)  # once, not in each turn

        def step(state, at):
            x, (fresh, still) = at
            before = enter(state, fresh)
            r = product("BH,HZ->BZ", before[0], w, precision)
            r = r if bias_Z is None else r + bias_Z[None]
            after = leave(before, cell(x, r, before), still)
            return after, (after, before, r)

        last, (after, before, r) = loop(step, state, (x_LBZ, flags), reverse=reverse)
        return (after[0], last), (x_LBZ, r, before, w, bias_Z, flags)

    def backward(saved, cotangents):
        x_LBZ, r_LBZ, before_LBH, w, bias_Z, flags = saved
        of_outputs, of_last = cotangents
        step = functools.partial(_step_back, cell, lambda of_r: product("BZ,HZ->BH", of_r, w, precision))
        at = x_LBZ, r_LBZ, before_LBH, flags, of_outputs
        of_state, (of_x, of_r) = loop(step, of_last, at, reverse=not reverse)
        of_w = product("LBH,LBZ->HZ", before_LBH[0], of_r, precision)
        return of_x, of_w, None if bias_Z is None else of_r.sum((0, 1)), of_state, None

    run = jax.custom_vjp(lambda *args: forward(*args)[0])
    run.defvjp(forward, backward)
    return run(x_LBZ, w_HZ, bias_Z, state, (fresh_LB, still_LB))


def product(equation: str, a: Array, b: Array, precision: Precision) -> Array:
    """`einsum` with float32 results: a state is summed up over many positions."""
    return einsum(equation, a, b, exact(precision))


def _step_back(cell: Step, through_w: Callable[[Array], Array], of_state: State, at) -> tuple[State, tuple]:
    """Cotangents of the state before a position, and of what the cell was given there."""
    x, r, before, (fresh, still), of_output = at
    of_state = (of_state[0] + of_output, *of_state[1:])
    of_new = leave(tuple(jnp.zeros_like(s) for s in of_state), of_state, still)
    of_x, of_r, of_before = jax.vjp(cell, x, r, before)[1](of_new)
    of_before = of_before[0] + through_w(of_r), *of_before[1:]
    if still is not None:  # what the cell had no part in goes straight back
        of_before = tuple(a + (b - c) for a, b, c in zip(of_before, of_state, of_new, strict=True))
    return enter(of_before, fresh), (of_x, of_r)


def enter(state: State, fresh_B: Array | None) -> State:
    """`state` before a position: zeros where something new begins."""
    return state if fresh_B is None else tuple(jnp.where(fresh_B[:, None], 0.0, s) for s in state)


def leave(old: State, new: State, still_B: Array | None) -> State:
    """The state after a position: `old` over padding."""
    if still_B is None:
        return new
    return tuple(jnp.where(still_B[:, None], o, n) for o, n in zip(old, new, strict=True))


def scan_cell(
    cell: Callable[[Array, State], State],
    x_LBZ: Float[Array, "L B Z"],
    state: State,
    fresh_LB: Bool[Array, "L B"] | None = None,
    still_LB: Bool[Array, "L B"] | None = None,
    *,
    reverse: bool = False,
    unroll: int | None = None,  # None: UNROLL
) -> tuple[Float[Array, "L B H"], State]:
    """`recurrence` for any cell, differentiated as it stands: its weights' gradients add up position by position."""

    def step(state, at):
        x, (fresh, still) = at
        before = enter(state, fresh)
        after = leave(before, cell(x, before), still)
        return after, after[0]

    last, after = jax.lax.scan(
        step, state, (x_LBZ, (fresh_LB, still_LB)), reverse=reverse, unroll=min(unroll or UNROLL, len(x_LBZ))
    )
    return after, last


@jax.custom_vjp
def linear_recurrence(
    a_LBH: Float[Array, "L B H"], b_LBH: Float[Array, "L B H"], state_BH: Float[Array, "B H"]
) -> Float[Array, "L B H"]:
    """h with h[t] = a[t] h[t - 1] + b[t], in about 2 sqrt(L) steps one after another.

    Pairs (a, b) compose to (a' a, a' b + b'), which is associative. With a in [0, 1] nothing overflows, and what
    underflows is a state forgotten; the paper's form, sums of logarithms and their cumulative log-sum-exp
    (arXiv:2410.01201, appendix B.2), loses digits as the sums grow, so it is the reference in tests.
    """
    return _over_devices(_forward_step, a_LBH, b_LBH, state_BH)


def _linear_forward(a_LBH, b_LBH, state_BH):
    h_LBH = linear_recurrence(a_LBH, b_LBH, state_BH)
    return h_LBH, (a_LBH, h_LBH, state_BH)


def _linear_backward(saved, of_h_LBH):
    a_LBH, h_LBH, state_BH = saved
    of_b_LBH = _over_devices(_backward_step, a_LBH, of_h_LBH, jnp.zeros_like(state_BH), reverse=True)
    before_LBH = jnp.concatenate([state_BH[None], h_LBH[:-1]])
    return of_b_LBH * before_LBH, of_b_LBH, a_LBH[0] * of_b_LBH[0]


linear_recurrence.defvjp(_linear_forward, _linear_backward)


def _forward_step(h: Array, a: Array, b: Array) -> tuple[Array, Array]:
    after = a * h + b
    return after, after


def _backward_step(later: Array, a: Array, of_h: Array) -> tuple[Array, Array]:
    """The cotangent of h[t] is its own and a[t + 1] times the next one's, which comes as `later`."""
    whole = of_h + later
    return a * whole, whole


def _over_devices(step, a_LBH: Array, b_LBH: Array, state_BH: Array, reverse: bool = False) -> Array:
    """`_in_blocks`; where mesh axis `sequence` splits positions, each device goes over its own.

    Devices tell each other what they make of a state of 0 and how much they keep of one, "B H" each.
    """
    parts = shards(mesh_in_scope(), "length")
    if parts == 1 or len(a_LBH) % parts:
        return _in_blocks(step, a_LBH, b_LBH, state_BH, reverse)
    rows, positions = P(RULES["batch"]), P(RULES["length"], RULES["batch"])
    run = functools.partial(_in_blocks, step, reverse=reverse, axis=axis_of("length"))
    return jax.shard_map(run, in_specs=(positions, positions, rows), out_specs=positions, check_vma=False)(
        a_LBH, b_LBH, state_BH
    )


def _in_blocks(
    step, a_LBH: Array, b_LBH: Array, state_BH: Array, reverse: bool = False, axis: str | None = None
) -> Array:
    """What `step(state, a, b) -> (state, output)`, whose state is multiplied by a, puts out at each position.

    Blocks of about sqrt(L) positions go side by side: once for what each makes of a state of 0 and how much it keeps
    of one, and, when each knows the state that it begins with, once more for the output.
    """
    L, B, H = a_LBH.shape
    size = math.isqrt(L - 1) + 1
    blocks = -(-L // size)
    pad = ((blocks * size - L, 0) if reverse else (0, blocks * size - L), (0, 0), (0, 0))
    fill_up = lambda x, by: jnp.pad(x, pad, constant_values=by).reshape(blocks, size, B, H)
    a, b = fill_up(a_LBH, 1), fill_up(b_LBH, 0)  # what changes no state

    def at(turn):
        place = size - 1 - turn if reverse else turn
        pick = lambda x: jax.lax.dynamic_index_in_dim(x, place, axis=1, keepdims=False)
        return place, pick(a), pick(b)

    def compose(turn, of_block):
        end, kept = of_block
        _, a, b = at(turn)
        return step(end, a, b)[0], a * kept

    def across(state, of_block):
        end, kept = of_block
        return kept * state + end, state

    def fill(turn, carry):
        state, out = carry
        place, a, b = at(turn)
        state, one = step(state, a, b)
        return state, jax.lax.dynamic_update_index_in_dim(out, one, place, axis=1)

    nothing = jnp.zeros((blocks, B, H), a_LBH.dtype)
    of_blocks = jax.lax.fori_loop(0, size, compose, (nothing, nothing + 1))
    if axis is not None:
        state_BH = _before_device(axis, across, of_blocks, state_BH, reverse)
    _, starts = jax.lax.scan(across, state_BH, of_blocks, reverse=reverse)
    _, out = jax.lax.fori_loop(0, size, fill, (starts, jnp.zeros_like(a)))
    out_LBH = out.reshape(-1, B, H)
    return out_LBH[-L:] if reverse else out_LBH[:L]


def _before_device(axis: str, across, of_blocks, state_BH: Array, reverse: bool) -> Array:
    """The state before the positions of this device, from `state` before those of all devices of mesh axis `axis`."""
    end_BH, _ = jax.lax.scan(across, jnp.zeros_like(state_BH), of_blocks, reverse=reverse)
    kept_BH = of_blocks[1].prod(0)
    of_devices = jax.lax.all_gather((end_BH, kept_BH), axis)
    _, before_SBH = jax.lax.scan(across, state_BH, of_devices, reverse=reverse)
    return before_SBH[jax.lax.axis_index(axis)]
