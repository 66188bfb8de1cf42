"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal.

The five Newton-Schulz steps run on all matrices of one shape at once, as one batched product. Operands are
bfloat16 where the CPU or accelerator multiplies those faster; the original does so everywhere.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxlm.mesh import constrain
from jaxlm.models.layers import Precision, einsum

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: steepest at 0, singular values end in 0.7 to 1.2
STEPS = 5


class MuonState(NamedTuple):
    count: Any  # int32, finished updates
    momentum: Any


def muon(
    rate: optax.Schedule, axes: Any, *, momentum: float, decay: float, precision: Precision = "float32"
) -> optax.GradientTransformationExtraArgs:
    """Nesterov momentum, orthogonalised, times `rate` and sqrt(max(1, out / in)); decoupled decay.

    `axes` is the tree of logical names of all parameters; leaves masked out by optax.partition are skipped.
    """

    def init(params):
        return MuonState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, axis: str | None = None, **_):
        velocity = jax.tree.map(lambda v, g: momentum * v + g, state.momentum, updates)
        ahead = jax.tree.map(lambda v, g: momentum * v + g, velocity, updates)
        step = jnp.asarray(rate(state.count))
        directions = orthogonalize(ahead, axes, precision, axis)
        changes = jax.tree.map(lambda o, p: -step * (o + decay * p), directions, params)
        return changes, MuonState(state.count + 1, velocity)

    return optax.GradientTransformationExtraArgs(init, update)


def orthogonalize(tree: Any, axes: Any, precision: Precision, axis: str | None = None) -> Any:
    """Each matrix of `tree` replaced by about its nearest orthogonal one, times sqrt(max(1, out / in)).

    Matrices of one shape are one batch, tall ones turned; each device does a share of it. `axis` is the mapped
    axis inside shard_map and pmap.
    """
    named, structure = jax.tree_util.tree_flatten_with_path(tree)
    groups = defaultdict(list)
    for index, (path, leaf) in enumerate(named):
        matrices = as_matrices(leaf, look_up(axes, path))
        tall = matrices.shape[1] > matrices.shape[2]
        wide = jnp.swapaxes(matrices, 1, 2) if tall else matrices
        groups[wide.shape[1:]].append((index, wide, tall))
    leaves: list[Any] = [None] * len(named)
    for members in groups.values():
        batch = jnp.concatenate([wide for _, wide, _ in members])
        batch = in_shares(lambda x: newton_schulz(x, precision), batch, axis)
        ends = list(itertools.accumulate(len(wide) for _, wide, _ in members))
        for (index, _, tall), part in zip(members, jnp.split(batch, ends[:-1]), strict=True):
            turned = jnp.swapaxes(part, 1, 2) if tall else part
            scale = max(1.0, turned.shape[2] / turned.shape[1]) ** 0.5
            leaves[index] = (scale * turned).reshape(named[index][1].shape)
    return jax.tree.unflatten(structure, leaves)


def in_shares(function: Callable[[Array], Array], x: Array, axis: str | None) -> Array:
    """`function` of a batch along the first dimension, divided among the devices and gathered again."""
    if axis is None:
        return function(constrain(x, ("batch", *["norm"] * (x.ndim - 1))))
    devices = jax.lax.axis_size(axis)
    share = -(-len(x) // devices)
    padded = jnp.pad(x, ((0, share * devices - len(x)),) + ((0, 0),) * (x.ndim - 1))
    own = jax.lax.dynamic_slice_in_dim(padded, jax.lax.axis_index(axis) * share, share)
    return jax.lax.all_gather(function(own), axis, tiled=True)[: len(x)]


def look_up(tree: Any, path: tuple) -> Sequence[str]:
    for key in path:
        tree = tree[key.key]
    return tree


def as_matrices(w: Array, names: Sequence[str]) -> Array:
    """A weight as (layers or 1, in, out): `width` is one side, all other dimensions together the other.

    A recurrent weight has its input there, and all gates together on the other side.
    """
    stacked = names[0] == "layers"
    names = names[1:] if stacked else names
    layers = w.shape[0] if stacked else 1
    side = "state_in" if "state_in" in names else "width"
    width = w.shape[stacked + names.index(side)]
    return w.reshape(layers, width, -1) if names[0] == side else w.reshape(layers, -1, width)


def newton_schulz(x: Array, precision: Precision) -> Array:
    """Push all singular values towards 1: x <- a x + (b A + c A^2) x with A = x x^T. For wide matrices."""
    a, b, c = COEFFICIENTS
    x = x / (jnp.linalg.norm(x, axis=(1, 2), keepdims=True) + 1e-7)
    for _ in range(STEPS):
        gram = einsum("nio,njo->nij", x, x, precision)
        x = a * x + einsum("nij,njo->nio", b * gram + c * einsum("nij,njk->nik", gram, gram, precision), x, precision)
    return x
