"""What devices say to each other in a step: collectives by kind, counted from the compiled program.

Bytes are those that one device sends (and receives) in a ring over its group of n, the least that any algorithm needs
for large arrays (Patarasuk & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002): (n-1)/n of what is gathered, scattered or
exchanged, twice that for an all-reduce. Left out: latency, and what of it hides behind arithmetic.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from jaxlm.plan.hlo import Array, Computation, Instruction, Program, arrays, elements, runs

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")


class Collective(NamedTuple):
    """One collective of the program."""

    kind: str
    devices: int  # of a group
    runs: int  # in a step
    bytes: int  # that a device sends in a step
    dtype: str
    path: str  # where in the model


class Traffic(NamedTuple):
    """All of one kind."""

    count: int  # runs in a step
    bytes: int  # that a device sends in a step


def collectives(program: Program) -> list[Collective]:
    """All that a step runs; what travels in a loop counts for each round."""
    times, _ = runs(program)
    found: dict[tuple, Collective] = {}
    for computation in program.computations.values():
        for instruction in computation.instructions:
            kind = instruction.op.removesuffix("-start")
            if kind not in KINDS or not times[computation.name]:
                continue
            one = of(kind, instruction, computation, times[computation.name])
            # A TPU runs one collective in several pieces, each beside some arithmetic: they share a chain.
            chain = re.search(r'channel_id=(\d+).*chain_id="(\d+)"', instruction.rest)
            key = (kind, *chain.groups()) if chain else (computation.name, instruction.name)
            if one.devices > 1 and (key not in found or one.bytes > found[key].bytes):
                found[key] = one
    return list(found.values())


def of(kind: str, instruction: Instruction, computation: Computation, times: int) -> Collective:
    moved = payload(kind, instruction)
    size = sum(array.size for array in moved)
    devices = 2 if kind == "collective-permute" else group_size(instruction.rest)
    if kind == "all-reduce" and "all-reduce-scatter" in computation.name:
        kind = "reduce-scatter"  # a TPU's: summed and cut in one fusion
    share = {"all-reduce": 2 * (devices - 1) / devices, "collective-permute": 1.0, "collective-broadcast": 1.0}
    sent = size * share.get(kind, (devices - 1) / devices)
    dtype = max(moved, key=lambda array: array.size).dtype if moved else ""
    return Collective(kind, devices, times, round(times * sent), dtype, instruction.path)


def payload(kind: str, instruction: Instruction) -> list[Array]:
    """The arrays at their full size, without padding: what an all-gather returns, what a reduce-scatter takes."""
    shape, full = instruction.shape, instruction.op.endswith("-start") and kind == "reduce-scatter"
    if instruction.op.endswith("-start") and kind != "all-reduce":  # (operands, results, what the device notes)
        operands, results = elements(shape)[:2]
        shape = operands if kind == "reduce-scatter" else results
    parts = group_size(instruction.rest) if kind == "reduce-scatter" and not full else 1
    return [a._replace(layout="", dimensions=(a.elements * parts,)) for a in arrays(shape)]


def group_size(attributes: str) -> int:
    """Devices of a group, in each of the three ways that XLA writes them.

    >>> group_size("replica_groups={{0,1},{2,3}}"), group_size("replica_groups=[4,8]<=[32]")
    (2, 8)
    >>> group_size("replica_groups=mesh['a'=2,'b'=4] {'b'}, use_global_device_ids=true")
    4
    """
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]", attributes):
        return int(iota[2])
    if mesh := re.search(r"replica_groups=(?:@?\w*)?mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
        axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part) if part else sizes[name] for name, part in axes)
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return listed[1].count(",") + 1
    return 1


def by_kind(found: Iterable[Collective]) -> dict[str, Traffic]:
    """Kind -> how many, and bytes that a device sends; the most bytes first."""
    sums: dict[str, Traffic] = {}
    for one in found:
        count, size = sums.get(one.kind, (0, 0))
        sums[one.kind] = Traffic(count + one.runs, size + one.bytes)
    return dict(sorted(sums.items(), key=lambda pair: -pair[1].bytes))
