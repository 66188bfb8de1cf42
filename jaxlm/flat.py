"""A tree of arrays as one flat dict, "params/block/0/w" -> array: what checkpoints hold.

Names come from the keys, fields and indices on the way to a leaf, so NamedTuples, dicts and optax
states all become plain text, and no library's class is needed to read them again.

Left out: typed PRNG keys. A key is made from seed and step, it is not state.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxlm.errors import UserError

_SHOWN_DIFFERENCES = 5


def flatten(tree: Any) -> dict[str, Any]:
    """{name: leaf}; TypeError for a leaf that is no plain array, ValueError for a name that occurs twice."""
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name in flat:
            raise ValueError(f"two leaves are named {name!r}: use no '/' in keys")
        if not hasattr(leaf, "dtype") or jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TypeError(f"{name!r} is a {type(leaf).__name__}, only arrays of numbers can be saved")
        flat[name] = leaf
    return flat


def unflatten(like: Any, flat: dict[str, Any]) -> Any:
    """The arrays of `flat` in the structure of `like`, which has the same names."""
    return jax.tree.unflatten(jax.tree.structure(like), [flat[name] for name in flatten(like)])


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b": x} as {"a": {"b": x}}."""
    tree: dict[str, Any] = {}
    for name, array in flat.items():
        *above, last = name.split("/")
        inside = tree
        for part in above:
            inside = inside.setdefault(part, {})
        inside[last] = array
    return tree


def kinds(flat: dict[str, Any]) -> dict[str, str]:
    """{name: "float32[3,4]"}: dtype and shape as text."""
    return {name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in flat.items()}


def shape_of(kind: str) -> tuple[int, ...]:
    """(3, 4) of "float32[3,4]"."""
    return tuple(int(size) for size in kind.partition("[")[2].rstrip("]").split(",") if size)


def require_same(
    saved: dict[str, str], wanted: dict[str, str], origin: str, mend: str = "use the config of that run"
) -> None:
    """UserError with the first differences where names, dtypes or shapes are not the same."""
    lines = []
    for name in sorted(saved.keys() | wanted.keys()):
        if name not in wanted:
            lines.append(f"{name}: {saved[name]} is saved, but not wanted")
        elif name not in saved:
            lines.append(f"{name}: {wanted[name]} is wanted, but not saved")
        elif saved[name] != wanted[name]:
            lines.append(f"{name}: {saved[name]} is saved, {wanted[name]} is wanted")
    if lines:
        more = len(lines) - _SHOWN_DIFFERENCES
        shown = lines[:_SHOWN_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
        raise UserError(
            f"{origin} was saved from another model, optimiser or precision; {mend}:"
            + "".join(f"\n  {line}" for line in shown)
        )


def parameters_sha256(flat: dict[str, np.ndarray]) -> str:
    """sha256 over names in order, dtypes, shapes and bytes (little-endian, rows first)."""
    sha = hashlib.sha256()
    for name, kind in sorted(kinds(flat).items()):
        sha.update(f"{name}\0{kind}\0".encode())
        sha.update(np.ascontiguousarray(flat[name]).tobytes())
    return sha.hexdigest()
