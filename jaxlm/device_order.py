"""In which order devices stand in a mesh: what talks most lies closest.

Products split over `tensor` talk several times a layer, keys over `sequence` once or twice, weights over `fsdp` once,
gradients over `data` once a step. On one slice `jax.experimental.mesh_utils` lays that order on the interconnect;
between slices (a TPU's, or hosts of GPUs joined by NVLink) is the slower network, so `data` alone crosses it.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.experimental import mesh_utils

from jaxlm.errors import UserError

OUTWARD = ("data", "fsdp", "sequence", "tensor")  # from the one that talks least to the one that talks most
# Whose interconnect is split within a physical axis, where a mesh asks for it, as `jax.make_mesh` does.
SPLIT_AXES = ("TPU v5 lite", "TPU v5e")


def arranged(sizes: Mapping[str, int], devices: Sequence[Any], slices: int) -> np.ndarray:
    """The first of `devices` as an array whose dimensions are the axes of `sizes`; `slices` divides its data axis.

    UserError where the devices do not lie on `slices` slices of equal size.
    """
    count = math.prod(sizes.values())
    inner = [sizes[axis] // (slices if axis == "data" else 1) for axis in OUTWARD]
    groups = [list(devices)[:count]] if slices == 1 else by_slice(devices, slices, count)
    split = devices[0].device_kind in SPLIT_AXES
    of_slice = [
        mesh_utils.create_device_mesh(inner, group, allow_split_physical_axes=split)
        if group[0].platform != "cpu"
        else np.array(group).reshape(inner)
        for group in groups
    ]
    return np.concatenate(of_slice).transpose([OUTWARD.index(axis) for axis in sizes])


def by_slice(devices: Sequence[Any], slices: int, count: int) -> list[list[Any]]:
    """`count` devices, as many of each of `slices` slices, in the order of those."""
    groups = defaultdict(list)
    for device in devices:
        groups[slice_of(device)].append(device)
    found = {number: len(group) for number, group in sorted(groups.items())}
    if len(groups) != slices:
        raise UserError(
            f"mesh.slices={slices}, but the {len(devices)} devices lie on {len(groups)} (devices of each: {found}): "
            f"set mesh.slices={len(groups)}, or start on {slices}"
        )
    if len(set(found.values())) > 1 or min(found.values()) < count // slices:
        raise UserError(
            f"mesh.slices={slices} shares {count} devices evenly, {count // slices} on each, but there are {found}: "
            f"lower the sizes of the axes, or start on slices that are equally large"
        )
    return [groups[number][: count // slices] for number in sorted(groups)]


def slice_of(device: Any) -> int:
    """Within a slice devices are joined by the faster network; a platform that knows none is one."""
    return getattr(device, "slice_index", 0) or 0


def slices_of(devices: Sequence[Any]) -> int:
    return len(Counter(map(slice_of, devices)))
