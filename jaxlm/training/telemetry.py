"""Where metrics go: metrics.jsonl and the terminal always, TensorBoard unless refused, Weights & Biases if asked."""

import json
import logging
import math
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from jaxlm import redact
from jaxlm.config import Config
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

Show = Callable[[int, Mapping[str, float | None]], None]  # (step, metrics); None: could not be measured


class TelemetryConfig(Config):
    wandb: str | None = None  # project on Weights & Biases; None: nothing leaves the machine
    tensorboard: bool = True


class MetricsFile:
    """metrics.jsonl: one JSON object a line, steps rising; numbers that are not finite become null."""

    def __init__(self, path: Path, start: int) -> None:
        """Drop lines after step `start`: they are about to be written again."""
        self.path = path
        kept = [line for line in read_lines(path) if line["step"] <= start]
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            file.writelines(orjson.dumps(line) + b"\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        self._file = open(path, "ab")  # noqa: SIM115  (open for the whole run)

    def write(self, step: int, metrics: Mapping[str, float | None]) -> None:
        finite = {name: value if value is None or math.isfinite(value) else None for name, value in metrics.items()}
        self._file.write(orjson.dumps({"step": step, **finite}) + b"\n")
        self._file.flush()

    def sync(self) -> None:
        """On disk before a checkpoint names a later step: else a crash would leave a gap."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_lines(path: Path) -> list[dict]:
    """The whole lines of a metrics file; a last line cut short by a crash is left out."""
    if not path.exists():
        return []
    lines = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            value = json.loads(line) if line else None
        except ValueError:  # no JSON, or no UTF-8
            value = None
        if isinstance(value, dict) and isinstance(value.get("step"), int):
            lines.append(value)
        elif line:
            log.warning("%s, line %d is not whole: left out", path, number)
    return lines


class Telemetry:
    """Sends each line to every destination; `show` is what the terminal does with it."""

    def __init__(
        self,
        cfg: TelemetryConfig,
        folder: Path,
        *,
        start: int,
        config: Mapping[str, Any],
        show: Show = lambda *_: None,
    ) -> None:
        self._show = show
        self._wandb = start_wandb(cfg.wandb, folder, config) if cfg.wandb else None
        self._file = MetricsFile(folder / "metrics.jsonl", start)
        self._board = _board(folder / "tensorboard", start) if cfg.tensorboard else None

    def write(self, step: int, metrics: Mapping[str, float | None]) -> None:
        self._file.write(step, metrics)
        if self._board:
            for name, value in metrics.items():
                if value is not None:
                    self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)
        if self._wandb:
            self._wandb.log(dict(metrics), step=step)
        self._show(step, metrics)

    def sync(self) -> None:
        self._file.sync()

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()
        if self._wandb:
            self._wandb.finish()


class Silent:
    """A Telemetry that says nothing, as that of all processes but one."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def write(self, step: int, metrics: Mapping[str, float | None]) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


def _board(folder: Path, start: int) -> Any:
    from tensorboardX import SummaryWriter  # here, as it imports torch wherever that is installed: seconds

    return SummaryWriter(str(folder), purge_step=start + 1)


def start_wandb(project: str, folder: Path, config: Mapping[str, Any]) -> Any:
    try:
        import wandb  # type: ignore[import-not-found]  # an extra
    except ImportError:
        raise UserError(f"telemetry.wandb={project!r} needs the package: pip install 'jaxlm[wandb]'") from None
    kept = folder / "wandb_id"  # a run of the same name, in another folder or set aside, is another run
    if not kept.exists():
        kept.write_text(f"{folder.name}-{uuid.uuid4().hex[:8]}")
    return wandb.init(
        project=project,
        name=folder.name,
        id=kept.read_text(),
        dir=str(folder),
        config=redact.values(dict(config)),
        resume="allow",
    )
