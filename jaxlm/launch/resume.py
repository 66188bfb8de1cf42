"""A proof that a run may be stopped anywhere and go on with another number of devices and processes.

The run is trained once without a break, and once with kills at random moments, each time on other devices or in other
processes. With step.deterministic='strict' both must end in the same bits, and say the same in every line of metrics;
the batches of both are compared too, as each process reads them.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.errors import JaxlmError

# What depends on the machine's mood; all other fields of metrics.jsonl must be equal.
TIMINGS = {"seconds", "step_ms", "data_wait_ms", "tokens_per_second", "model_flops_per_second", "mfu"}


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
        child = subprocess.Popen(
            [sys.executable, "-m", "jaxlm", *command(shape)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        killed = None
        while child.poll() is None:
            step = last_step(metrics)
            if kill is not None and step >= kill:
                os.killpg(child.pid, signal.SIGKILL)
                killed = step
                break
            time.sleep(0.02)
        output, _ = child.communicate()
        if killed is None and child.returncode != 0:
            raise JaxlmError(f"an attempt on {shape} ended with exit code {child.returncode}:\n{output[-2000:]}")
        attempts.append(Attempt(shape, killed, time.monotonic() - began))
        log(attempts[-1])
        if killed is None:
            break
    return attempts


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
