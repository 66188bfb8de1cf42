"""A proof that a run may be stopped anywhere and go on with another number of devices and processes.

The run is trained once without a break, and once with kills at random moments, each time on other devices or in other
processes. With step.deterministic='strict' both must end in the same bits, and say the same in every line of metrics;
the batches of both are compared too, as each process reads them.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlm.batch import Batch
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig, CheckpointFolder
from jaxlm.data.loader import batches
from jaxlm.data.shards import Shards
from jaxlm.errors import JaxlmError, UserError
from jaxlm.run_config import RunConfig, load_config
from jaxlm.run_folder import RunFolder, read_json

# What depends on the machine's mood; all other fields of metrics.jsonl must be equal.
TIMINGS = {"seconds", "step_ms", "data_wait_ms", "tokens_per_second", "model_flops_per_second", "mfu"}
STRICT = "step.deterministic=strict"  # set in both runs: without it bits depend on the devices


class Shape(NamedTuple):
    """On what an attempt runs."""

    processes: int
    devices: int  # of all processes together

    def __str__(self) -> str:
        return f"{self.processes} process{'es' * (self.processes > 1)} x {self.devices // self.processes} devices"


class Attempt(NamedTuple):
    shape: Shape
    killed_at: int | None  # the step that had been logged last; None: it ended by itself
    seconds: float


def broken_run(
    command: Callable[[Shape], Sequence[str]],
    metrics: Path,
    shapes: Sequence[Shape],
    kills: Sequence[int],
    log: Callable[[Attempt], None],
) -> list[Attempt]:
    """Start `command(shape)` again and again, each time with the next shape, and kill it when `metrics` has the step.

    JaxlmError where an attempt fails by itself.
    """
    attempts: list[Attempt] = []
    for number, kill in enumerate([*kills, None]):
        shape, began = shapes[number % len(shapes)], time.monotonic()
        with tempfile.TemporaryFile("w+", errors="replace") as output:  # a pipe that nobody reads would fill
            child = subprocess.Popen(
                [sys.executable, "-m", "jaxlm", *command(shape)],
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            killed = end_at(kill, child, metrics)
            if killed is None and child.returncode != 0:
                output.seek(0)
                told = output.read()[-2000:]
                raise JaxlmError(f"an attempt on {shape} ended with exit code {child.returncode}:\n{told}")
        attempts.append(Attempt(shape, killed, time.monotonic() - began))
        log(attempts[-1])
        if killed is None:
            break
    return attempts


def end_at(kill: int | None, child: subprocess.Popen, metrics: Path) -> int | None:
    """Wait for `child`, or kill it when step `kill` is logged; the step that was, if it was killed."""
    while child.poll() is None:
        if kill is not None and (step := last_step(metrics)) >= kill:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return step
        time.sleep(0.02)
    return None


def random_steps(steps: int, kills: int, seed: int) -> list[int]:
    """Steps to kill at, in rising order."""
    return sorted(random.Random(seed).sample(range(1, steps), min(kills, steps - 1)))


def last_step(metrics: Path) -> int:
    return max((line["step"] for line in lines(metrics)), default=0)


def lines(metrics: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a file that another process writes."""
    for line in metrics.read_bytes().split(b"\n")[:-1] if metrics.exists() else ():
        yield json.loads(line)


def differences(one: Path, other: Path) -> list[str]:
    """What metrics.jsonl of two runs say differently, but for times."""
    said = [{(line["step"], "loss" in line): line for line in lines(path)} for path in (one, other)]
    found = [f"step {step}: only one of them has it" for step, _ in said[0].keys() ^ said[1].keys()]
    for key in said[0].keys() & said[1].keys():
        a, b = said[0][key], said[1][key]
        for name in sorted((a.keys() | b.keys()) - TIMINGS):
            if a.get(name) != b.get(name):
                found.append(f"step {key[0]}, {name}: {a.get(name)} and {b.get(name)}")
    return sorted(found)


def shapes(processes: Sequence[int], devices: Sequence[int]) -> list[Shape]:
    """As many as the longer list has, the shorter one over again; UserError where devices do not divide."""
    count = max(len(processes), len(devices))
    found = [Shape(processes[n % len(processes)], devices[n % len(devices)]) for n in range(count)]
    for shape in found:
        if shape.devices % shape.processes:
            raise UserError(
                f"{shape.devices} devices do not divide over {shape.processes} processes: change --devices or "
                f"--processes, which are paired in their order"
            )
    return found


def prove(
    config: str,
    overrides: Sequence[str],
    folder: Path,
    places: Sequence[Shape],
    kills: int,
    seed: int,
    *,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """What `jaxlm verify-resume` prints: the attempts, and what differs between the unbroken and the broken run."""
    overrides = (*overrides, STRICT)
    cfg = load_config(config, *overrides)
    runs = {name: folder / name for name in ("unbroken", "broken")}

    def command(name: str) -> Callable[[Shape], list[str]]:
        return lambda shape: _command(config, overrides, runs[name], folder / "shards", shape)

    say(f"training without a break on {places[0]}")
    broken_run(command("unbroken"), runs["unbroken"] / "metrics.jsonl", places[:1], [], lambda _: None)
    at = random_steps(cfg.loop.steps, kills, seed)
    told = lambda attempt: say(f"{attempt.shape}: " + (
        "done" if attempt.killed_at is None else f"killed when step {attempt.killed_at} was logged"
    ))  # fmt: skip
    attempts = broken_run(command("broken"), runs["broken"] / "metrics.jsonl", places, at, told)
    arrays = [CheckpointFolder(run / "checkpoints") for run in runs.values()]
    step, different, names = _compare(*arrays)
    said = differences(*(run / "metrics.jsonl" for run in runs.values()))
    batches, unlike = same_batches(cfg, runs["unbroken"], sorted({shape.processes for shape in places}))
    return {
        "same": not (different or said or unlike),
        "attempts": [{**attempt._asdict(), "shape": str(attempt.shape)} for attempt in attempts],
        "step": step,
        "arrays": names,
        "different_arrays": different,
        "lines": sum(1 for _ in lines(runs["unbroken"] / "metrics.jsonl")),
        "differences": said,
        "batches": batches,
        "batch_differences": unlike,
    }


def _command(config: str, overrides: Sequence[str], run: Path, shards: Path, shape: Shape) -> list[str]:
    place = ("mesh.layout=single",) if shape.devices == 1 else (
        "mesh.layout=replicated", f"mesh.devices={shape.devices}"
    )  # fmt: skip
    settings = [word for setting in (*overrides, *place) for word in ("--set", setting)]
    train = ["train", config, "--run-dir", str(run), "--shards-dir", str(shards), *settings]
    if shape.processes == 1:
        return train
    return ["launch", "--processes", str(shape.processes), "--restarts", "0", "--", *train]


def _compare(one: CheckpointFolder, other: CheckpointFolder) -> tuple[int, list[str], list[str]]:
    """(step, names of arrays that differ in it, all names) of the newest step of both."""
    states = []
    for folder in (one, other):
        with Checkpoints(folder.root, CheckpointConfig(), read_only=True) as checkpoints:
            states.append(checkpoints.read(prefix=""))
    (step, a, _), (step_too, b, _) = states
    if step != step_too:
        raise JaxlmError(f"the newest checkpoints are of step {step} and {step_too}")
    return step, sorted(name for name in a.keys() | b.keys() if not _same(a.get(name), b.get(name))), sorted(a)


def _same(a: Any, b: Any) -> bool:
    return a is not None and b is not None and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same_batches(cfg: RunConfig, run: Path, processes: Sequence[int], most: int = 200) -> tuple[int, list[str]]:
    """(steps compared, where they differ): the rows that each number of processes reads together."""
    shards = Shards.open(read_json(RunFolder(run).data)["shards"])
    steps = min(most, cfg.loop.steps)
    found = {count: _digests(shards, cfg, count, steps) for count in {1, *processes}}
    return steps, [
        f"step {step} read by {count} processes" for count, digests in found.items()
        for step, (digest, wanted) in enumerate(zip(digests, found[1], strict=True)) if digest != wanted
    ]  # fmt: skip


def _digests(shards: Shards, cfg: RunConfig, count: int, steps: int) -> list[str]:
    readers = [batches(shards, cfg.data, process_index=n, process_count=count) for n in range(count)]
    try:
        return [_digest([next(reader) for reader in readers]) for _ in range(steps)]
    finally:
        for reader in readers:
            reader.close()


def _digest(parts: list[Batch]) -> str:
    whole = zip(*(jax.tree.leaves(part) for part in parts), strict=True)
    return hashlib.sha256(b"".join(np.concatenate(arrays).tobytes() for arrays in whole)).hexdigest()
