"""Devices -> mesh, and the one table that says on which mesh axis a logical axis lies.

Mesh axes: `data` replicates the state and splits the rows; `fsdp` splits both; `tensor` splits heads,
feed-forward and vocabulary; `sequence` splits positions. Axes are Auto: the compiler propagates.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import pydantic
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlm.config import Config
from jaxlm.device_order import arranged, slices_of
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

AXES = ("data", "fsdp", "tensor", "sequence")

# Logical axis -> mesh axis. Names of weights first, of activations after.
RULES: Mapping[str, str | tuple[str, ...] | None] = {
    "vocab": "tensor",
    "width": "fsdp",
    "ff": "tensor",
    "kv": "tensor",
    "group": None,
    "head": None,
    "position": None,
    "norm": None,
    "layers": None,
    "state": None,
    "state_in": "fsdp",  # of recurrent weights, which are read whole at every position, and so gathered before
    "gate": None,
    "bucket": None,
    "class": None,
    "batch": ("data", "fsdp"),
    "length": "sequence",
    "act_width": None,
    "act_ff": "tensor",
    "act_kv": "tensor",
    "act_vocab": "tensor",
}


class MeshConfig(Config):
    """Which devices, arranged how."""

    # auto: on CPU by measuring a few steps; on GPU and TPU "sharded" over all devices.
    # single: one device. replicated: state on every device. sharded: state split over all (FSDP).
    # axes: the four sizes below.
    layout: Literal["auto", "single", "replicated", "sharded", "axes"] = "auto"
    devices: int | None = pydantic.Field(default=None, gt=0)  # None: all; on CPU one for each core
    data: int = pydantic.Field(default=1, gt=0)
    fsdp: int = pydantic.Field(default=1, gt=0)
    tensor: int = pydantic.Field(default=1, gt=0)
    sequence: int = pydantic.Field(default=1, gt=0)
    # TPU slices, or hosts of GPUs, that only a slower network joins: `data` alone crosses it. "sharded" is then split
    # within each slice, and copied between them.
    slices: int | None = pydantic.Field(default=None, gt=0)  # None: one
    # How keys and values come to the queries of other devices, where `sequence` splits rows. gather: all of them, of
    # one layer at a time. ring: block by block, for rows so long that a layer's do not fit. None: gather.
    attention: Literal["gather", "ring"] | None = None

    @pydantic.model_validator(mode="after")
    def _sizes_need_axes(self):
        sizes = {name: getattr(self, name) for name in AXES}
        product = math.prod(sizes.values())
        if self.layout != "axes" and product > 1:
            raise ValueError(
                f"mesh.layout={self.layout!r} sets the sizes of the axes itself, but {sizes}: "
                f"use mesh.layout='axes', or leave the sizes at 1"
            )
        if self.attention == "ring" and self.sequence == 1:
            raise ValueError(
                f"mesh.attention='ring' is for rows that mesh.sequence splits, and mesh.sequence={self.sequence}: "
                f"raise it, or leave mesh.attention out"
            )
        if self.layout == "single" and self.devices not in (None, 1):
            raise ValueError(
                f"mesh.devices={self.devices}, but mesh.layout='single' is one: set mesh.layout='replicated' or "
                f"'sharded', or mesh.devices=none"
            )
        slices = self.slices or 1
        if self.layout in ("auto", "single") and slices > 1:
            raise ValueError(
                f"mesh.slices={slices}, and mesh.layout={self.layout!r} knows of one: use mesh.layout='sharded', "
                f"'replicated' or 'axes'"
            )
        if self.layout == "axes" and self.data % slices:
            raise ValueError(
                f"mesh.data={self.data} is what crosses from slice to slice, and does not divide over mesh.slices="
                f"{slices}: make it {-(-self.data // slices) * slices}"
            )
        if self.layout == "axes" and self.devices not in (None, product):
            raise ValueError(
                f"mesh.devices={self.devices} but the axes {sizes} multiply to {product}: "
                f"leave mesh.devices out, or make them agree"
            )
        return self


def sizes(cfg: MeshConfig, available: int) -> dict[str, int]:
    """Size of each mesh axis on `available` devices (layout "auto" counts as "sharded" here)."""
    if cfg.layout == "axes":
        wanted = {name: getattr(cfg, name) for name in AXES}
    else:
        count = 1 if cfg.layout == "single" else cfg.devices or available
        slices = cfg.slices or 1
        if count % slices:
            raise UserError(
                f"mesh.layout={cfg.layout!r} on {count} devices does not divide over mesh.slices={slices}: set "
                f"mesh.devices={max(1, count // slices) * slices}, or the number of slices that there are"
            )
        wanted = dict.fromkeys(AXES, 1) | {"data": slices, "fsdp": count // slices}
        if cfg.layout in ("single", "replicated"):
            wanted |= {"data": count, "fsdp": 1}
    needed = math.prod(wanted.values())
    if needed > available:
        raise UserError(
            f"mesh.layout={cfg.layout!r} with {wanted} needs {needed} devices, but there are {available}: "
            f"lower the sizes or mesh.devices, or start with more devices"
        )
    return wanted


def build(cfg: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of `cfg` over `devices` (default: all of jax's)."""
    devices = list(jax.devices() if devices is None else devices)
    shape = sizes(cfg, len(devices))
    slices = cfg.slices or 1
    told_of_slices(devices[: math.prod(shape.values())], slices)
    return Mesh(arranged(shape, devices, slices), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def told_of_slices(devices: Sequence[Any], slices: int) -> None:
    """Warn where `devices` lie on several slices and the config knows of one."""
    if slices == 1 and (found := slices_of(devices)) > 1:
        log.warning(
            "the devices lie on %d slices, and mesh.slices=1 lets every axis cross the slower network between them: "
            "set mesh.slices=%d, and mesh.data to a multiple of it",
            found,
            found,
        )


def check_divides(mesh: Mesh, axes: Any, shapes: Any) -> None:
    """Raise UserError for the first weight whose dimension does not divide over its mesh axis."""
    named = jax.tree_util.tree_leaves_with_path(axes, is_leaf=_is_names)
    for (path, names), shape in zip(named, jax.tree.leaves(shapes), strict=True):
        for name, dimension in zip(names, shape.shape, strict=True):
            size = _axis_size(mesh, RULES[name])
            if dimension % size:
                where, up = jax.tree_util.keystr(path, simple=True, separator="/"), -(-dimension // size) * size
                # An id that no text has costs a row of the table and no more: it is never asked for.
                mend = f"set model.vocab={up}" if name == "vocab" else f"round it up to {up}"
                raise UserError(
                    f"{where}: dimension {name!r}={dimension} does not divide over mesh axis "
                    f"{RULES[name]!r}={size}: {mend}, or use a smaller axis"
                )


def check_rows(sizes: Mapping[str, int], batch: int, length: int) -> None:
    """Raise UserError where a batch of (`batch`, `length`) tokens does not divide over axes of these `sizes`."""
    by_rows, parts = sizes["data"] * sizes["fsdp"], sizes["sequence"]
    if batch % by_rows:
        raise UserError(
            f"data.batch={batch} does not divide over {by_rows} devices of mesh axes 'data' and 'fsdp': "
            f"make it {-(-batch // by_rows) * by_rows}, or use fewer devices"
        )
    if length % parts:
        raise UserError(
            f"data.length={length} does not divide over mesh axis 'sequence'={parts}: "
            f"make it {-(-length // parts) * parts}, or use a smaller axis"
        )


def _axis_size(mesh: Mesh | AbstractMesh, axis: str | tuple[str, ...] | None) -> int:
    names = () if axis is None else (axis,) if isinstance(axis, str) else axis
    return math.prod(mesh.shape[name] for name in names)


def _is_names(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(name, str) for name in x)


def spec(names: Sequence[str]) -> P:
    """Logical names of an array's dimensions -> PartitionSpec; no mesh axis may serve twice."""
    placed = [RULES[name] for name in names]
    used = [axis for p in placed if p for axis in ((p,) if isinstance(p, str) else p)]
    assert len(used) == len(set(used)), f"{names} would use a mesh axis twice: {placed}"
    return P(*placed)


def shardings(mesh: Mesh, axes: Any) -> Any:
    """A tree of logical names -> the tree of NamedShardings."""
    return jax.tree.map(lambda names: NamedSharding(mesh, spec(names)), axes, is_leaf=_is_names)


def batch_shardings(mesh: Mesh, batch: Any) -> Any:
    """Where the arrays of a batch lie: rows and positions are split, but for positions that do not divide."""
    divides = lambda x: x.shape[1] % mesh.shape["sequence"] == 0
    lies = lambda x: NamedSharding(mesh, spec(("batch", "length" if divides(x) else "norm")))
    return jax.tree.map(lies, batch)


def row_share(sharding: NamedSharding) -> tuple[int, int]:
    """(r, n): of each global batch that lies so, this process brings the r-th of n equal runs of rows.

    Processes that hold the same rows, as where `tensor` or `sequence` lies across them, bring the same ones; where one
    process's rows are no run, each brings all.
    """
    first = P(sharding.spec[0])
    parts = _axis_size(sharding.mesh, first[0])
    held = defaultdict(set)
    for device, (part,) in NamedSharding(sharding.mesh, first).devices_indices_map((parts,)).items():
        held[device.process_index].add(part.start or 0)
    runs = {process: (min(numbers), len(numbers)) for process, numbers in held.items()}
    even = len({size for _, size in runs.values()}) == 1
    if not even or any(max(held[p]) - at >= size or at % size for p, (at, size) in runs.items()):
        return 0, 1
    at, size = runs.get(jax.process_index(), (0, parts))  # of a topology that is not here it has none
    return at // size, parts // size


def row_shards(mesh: Mesh | AbstractMesh | None) -> int:
    """Into how many parts the rows of a batch are split."""
    return shards(mesh, "batch")


def axis_of(name: str) -> str | None:
    """The mesh axis of a weight's dimension, or of positions: all of which have one at most."""
    axis = RULES[name]
    assert not isinstance(axis, tuple)
    return axis


def shards(mesh: Mesh | AbstractMesh | None, name: str) -> int:
    """Into how many parts a dimension of this logical name is split."""
    return 1 if mesh is None else _axis_size(mesh, RULES[name])


def mesh_in_scope() -> AbstractMesh | None:
    """The mesh that the compiler partitions over; None outside `jax.set_mesh` and inside shard_map."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(kind == AxisType.Manual for kind in mesh.axis_types):
        return None
    return mesh


def whole_rows(table: jax.Array) -> jax.Array:
    """A table that is looked up or met by hidden states, with its last dimension whole on every device, as FSDP reads.

    Left to itself the compiler splits looked-up rows by width, and can then split them by batch only by a copy of all
    of them on all devices ("involuntary full rematerialization"); and a table that columns of a bias were joined to
    had wrong gradients on a mesh of data, fsdp and tensor (jax 0.10.2).
    """
    if mesh_in_scope() is None:
        return table
    return jax.lax.with_sharding_constraint(table, P(*[P.UNCONSTRAINED] * (table.ndim - 1), None))


def whole(weight: jax.Array) -> jax.Array:
    """A weight that lies whole on every device where it is read, as a loop over positions must have it."""
    return weight if mesh_in_scope() is None else jax.lax.with_sharding_constraint(weight, P())


def constrain(x: jax.Array, names: Sequence[str]) -> jax.Array:
    """Pin an activation's dimensions to the mesh in scope; nothing where there is none.

    A dimension that does not divide stays whole, as the two classes of a head do.
    """
    mesh = mesh_in_scope()
    if mesh is None:
        return x
    divides = lambda size, axis: size % _axis_size(mesh, axis) == 0
    placed = [axis if divides(size, axis) else None for size, axis in zip(x.shape, spec(names), strict=True)]
    return jax.lax.with_sharding_constraint(x, P(*placed))
