"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal.

The five Newton-Schulz steps run on all matrices of one shape at once, as one batched product. Operands are
bfloat16 where the CPU or accelerator multiplies those faster; the original does so everywhere.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from jaxlm.models.layers import Precision, einsum

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: steepest at 0, singular values end in 0.7 to 1.2
STEPS = 5


class MuonState(NamedTuple):
    count: Any  # int32, finished updates
    momentum: Any


def muon(
    rate: optax.Schedule, axes: Any, *, momentum: float, decay: float, precision: Precision = "float32"
) -> optax.GradientTransformation:
    """Nesterov momentum, orthogonalised, times `rate` and sqrt(max(1, out / in)); decoupled decay.

    `axes` is the tree of logical names of all parameters; leaves masked out by optax.partition are skipped.
    """

    def init(params):
        return MuonState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None):
        velocity = jax.tree.map(lambda v, g: momentum * v + g, state.momentum, updates)
        ahead = jax.tree.map(lambda v, g: momentum * v + g, velocity, updates)
        step = jnp.asarray(rate(state.count))
        changes = jax.tree.map(lambda o, p: -step * (o + decay * p), orthogonalize(ahead, axes, precision), params)
        return changes, MuonState(state.count + 1, velocity)

    return optax.GradientTransformation(init, update)


def orthogonalize(tree: Any, axes: Any, precision: Precision) -> Any:
    """Each matrix of `tree` replaced by about its nearest orthogonal one, times sqrt(max(1, out / in))."""
    named, structure = jax.tree_util.tree_flatten_with_path(tree)
    groups = defaultdict(list)
    for index, (path, leaf) in enumerate(named):
        matrices = as_matrices(leaf, look_up(axes, path))
        groups[matrices.shape[1:]].append((index, matrices))
    leaves: list[Any] = [None] * len(named)
    for (rows, columns), members in groups.items():
        stacked = newton_schulz(jnp.concatenate([m for _, m in members]), precision) * max(1.0, columns / rows) ** 0.5
        start = 0
        for index, matrices in members:
            leaves[index] = stacked[start : start + len(matrices)].reshape(named[index][1].shape)
            start += len(matrices)
    return jax.tree.unflatten(structure, leaves)


def look_up(tree: Any, path: tuple) -> Sequence[str]:
    for key in path:
        tree = tree[key.key]
    return tree


def as_matrices(w: Array, names: Sequence[str]) -> Array:
    """A weight as (layers or 1, in, out): `width` is one side, all other dimensions together the other."""
    stacked = names[0] == "layers"
    names = names[1:] if stacked else names
    layers = w.shape[0] if stacked else 1
    width = w.shape[stacked + names.index("width")]
    return w.reshape(layers, width, -1) if names[0] == "width" else w.reshape(layers, -1, width)


def newton_schulz(x_BIO: Array, precision: Precision) -> Array:
    """Push all singular values towards 1: x <- a x + (b A + c A^2) x with A = x x^T, on the shorter side."""
    a, b, c = COEFFICIENTS
    tall = x_BIO.shape[1] > x_BIO.shape[2]
    x = jnp.swapaxes(x_BIO, 1, 2) if tall else x_BIO
    x = x / (jnp.linalg.norm(x, axis=(1, 2), keepdims=True) + 1e-7)
    for _ in range(STEPS):
        gram = einsum("nio,njo->nij", x, x, precision)
        x = a * x + einsum("nij,njo->nio", b * gram + c * einsum("nij,njk->nik", gram, gram, precision), x, precision)
    return jnp.swapaxes(x, 1, 2) if tall else x
