"""The run folder: whose it is, what is in it, and that only one process trains in it."""

import contextlib
import json
import logging
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxlm import __version__, host, json_file, redact
from jaxlm.config import difference
from jaxlm.corpus.lock import locked
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

FORMAT = 1  # of the folder; config.json carries it
# Prefixes of what may change while a run goes on: where and how it computes and what it tells, never what it learns.
FREE = ("mesh.", "step.compile", "checkpoint.", "telemetry.", "data.prefetch")
PLACE = ("mesh.", "step.compile")  # of these, what chooses the layout
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "sentencepiece", "tokenizers", "numpy")


class RunFolder:
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config, self.layout = self.path / "config.json", self.path / "layout.json"
        self.data, self.environment = self.path / "data.json", self.path / "environment.json"
        self.checkpoints, self.tokenizer = self.path / "checkpoints", self.path / "tokenizer"
        self.evaluations, self.samples = self.path / "evaluations.jsonl", self.path / "samples.jsonl"
        self.metrics, self.report = self.path / "metrics.jsonl", self.path / "report.html"

    def require(self) -> "RunFolder":
        """self, or UserError where this is no run."""
        if self.config.is_file() and not self.checkpoints.exists() and any(self.path.glob("*.safetensors")):
            raise UserError(
                f"{str(self.path)!r} is a Hugging Face model: `jaxlm import {self.path} RUN` makes it a run"
            )
        if not self.config.is_file():
            raise UserError(f"{str(self.path)!r} is no run folder (it has no config.json): `jaxlm train` makes one")
        return self

    def read_data(self) -> dict[str, Any] | None:
        """data.json: where the shards are, and their digest; None before the first preparation."""
        if not self.data.exists():
            return None
        known = read_json(self.data)
        if not isinstance(known, dict) or not all(isinstance(known.get(key), str) for key in ("shards", "digest")):
            raise UserError(
                f"{self.data} does not name 'shards' and 'digest', as jaxlm wrote it: restore it, or start anew "
                f"with --fresh"
            )
        return known

    def claim(self, config: dict[str, Any], *, fresh: bool, finished: bool = False) -> list[Path]:
        """Make the folder of `config`, or find that it is; another run's folder is refused, never changed.

        The folders that were made, this one first and then those above it.

        What FREE names may differ: the run goes on with it, in a layout chosen anew where that depends on it. A
        `finished` one has nowhere to go on to, and stays as it is.
        """
        config = redact.values(config)  # as it is kept
        self._require_no_links()
        if fresh and self.config.exists():
            with self.locked():  # nobody trains in it
                self._set_aside()
        if not self.config.exists():
            if file := next((above for above in self.path.parents if above.exists() and not above.is_dir()), None):
                raise UserError(f"{str(self.path)!r} cannot be made, as {str(file)!r} is a file: choose another folder")
            if self.path.exists() and not self._is_empty():
                raise UserError(
                    f"{str(self.path)!r} exists and is no run folder: choose another with --run-dir or --name"
                )
            made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"{str(self.path)!r} cannot be made: {error.strerror}: choose another folder with --run-dir"
                ) from None
            write_json(self.config, config)
            return made
        old = read_json(self.config)
        if not isinstance(old, dict):
            raise UserError(f"{self.config} is no config of a run: restore it, or set the run aside with --fresh")
        check_format(old, f"{self.config}: ")
        # What came with a later jaxlm and is not set changes nothing.
        lines = [line for line in difference(old, config) if not line.endswith('"(absent)" -> null')]
        if all(line.startswith(FREE) for line in lines):
            if finished or not lines:
                return []
            with self.locked():
                if any(line.startswith(PLACE) for line in lines):
                    self.layout.unlink(missing_ok=True)
                write_json(self.config, config)
            log.info("going on with %s", "; ".join(lines))
        elif not self.metrics.exists() and not self._has_checkpoints():
            with self.locked():  # it never began to train: a mistake that may be mended
                self.data.unlink(missing_ok=True)
                self.layout.unlink(missing_ok=True)
                write_json(self.config, config)
        else:
            raise UserError(
                f"{str(self.path)!r} is a run of another config:\n  "
                + "\n  ".join(lines)
                + "\nuse the old config to go on with it, --name or --run-dir for another folder, "
                + "or --fresh to set it aside"
            )
        return []

    def _require_no_links(self) -> None:
        """UserError where something in here is a link: training would write, or remove, where that leads."""
        inside = [path for folder in (self.path, self.checkpoints) if folder.is_dir() for path in folder.iterdir()]
        if link := next((path for path in sorted(inside) if path.is_symlink()), None):
            raise UserError(
                f"{str(link)!r} is a link, to {os.readlink(link)!r}, and training writes and removes in its own folder "
                f"only: copy what it leads to, or train where that lies, with --run-dir"
            )

    def _is_empty(self) -> bool:
        """But for a lock; a file in the place of the folder is not empty."""
        return self.path.is_dir() and all(inside.name == "lock" for inside in self.path.iterdir())

    def _has_checkpoints(self) -> bool:
        return self.checkpoints.is_dir() and any(inside.name.isdigit() for inside in self.checkpoints.iterdir())

    def _set_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        os.rename(self.path, aside)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time; the kernel lets go when a process dies."""
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path / "lock", "--run-dir", wait=False) as free:
            if not free:
                raise UserError(f"{str(self.path)!r} is being trained by another process: wait for it, or use --name")
            yield

    @contextmanager
    def undone(self, made: list[Path]) -> Iterator[None]:
        """Where a mistake or a signal comes before anything was trained, the folders that `claim` made go again."""
        try:
            yield
        except (UserError, KeyboardInterrupt):
            known = {file.name for file in (self.config, self.data, self.tokenizer, self.layout, self.environment)}
            if made and {inside.name.removesuffix(".tmp") for inside in self.path.iterdir()} <= {*known, "lock"}:
                shutil.rmtree(self.path)
                with contextlib.suppress(OSError):  # others began to use it
                    for above in made[1:]:
                        above.rmdir()
            raise

    def write_environment(self, devices: list[Any], allocator: str, parameters: int) -> None:
        """What this run stands on now; the time of its first start stays."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        before = read_json(self.environment) if self.environment.exists() else {}
        before = before if isinstance(before, dict) else {}
        write_json(
            self.environment,
            {
                "started": before.get("started", now),
                "parameters": parameters,
                "jaxlm": __version__,
                "git": git_commit(),
                "python": platform.python_version(),
                "system": platform.platform(),
                "cpu": host.cpu_model(),
                "cores": host.cores(),
                "allocator": allocator,
                "devices": [f"{d.platform} {d.device_kind}" for d in devices],
                "packages": {name: metadata.version(name) for name in PACKAGES},
            },
        )


def check_format(saved: dict[str, Any], where: str = "") -> None:
    """UserError where another version wrote `saved`; asked first, as its fields are nobody's mistake."""
    found = saved.get("format_version", FORMAT)
    if found != FORMAT:
        raise UserError(
            f"{where}format_version={found!r}, but this jaxlm ({__version__}) reads {FORMAT}: use the jaxlm "
            f"that wrote it (a run's environment.json names it), or make the config anew"
        )


def git_commit() -> str | None:
    """The commit of the checkout that jaxlm runs from, "-dirty" with changes; None outside of one."""
    here = Path(__file__).resolve().parent
    try:
        ours = ("ls-files", "--error-unmatch", Path(__file__).name)  # and no checkout around a virtual environment
        describe = ("describe", "--always", "--dirty", "--abbrev=12")
        ask = lambda words: subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        ask(ours)
        return ask(describe).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all, and without secrets."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(redact.values(value), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_json(path: Path) -> Any:
    """The value in a file of a run; UserError where there is none."""
    if not path.exists():
        raise UserError(f"{path} cannot be read: there is none; `jaxlm train` writes it")
    return json_file.read(path)


def record(path: Path, lines: list[Any]) -> None:
    """Append what the user has already seen; where that cannot be written, it is only not kept."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        with open(handle, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(redact.values(line)) + "\n" for line in lines)
    except OSError as error:
        log.warning("%s cannot be written, so this is not kept for the report: %s", path, error.strerror)
