"""Meshes x remat x microbatches: what fits, ranked by the least time of a step.

A step's least time knows no latency and hides all that can be hidden: among programs whose bound is close, measure.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxlm.config import override
from jaxlm.errors import UserError
from jaxlm.models.stack_config import StackConfig
from jaxlm.plan.compilation import draw, vocab_of
from jaxlm.plan.memory import on_device
from jaxlm.plan.plan import plan
from jaxlm.plan.target import Target, memory
from jaxlm.run_config import RunConfig

MOST_TENSOR = 8  # chosen: the devices of a host; wider, each layer's sums cross slower links


class Tried(NamedTuple):
    settings: list[str]
    fits: bool
    peak: int
    seconds: float | None
    mfu: float | None
    by: str | None
    collective_bytes: int
    compile_seconds: float


class Found(NamedTuple):
    ranked: list[Tried]
    refused: list[tuple[list[str], str]]  # settings that the config or the devices do not allow
    possible: int

    def dump(self) -> dict[str, Any]:
        return {
            "ranked": [one._asdict() for one in self.ranked],
            "refused": [{"settings": settings, "why": why} for settings, why in self.refused],
            "possible": self.possible,
        }


def search(cfg: RunConfig, goal: Target, devices: Sequence[Any], at_most: int, tell: Callable[[str], None]) -> Found:
    """Compile up to `at_most` ways to run `cfg` on `goal`, those whose state is smallest beside its room first."""
    ways = list(combinations(cfg, goal))
    likely, refused = sift(cfg, goal, devices, ways)
    tried: list[Tried] = []
    for number, settings in enumerate(likely[:at_most], start=1):
        tell(f"{number} of {min(at_most, len(likely))}: {' '.join(settings)}")
        try:
            made = plan(override(cfg, settings), goal, devices)
        except UserError as error:
            refused.append((settings, str(error)))
            continue
        of = made.bound
        tried.append(
            Tried(
                settings, made.fits, made.peak, of.seconds, of.mfu, of.by, made.collective_bytes, made.compile_seconds
            )
        )
    best = lambda one: (not one.fits, math.inf if one.seconds is None else one.seconds)  # then as tried: simplest first
    return Found(sorted(tried, key=best), refused, len(ways))


def combinations(cfg: RunConfig, goal: Target) -> Iterator[list[str]]:
    """Settings of each way to run `cfg`, the simplest first."""
    policies = ["none", "dots", "full"] if isinstance(cfg.model, StackConfig) else [None]
    for microbatches in powers(cfg.data.batch):
        for tensor in powers(goal.devices):
            if tensor > MOST_TENSOR:
                break
            for data in powers(goal.devices // tensor):
                fsdp = goal.devices // tensor // data
                if data * tensor * fsdp != goal.devices or cfg.data.batch % (data * fsdp * microbatches):
                    continue
                for policy in policies:
                    mesh = ["mesh.layout=axes", "mesh.devices=none"]
                    mesh += [f"mesh.data={data}", f"mesh.fsdp={fsdp}", f"mesh.tensor={tensor}", "mesh.sequence=1"]
                    remat = [] if policy is None else [f"model.remat={policy}"]
                    yield [*mesh, *remat, f"step.microbatches={microbatches}"]


def powers(most: int) -> Iterator[int]:
    """1, 2, 4, ... as far as they divide `most`."""
    n = 1
    while most % n == 0 and n <= most:
        yield n
        n *= 2


def sift(cfg: RunConfig, goal: Target, devices: Sequence[Any], ways: list[list[str]]):
    """(ways whose state and gradients leave room, refused ones): shapes are enough to tell, nothing is compiled."""
    vocab, _ = vocab_of(cfg)
    room = memory(goal)
    likely, refused, known = [], [], {}
    for settings in ways:
        mesh = tuple(one for one in settings if one.startswith("mesh."))
        if mesh not in known:
            try:
                changed = override(cfg, settings)
                drawing = draw(changed, goal, vocab, devices)
                known[mesh] = on_device(drawing.abstract) + on_device(drawing.abstract.params)
            except UserError as error:
                known[mesh] = str(error)
        size = known[mesh]
        if isinstance(size, str):
            refused.append((settings, size))
        elif size * (goal.devices if goal.platform == "cpu" else 1) <= room:
            likely.append(settings)
        else:
            refused.append((settings, f"state and gradients alone take {size / 2**30:.1f} GiB of a device"))
    return likely, refused
