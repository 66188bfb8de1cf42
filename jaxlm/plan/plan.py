"""A plan: does a step fit its target, where does its memory go, what do devices say to each other, how fast at most.

And where it does not fit: the first of a few changes with which it does, each tried by compiling it.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jaxlm.config import override
from jaxlm.errors import UserError
from jaxlm.models.attention_choice import announce
from jaxlm.models.stack_config import StackConfig
from jaxlm.plan import hlo, memory, roofline, target
from jaxlm.plan.collectives import Traffic, by_kind, collectives
from jaxlm.plan.compilation import Compilation, compile_for, vocab_of
from jaxlm.plan.memory import Breakdown, Large
from jaxlm.plan.roofline import Bound
from jaxlm.plan.target import Target
from jaxlm.run_config import RunConfig

log = logging.getLogger("jaxlm")
Tell = Callable[[str], None]
FAR = 1.2  # chosen: times the least; a ring's own rounding stays under it


class Plan(NamedTuple):
    target: Target
    mesh: dict[str, int]
    parameters: int  # of the model, all devices together
    vocab: int
    vocab_from: str
    layout: str  # mesh.layout and how the step is compiled
    fits: bool
    limit: int  # bytes of a device that a program may use; on CPU of all together
    peak: int  # bytes of a device; on CPU of each
    memory: Breakdown
    largest: list[Large]
    collectives: dict[str, Traffic]
    collective_bytes: int  # that a device sends in a step
    least_collective_bytes: int | None  # by one microbatch; None: activations travel too, or nothing does
    unknown_loops: list[str]  # whose rounds the program does not say: counted once
    bound: Bound
    compile_seconds: float
    substitutions: list[str]  # what the target would do otherwise
    notes: list[str]

    def dump(self) -> dict[str, Any]:
        """What --json prints."""
        facts = self._asdict()
        facts |= {name: getattr(self, name)._asdict() for name in ("target", "memory", "bound")}
        facts["largest"] = [one._asdict() for one in self.largest]
        facts["collectives"] = {kind: traffic._asdict() for kind, traffic in self.collectives.items()}
        facts["peak_bytes_per_device"], facts["limit_bytes_per_device"] = facts.pop("peak"), facts.pop("limit")
        facts["memory"]["explained"] = self.memory.explained
        return facts


class Change(NamedTuple):
    """Settings that were tried to make a step fit."""

    settings: list[str]
    fits: bool
    peak: int | None  # None: refused before it was compiled
    why: str = ""


def plan(cfg: RunConfig, goal: Target, devices: Sequence[Any]) -> Plan:
    """The plan of `cfg` for `goal`; UserError where the config does not suit it."""
    vocab, origin = vocab_of(cfg)
    with warnings_kept() as warnings:
        made = compile_for(cfg, goal, vocab, devices)
    found = collectives(made.program)
    parts, largest = memory.breakdown(made.drawing, made.program, made.buffers, made.code)
    limit = target.memory(goal)
    sharing = made.drawing.mesh.size if goal.platform == "cpu" else 1
    mesh = made.drawing.mesh
    moved = made.buffers.arguments + made.buffers.outputs + 2 * made.buffers.temporaries
    moved += memory.on_device(made.drawing.abstract)  # the new state, in the old one's place
    return Plan(
        target=goal,
        mesh=dict(mesh.shape),
        parameters=memory.elements(made.drawing.abstract.params),
        vocab=made.drawing.family.vocab,
        vocab_from=origin,
        layout=f"{made.layout.mesh.layout} by {made.layout.compile}",
        fits=not made.refusal and sharing * parts.total <= limit,
        limit=limit,
        peak=parts.total,
        memory=parts,
        largest=largest,
        collectives=by_kind(found),
        collective_bytes=sum(one.bytes for one in found),
        least_collective_bytes=roofline.least_bytes(made.drawing),
        unknown_loops=hlo.runs(made.program)[1],
        bound=roofline.bound(cfg, made.drawing, moved, found, goal),
        compile_seconds=made.seconds,
        substitutions=warnings,
        notes=notes(cfg, made, goal, sum(one.bytes for one in found), warnings),
    )


def notes(cfg: RunConfig, made: Compilation, goal: Target, sent: int, warnings: list[str]) -> list[str]:
    """What one should know of a plan; `sent`: the bytes of its collectives."""
    said = []
    if goal.platform == "gpu" and any("triton" in warning for warning in warnings):
        said.append(
            "cuDNN's kernels do not compile without a GPU, so the Triton kernel stands for them: where cuDNN is, it "
            "computes attention, and its own memory is not in this plan (packed rows give it a mask of B x L x L)"
        )
    if made.refusal:
        said.append(f"the compiler refuses the program: {made.refusal}")
    if goal.platform == "cpu" and cfg.mesh.layout == "auto":
        said.append(
            f"mesh.layout='auto' is decided by measuring when the run begins: {made.layout.mesh.layout!r} is planned"
        )
    least = roofline.least_bytes(made.drawing)
    if goal.platform == "tpu" and cfg.step.microbatches == 1 and least and sent > FAR * least:
        ring = max(int(side) for side in goal.topology.partition(":")[2].split("x"))
        said.append(
            f"devices send {sent / least:.2f} times the least: libtpu scatters gradients along one side of its torus "
            f"only, so mesh.layout=axes with mesh.fsdp={ring} and mesh.data={goal.devices // ring} may send less"
        )
    if made.drawing.mesh.size < goal.devices:
        said.append(f"the mesh uses {made.drawing.mesh.size} of the {goal.devices} devices")
    return said


@contextlib.contextmanager
def warnings_kept() -> Iterator[list[str]]:
    """What jaxlm warns of while a step is traced: choices that differ from what the target prefers."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Keep(logging.WARNING)
    announce.cache_clear()  # else only the first of several plans is told
    log.addHandler(handler)
    try:
        yield messages
    finally:
        log.removeHandler(handler)


def mend(cfg: RunConfig, goal: Target, devices: Sequence[Any], tell: Tell) -> list[Change]:
    """Changes tried one after another until the step fits; the last one fits, or none does."""
    tried: list[Change] = []
    for settings in knobs(cfg, goal):
        tell(f"trying {' '.join(settings)}")
        try:
            made = plan(override(cfg, settings), goal, devices)
        except UserError as error:
            tried.append(Change(settings, False, None, str(error)))
            continue
        tried.append(Change(settings, made.fits, made.peak))
        if made.fits:
            break
    return tried


def knobs(cfg: RunConfig, goal: Target) -> Iterator[list[str]]:
    """Settings that make a step smaller, the cheapest in speed first; each set keeps those before it."""
    kept: list[str] = []
    if isinstance(cfg.model, StackConfig):
        stronger = {"none": ["dots", "full"], "dots": ["full"], "full": []}[cfg.model.remat]
        for policy in stronger:
            yield [f"model.remat={policy}"]
        kept = ["model.remat=full"] if stronger else []
    if cfg.mesh.layout not in ("auto", "sharded") and goal.devices > 1:
        kept = [*kept, "mesh.layout=sharded", "mesh.devices=none", *_ones(cfg)]
        yield kept
    shards = goal.devices if cfg.mesh.layout != "axes" else cfg.mesh.data * cfg.mesh.fsdp
    parts = 2 * cfg.step.microbatches
    while cfg.data.batch % (parts * shards) == 0:
        yield [*kept, f"step.microbatches={parts}"]
        parts *= 2
    rows = cfg.data.batch // 2
    while rows and rows % shards == 0:
        yield [*kept, "step.microbatches=1", f"data.batch={rows}"]
        rows //= 2


def _ones(cfg: RunConfig) -> list[str]:
    return [f"mesh.{axis}=1" for axis in ("data", "fsdp", "tensor", "sequence") if getattr(cfg.mesh, axis) > 1]
