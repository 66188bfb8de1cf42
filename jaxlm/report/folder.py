"""Reads a run folder as it is: any file may be missing, cut short or hold a line that is no JSON.

What cannot be read is left out and named in `notes`, which the page prints. Values that are not finite
(`null`, `NaN`, "nan", "inf") become NaN. Nothing here writes.
"""

import fcntl
import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from jaxlm.data.objectives import ASKED
from jaxlm.errors import UserError

METRICS = (
    "loss",
    "tokens",
    "skipped",
    "learning_rate",
    "tokens_per_second",
    "data_wait_ms",
    "step_ms",
    "grad_norm",
    "seconds",
    "eval/loss",
    "eval/bits_per_byte",
    "eval/accuracy",
)
OBJECTS = ("config", "layout", "environment", "data")
TOO_LARGE = 1e100  # chosen: a value beyond it is as good as infinite, and sums of smaller ones stay finite


class Series(NamedTuple):
    """One metric: `value[i]` was logged at `step[i]`; steps increase, a value that was not finite is NaN."""

    step: np.ndarray
    value: np.ndarray

    def finite(self) -> "Series":
        keep = np.isfinite(self.value)
        return Series(self.step[keep], self.value[keep])

    def last(self) -> float | None:
        """The newest value, or None where there is none or it is not finite."""
        return float(self.value[-1]) if len(self.value) and math.isfinite(self.value[-1]) else None


@dataclass
class Run:
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)  # which shards, and the counts of each split
    metrics: dict[str, Series] = field(default_factory=dict)  # every name of METRICS, empty or not
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    training: bool = False  # a process is at work in the folder
    notes: list[str] = field(default_factory=list)  # what could not be read

    @property
    def step(self) -> int | None:
        """The newest step that any metric was logged at."""
        newest = [int(series.step[-1]) for series in self.metrics.values() if len(series.step)]
        return max(newest, default=None)

    @property
    def non_finite(self) -> np.ndarray:
        """Logged steps whose training loss was not finite."""
        return self.metrics["loss"].step[np.isnan(self.metrics["loss"].value)]

    @property
    def skipped(self) -> int:
        """Steps whose loss or gradient was not finite: as the loop counts them, at least those logged."""
        return max(int(self.metrics["skipped"].last() or 0), len(self.non_finite))

    @property
    def writes(self) -> bool:
        """Is it a model that `jaxlm generate` lets write? A config that cannot be read may be one's."""
        return self.setting("data", "objective", "kind") not in ("masked", *ASKED)

    @property
    def unit(self) -> str:
        """Of a loss: nats over whatever the run's objective asks for."""
        return "nats/" + ASKED.get(str(self.setting("data", "objective", "kind")), "token")

    def setting(self, *path: str) -> Any:
        """`setting("data", "batch")` of the config, or None."""
        value: Any = self.config
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value


def read(run_dir: Path) -> Run:
    """Everything the report needs. Raises UserError where `run_dir` is no run folder."""
    known = ["metrics.jsonl", "evaluations.jsonl", "samples.jsonl", *(f"{name}.json" for name in OBJECTS)]
    if not any((run_dir / name).is_file() for name in known):
        raise UserError(
            f"{str(run_dir)!r} is no run folder (it has none of {', '.join(known)}): name the one that `jaxlm train` "
            f"printed"
        )
    run = Run(run_dir.resolve().name)
    for name in OBJECTS:
        setattr(run, name, _read_object(run_dir / f"{name}.json", run.notes))
    run.metrics = _read_metrics(run_dir / "metrics.jsonl", run.notes)
    run.evaluations = list(_read_lines(run_dir / "evaluations.jsonl", run.notes))
    run.samples = list(_read_lines(run_dir / "samples.jsonl", run.notes))
    run.training = _is_locked(run_dir / "lock")
    return run


def number(value: Any) -> float | None:
    """`value` as a finite float, or None: for numbers that other files hold."""
    value = _float(value)
    return value if math.isfinite(value) else None


def _read_metrics(path: Path, notes: list[str]) -> dict[str, Series]:
    columns = {name: (array("d"), array("d")) for name in METRICS}  # 16 bytes a value: a million lines fit
    nameless = 0
    for line in _read_lines(path, notes):
        step = _float(line.get("step"))
        if math.isnan(step):
            nameless += 1
            continue
        for name in line.keys() & columns.keys():
            steps, values = columns[name]
            steps.append(step)
            values.append(_float(line[name]))
    if nameless:
        notes.append(f"{path.name}: lines left out because they name no step: {nameless:,}.")
    return {name: _in_order(*column) for name, column in columns.items()}


def _in_order(steps: "array[float]", values: "array[float]") -> Series:
    """Sorted by step; of lines with the same step the later one counts, as after a resume."""
    step, value = np.array(steps, np.float64), np.array(values, np.float64)
    if np.any(np.diff(step) <= 0):
        step, newest = np.unique(step[::-1], return_index=True)
        value = value[::-1][newest]
    return Series(step, value)


def _read_lines(path: Path, notes: list[str]) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    bad = 0
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            value = _parse(line)
            if isinstance(value, dict):
                yield value
            else:
                bad += 1
    if bad:
        notes.append(f"{path.name}: lines left out because they are no JSON objects: {bad:,}.")


def _read_object(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = _parse(path.read_bytes())
    if isinstance(value, dict):
        return value
    notes.append(f"{path.name} is not a JSON object and is left out.")
    return {}


def _is_locked(path: Path) -> bool:
    """Whether a process holds run_folder.py's lock; asked for a moment only, and shared, so reports do not collide."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock file, or a file system without locks
        return False
    return False


def _parse(text: bytes) -> Any:
    """The JSON value, or None. NaN and Infinity, which orjson refuses and Python writes, are accepted."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value) if abs(value) < TOO_LARGE else math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.nan
