"""How a model lies on the devices: told by the config, or chosen by measuring.

On CPU the best layout depends on the model: one device for each core with replicated state wins for small
ones, one device with all cores for large ones. How many CPU devices there are is fixed once jax has started,
so each candidate runs a few steps in a short process of its own. On GPU and TPU the state is split.
"""

import json
import logging
import subprocess
import sys
from typing import Any, Literal, NamedTuple

import pydantic

from jaxlm.errors import JaxlmError, UserError
from jaxlm.mesh import MeshConfig
from jaxlm.training.compile import Way

log = logging.getLogger("jaxlm")
CLOSE = 1.3  # chosen: candidates within this factor of the fastest take a second turn, and the faster one counts
TIMEOUT = 120  # chosen: seconds a candidate may take, start and compilation included


class Layout(NamedTuple):
    """A decided MeshConfig; what layout.json holds."""

    mesh: MeshConfig
    devices: pydantic.PositiveInt | None  # CPU devices to start jax with, in each process; None: not a CPU
    compile: Way
    why: str
    measured: dict[str, float | str]  # candidate -> median ms a step, or why it has none
    processes: pydantic.PositiveInt = 1

    def dump(self) -> dict[str, Any]:
        return {**self._asdict(), "mesh": self.mesh.model_dump(mode="json")}

    @classmethod
    def parse(cls, saved: Any) -> "Layout":
        try:
            return pydantic.TypeAdapter(cls).validate_python(saved)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(
                f"layout.json is not what jaxlm wrote ({where}: {first['msg']}): remove it to choose anew"
            ) from None


def told(cfg: MeshConfig, way: Way | Literal["auto"], cores: int | None) -> Layout:
    """The layout that the config itself says; `cores` is None where jax does not run on CPU."""
    devices = None if cores is None else cpu_devices(cfg, cores)
    chosen = default_way(cfg, cores is not None) if way == "auto" else way
    return Layout(cfg, devices, chosen, "the config says so", {})


def strict(cfg: MeshConfig, parts: int, cores: int | None) -> Layout:
    """Replicated state on as many devices as `parts` of the batch divide over; "single" stays single.

    `cores` is None where jax does not run on CPU; all its devices are used there.
    """
    wanted = 1 if cfg.layout == "single" else cfg.devices
    if wanted is None and cores is not None:
        wanted = max(n for n in range(1, cores + 1) if parts % n == 0)
    kind = "single" if wanted == 1 else "replicated"
    mesh = cfg.model_copy(update={"layout": kind, "devices": wanted if kind == "replicated" else None})
    return Layout(mesh, None if cores is None else wanted, "strict", "step.deterministic='strict' replicates", {})


def refuse_strict(deterministic: str, what: str) -> None:
    """UserError for `what` tells of the step as it is compiled for a mesh, which a strict one is not."""
    if deterministic == "strict":
        raise UserError(
            f"step.deterministic='strict' is made of programs for one device, of which {what} knows nothing: ask about "
            f"--set step.deterministic=fast"
        )


def among(layout: Layout, processes: int) -> Layout:
    """`layout`, whose CPU devices are those of all processes together, with the share of each."""
    if layout.devices is None or processes == 1:
        return layout._replace(processes=processes)
    if layout.devices % processes:
        raise UserError(
            f"mesh.layout={layout.mesh.layout!r} with {layout.devices} devices does not divide over {processes} "
            f"processes: use {-(-layout.devices // processes) * processes} (mesh.devices, or the sizes of the axes), "
            f"or start another number of processes"
        )
    return layout._replace(devices=layout.devices // processes, processes=processes)


def cpu_devices(cfg: MeshConfig, cores: int) -> int:
    if cfg.layout == "axes":
        return cfg.data * cfg.fsdp * cfg.tensor * cfg.sequence
    return 1 if cfg.layout == "single" else cfg.devices or cores


def default_way(cfg: MeshConfig, on_cpu: bool) -> Way:
    return "shard_map" if on_cpu and cfg.layout == "replicated" else "jit"


def candidates(cfg: MeshConfig, way: Way | Literal["auto"], cores: int, batch: int) -> list[Layout]:
    """What "auto" chooses from on CPU, cheapest to try first."""
    if cfg.devices and batch % cfg.devices:  # asked for; where nobody did, one device will do
        raise UserError(
            f"data.batch={batch} does not divide over mesh.devices={cfg.devices}: make it "
            f"{-(-batch // cfg.devices) * cfg.devices}, or use fewer devices"
        )
    devices = cfg.devices or cores
    kinds = ["single"]
    if devices > 1 and batch % devices == 0:
        kinds = ["replicated", "single", "sharded"]
    elif devices > 1:
        log.info("data.batch=%d does not divide over %d devices, so one is used", batch, devices)
    of = lambda kind: cfg.model_copy(update={"layout": kind, "devices": None if kind == "single" else cfg.devices})
    layouts = [told(of(kind), way, cores) for kind in kinds]
    if way in ("shard_map", "pmap"):
        layouts = [layout for layout in layouts if layout.mesh.layout != "sharded"]
    return layouts


def choose(config: dict[str, Any], layouts: list[Layout], vocab: int) -> Layout:
    """The fastest of `layouts` for a dumped RunConfig, each measured in a process of its own."""
    if len(layouts) == 1:
        return layouts[0]._replace(why="the only candidate")
    measured: dict[str, float | str] = {}
    refusals = []
    for layout in layouts:
        try:
            measured[layout.mesh.layout] = measure_in_child(config, layout, vocab)
        except UserError as error:
            measured[layout.mesh.layout] = str(error)
            refusals.append(error)
        log.info("layout %s: %s", layout.mesh.layout, _show(measured[layout.mesh.layout]))
    if len(refusals) == len(layouts):  # no layout mends the config
        raise refusals[0]
    times = {name: value for name, value in measured.items() if isinstance(value, float)}
    if not times:
        raise JaxlmError(f"no layout could run a step: {measured}")
    if len(rivals := [name for name, time in times.items() if time <= CLOSE * min(times.values())]) > 1:
        for layout in layouts:  # whatever else ran during one of the first turns does not decide
            if layout.mesh.layout in rivals:
                again = measure_in_child(config, layout, vocab)
                if isinstance(again, float):
                    measured[layout.mesh.layout] = times[layout.mesh.layout] = min(times[layout.mesh.layout], again)
    best = min(times, key=times.__getitem__)
    layout = next(layout for layout in layouts if layout.mesh.layout == best)
    return layout._replace(why="fastest of " + ", ".join(map(_show_pair, measured.items())), measured=measured)


def measure_in_child(config: dict[str, Any], layout: Layout, vocab: int) -> float | str:
    """Median milliseconds of a step, or the last line of what went wrong; UserError where the config is."""
    question = json.dumps({"config": config, "layout": layout.dump(), "vocab": vocab})
    try:
        child = subprocess.run(
            [sys.executable, "-m", "jaxlm.measure"],
            input=question,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"over {TIMEOUT} s"
    if child.returncode == UserError.exit_code:
        raise UserError(child.stderr.strip())
    if child.returncode:
        return (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1][:200]
    return float(json.loads(child.stdout.splitlines()[-1])["step_ms"])


def _show_pair(pair: tuple[str, float | str]) -> str:
    return f"{pair[0]} ({_show(pair[1])})"


def _show(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f} ms a step"
