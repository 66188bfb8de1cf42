"""The train step compiled for a target, and what XLA says of it. The same code as `jaxlm train`'s builds it.

Nothing is read but the config, and nothing runs: arrays are shapes.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxlm import mesh as meshes
from jaxlm import parts
from jaxlm.errors import JaxlmError, UserError
from jaxlm.parts import Drawing
from jaxlm.plan import buffers, hlo
from jaxlm.plan.buffers import Buffers
from jaxlm.plan.hlo import Program
from jaxlm.plan.target import Target
from jaxlm.room import planned_vocab
from jaxlm.run_config import RunConfig
from jaxlm.training import layout as layouts
from jaxlm.training.compile import compile_step
from jaxlm.training.layout import Layout


class Compilation(NamedTuple):
    drawing: Drawing
    layout: Layout
    program: Program
    buffers: Buffers
    code: int  # bytes of the program itself, in the device's memory
    seconds: float  # tracing and compiling
    refusal: str = ""  # why the compiler took it no further: it is too large


def compile_for(cfg: RunConfig, goal: Target, vocab: int, devices: Sequence[Any]) -> Compilation:
    """The step of `cfg` for `goal`, whose `devices` are those of `target.devices`."""
    layout = lay_out(cfg, goal)
    began = time.perf_counter()
    drawing = draw(cfg, goal, vocab, devices)
    with tempfile.TemporaryDirectory(prefix="jaxlm-plan-") as folder:
        refusal, code = "", 0
        options = {"xla_dump_to": folder}
        made = drawing.mesh, drawing.abstract, drawing.shardings, drawing.batch
        try:
            with uncached():
                compiled = compile_step(drawing.make, layout.compile, *made, options)
            code = compiled.executable.memory_analysis().generated_code_size_in_bytes
        except jax.errors.JaxRuntimeError as error:
            refusal = str(error).splitlines()[0]
            if "RESOURCE_EXHAUSTED" not in refusal:
                raise JaxlmError(f"--target {goal.name}: the compiler fails at this step: {refusal}") from error
        seconds = time.perf_counter() - began
        text = lambda ending: _read(Path(folder), ending, refusal)
        program = hlo.parse(text("after_optimizations.txt"))
        held = buffers.read(text("-buffer-assignment.txt"), text("-live-range.txt"))
    return Compilation(drawing, layout, program, held, code, seconds, refusal)


def draw(cfg: RunConfig, goal: Target, vocab: int, devices: Sequence[Any]) -> Drawing:
    """`parts.draw` for a target; UserError where its mesh cannot be laid on a torus of that shape."""
    layout = lay_out(cfg, goal)
    try:
        return parts.draw(cfg, layout, vocab, devices)
    except (NotImplementedError, AssertionError) as error:  # jax.make_mesh's, of a torus
        raise UserError(
            f"--target {goal.name}: a mesh of {meshes.sizes(layout.mesh, goal.devices)} cannot be laid on it "
            f"({str(error).splitlines()[0]}): make each axis a product of its sides"
        ) from None


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """A program from the cache is not compiled, so nothing is written of it."""
    before = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # jax asks once, and remembers
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


def _read(folder: Path, ending: str, refusal: str) -> str:
    """What XLA wrote of the step: it is the only program that writes there."""
    found = sorted(folder.glob(f"*{ending}"), key=lambda path: path.stat().st_size)
    if not found:
        raise JaxlmError(f"the compiler wrote no *{ending} of the step{refusal and ': ' + refusal}")
    return found[-1].read_text()


def lay_out(cfg: RunConfig, goal: Target) -> Layout:
    """The layout that `jaxlm train` would take; where it would measure, the first that it tries."""
    layouts.refuse_strict(cfg.step.deterministic, "a plan")
    if goal.platform != "cpu":
        return layouts.told(cfg.mesh, cfg.step.compile, None)
    if cfg.mesh.layout == "auto":
        return layouts.candidates(cfg.mesh, cfg.step.compile, goal.devices, cfg.data.batch)[0]
    return layouts.told(cfg.mesh, cfg.step.compile, goal.devices)


def vocab_of(cfg: RunConfig) -> tuple[int, str]:
    """(ids that the model needs, where the number is from); UserError where only a tokenizer's files know it."""
    vocab = planned_vocab(cfg)
    if vocab is None:
        raise UserError(
            f"how many ids the model has is said by the files of data.tokenizer.kind={cfg.data.tokenizer.kind!r}, and "
            f"a plan reads none: give model.vocab, e.g. --set model.vocab=32000"
        )
    return vocab, "data.tokenizer" if cfg.model.vocab is None else "model.vocab"
