"""What lies where: each parameter's part on a device, what stays whole though it is large, what the compiler says.

A process of its own, with as many CPU devices as asked for, lays the state out and compiles the step of training:
`python -m jaxlm.sharding < QUESTION.json`. It answers in two lines, what lies where and that the step compiled; what
XLA says meanwhile is read from its standard error. Nothing is computed, so no memory is taken for the parameters.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxlm import host
from jaxlm.config import dump
from jaxlm.errors import JaxlmError, UserError
from jaxlm.mesh import AXES, axis_of
from jaxlm.run_config import RunConfig
from jaxlm.training.layout import Layout

LARGE = 2**20  # bytes; chosen: what is smaller costs less than to ask for it
TIMEOUT = 600  # seconds; chosen: what lies where is known after some, the compiler may take its time


class Leaf(NamedTuple):
    """A parameter on a mesh."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]  # logical name of each dimension
    mesh_axes: tuple[str | None, ...]  # what each lies on
    device_shape: tuple[int, ...]
    bytes: int
    device_bytes: int


class Sharding(NamedTuple):
    """What `jaxlm inspect --sharding` tells."""

    mesh: dict[str, int]
    parameters: list[Leaf]
    totals: dict[str, tuple[int, int]]  # part of the state -> its bytes, and those on each device
    warnings: list[str]
    rematerialised: list[dict[str, str]] | None  # see `rematerialised`; None: not compiled within TIMEOUT


def ask(cfg: RunConfig, layout: Layout, vocab: int) -> Sharding:
    """The sharding of `cfg` in `layout`; UserError where they do not suit each other."""
    question = json.dumps({"config": dump(cfg), "layout": layout.dump(), "vocab": vocab})
    command = [sys.executable, "-m", "jaxlm.sharding"]
    try:
        child = subprocess.run(
            command, input=question, capture_output=True, text=True, timeout=TIMEOUT, env=environment()
        )
        out, told, code = child.stdout, child.stderr, child.returncode
    except subprocess.TimeoutExpired as late:
        out, told, code = _text(late.stdout), _text(late.stderr), 0
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if code == UserError.exit_code:
        raise UserError(told.strip().splitlines()[-1])
    if code or not lines:
        raise JaxlmError(f"the step could not be compiled: {(told.strip().splitlines() or [f'exit code {code}'])[-1]}")
    leaves = [Leaf._make(tuple(x) if isinstance(x, list) else x for x in leaf) for leaf in lines[0]["parameters"]]
    totals = {name: (whole, part) for name, (whole, part) in lines[0]["totals"].items()}
    found = rematerialised(told) if len(lines) > 1 else None
    return Sharding(lines[0]["mesh"], leaves, totals, warnings(lines[0]["mesh"], leaves, totals), found)


def environment() -> dict[str, str]:
    """Of a process whose compiler is to be heard: a program from the cache of compiled ones would say nothing."""
    told = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false", "TF_CPP_MIN_LOG_LEVEL": "0"}
    return dict(os.environ) | told


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def warnings(mesh: Mapping[str, int], leaves: Iterable[Leaf], totals: Mapping[str, tuple[int, int]]) -> list[str]:
    """What is whole on every device though it is large, and what would split it."""
    devices = math.prod(mesh.values())
    if devices == 1:
        return []
    if mesh["fsdp"] == mesh["tensor"] == 1:
        whole = sum(total for total, _ in totals.values())
        mend = "mesh.layout='sharded', or 'axes' with mesh.fsdp or mesh.tensor over 1, splits it"
        return [f"the whole state, {whole:,} bytes, is on each of {devices} devices: {mend}"] if whole >= LARGE else []
    return [
        f"{leaf.name}: {leaf.bytes:,} bytes are whole on each of {devices} devices: {_mend(leaf, mesh)}"
        for leaf in leaves
        if leaf.bytes >= LARGE and leaf.device_bytes == leaf.bytes
    ]


def _mend(leaf: Leaf, mesh: Mapping[str, int]) -> str:
    idle = {name: axis for name in leaf.axes if (axis := axis_of(name)) is not None}
    if not idle:
        return (
            f"the rules of jaxlm/mesh.py split none of its dimensions ({', '.join(leaf.axes)}): give one an axis "
            f"there, or make it smaller"
        )
    return " or ".join(f"mesh.{axis} over 1 (it is {mesh[axis]}) splits its {name!r}" for name, axis in idle.items())


# "... from sharding {A} to {B} efficiently for HLO operation %x = f32[2,4]{1,0} dot(...), metadata={op_name="..."}. As"
MESSAGE = re.compile(
    r"Involuntary full rematerialization\. The compiler cannot go from sharding \{(?P<before>.*?)\} to "
    r"\{(?P<after>.*?)\} efficiently for HLO operation %\S+ = (?P<shape>\w+\[[\d,]*\])\S* (?P<kind>[\w-]+)\("
    r"(?P<rest>.*?)As the last resort"
)


def rematerialised(log: str) -> list[dict[str, str]]:
    """What XLA copies whole to all devices only to split it anew: shape, from which split to which, for whom.

    Each once; XLA also tells of its own stand-ins for the same array, which know nobody: those are left out where
    another message has the same shape and splits.
    """
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for match in MESSAGE.finditer(log):
        name = re.search(r'op_name="([^"]*)"', match["rest"])
        key = match["shape"], match["before"], match["after"]
        if name is None and any(known[:3] == key for known in found):
            continue
        found.pop((*key, ""), None)
        place = name[1] if name else ""
        told = place or f"a {match['kind']} whose place is not told"
        found[(*key, place)] = {"shape": key[0], "from": key[1], "to": key[2], "where": told}
    return list(found.values())


def main() -> None:
    question = json.load(sys.stdin)
    layout = Layout.parse(question["layout"])
    host.start_jax(layout.devices, cache=False)

    from jaxlm import mesh as meshes
    from jaxlm import parts
    from jaxlm.config import parse
    from jaxlm.training import optimizer as optimizers

    cfg, vocab = parse(question["config"], RunConfig), question["vocab"]
    mesh = meshes.build(layout.mesh)
    family = parts.build_family(cfg, vocab, "cpu")
    optimizer = optimizers.build(cfg.optimizer, cfg.loop.steps, family.axes, family.precision)
    _, abstract = parts.state_of(cfg, family, optimizer, mesh)
    totals = {"parameters": both_bytes(abstract.params), "optimiser": both_bytes(abstract.opt)}
    for name, tree in (("average", abstract.average), ("carried state", abstract.carry)):
        totals |= {name: both_bytes(tree)} if tree != () else {}
    leaves = described(abstract.params, family.axes)
    print(
        json.dumps({"mesh": {axis: mesh.shape[axis] for axis in AXES}, "parameters": leaves, "totals": totals}),
        flush=True,
    )
    parts.build(cfg, layout, vocab)
    print(json.dumps({"compiled": True}))


def described(params: Any, axes: Any) -> list[Leaf]:
    """Each leaf of abstract parameters, in the order of the tree."""
    import jax

    leaves, named = [], jax.tree.leaves(axes, is_leaf=lambda x: isinstance(x, tuple))
    for (path, leaf), logical in zip(jax.tree_util.tree_leaves_with_path(params), named, strict=True):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        part = leaf.sharding.shard_shape(leaf.shape)
        sizes = leaf.sharding.mesh.shape
        on_mesh = tuple(None if axis is None or sizes[axis] == 1 else axis for axis in map(axis_of, logical))
        size = leaf.dtype.itemsize
        leaves.append(
            Leaf(name, leaf.shape, logical, on_mesh, part, size * math.prod(leaf.shape), size * math.prod(part))
        )
    return leaves


def both_bytes(tree: Any) -> tuple[int, int]:
    """Bytes of all abstract arrays of a tree, and of what of them is on one device."""
    import jax

    leaves = jax.tree.leaves(tree)
    size = lambda leaf, shape: leaf.dtype.itemsize * math.prod(shape)
    whole = sum(size(leaf, leaf.shape) for leaf in leaves)
    return whole, sum(size(leaf, leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(UserError.exit_code)
