"""The least time a step can take on a target, from published figures of its chips; what bounds it, and the MFU so far.

Three times, of which the longest bounds the step, as if all else were hidden behind it: arithmetic at the peak, memory
(what goes in is read, what comes out written, each temporary byte written and read once), and collectives over the
links. All are lower bounds, so the MFU is an upper one. FLOPs come from the families' formula, not from the compiler.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from jaxlm.parts import Drawing
from jaxlm.plan.collectives import Collective
from jaxlm.plan.target import HOST, Target
from jaxlm.run_config import RunConfig


class Bound(NamedTuple):
    flops: float  # of a step on all devices, by formula; recomputation does not count
    tokens: int  # of a step
    compute_seconds: float | None = None  # None: nothing is published of a CPU
    memory_seconds: float | None = None
    network_seconds: float | None = None
    seconds: float | None = None  # the longest
    by: str | None = None
    mfu: float | None = None  # at most
    tokens_per_second: float | None = None  # at most


def bound(cfg: RunConfig, drawing: Drawing, moved: int, found: Sequence[Collective], goal: Target) -> Bound:
    """`moved`: bytes that a device's memory reads and writes at least; `found`: the collectives of a step."""
    tokens = read_tokens(drawing)
    flops = tokens * drawing.family.flops_per_token(cfg.data.length)
    chip = goal.figures
    if chip is None:
        return Bound(flops, tokens)
    devices = drawing.mesh.size
    again = 4 / 3 if getattr(cfg.model, "remat", "none") == "full" else 1.0  # a forward pass more
    links = lambda one: chip.link if one.devices <= HOST else chip.wide_link
    arithmetic, network = again * flops / devices / chip.flops, sum(one.bytes / links(one) for one in found)
    times = {"arithmetic": arithmetic, "memory": moved / chip.bandwidth, "network": network}
    by = max(times, key=times.__getitem__)
    longest, mfu = times[by], flops / devices / chip.flops / times[by]
    return Bound(flops, tokens, arithmetic, times["memory"], network, longest, by, mfu, tokens / longest)


def read_tokens(drawing: Drawing) -> int:
    """Tokens of the rows of a step and of their sources, padding among them."""
    batch = drawing.batch
    return math.prod(batch.token.shape) + (0 if batch.source is None else math.prod(batch.source.token.shape))


def least_bytes(drawing: Drawing) -> int | None:
    """Of collectives, what a device must send in a step at least where rows and parameters alone are split; else None.

    Over `fsdp` three passes of the parameters, gathered for the forward and for the backward pass, gradients summed and
    cut: each (n-1)/n of them, in the dtype of products. Over `data` an all-reduce of what `fsdp` leaves of gradients.
    """
    mesh = drawing.mesh.shape
    if mesh["tensor"] * mesh["sequence"] > 1 or drawing.mesh.size == 1:
        return None
    width = 2 if drawing.family.precision == "bfloat16" else 4
    size = width * sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(drawing.abstract.params))
    split, copies = mesh["fsdp"], mesh["data"]
    return round(3 * size * (split - 1) / split + 2 * size / split * (copies - 1) / copies)
