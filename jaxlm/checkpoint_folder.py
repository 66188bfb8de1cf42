"""What lies in a folder of checkpoints, and what may be trusted; no Orbax and no JAX.

    100/                    one finished step
      manifest.json         sealed, written last: names, dtypes and shapes of the arrays, the caller's
                            `meta` and `metrics`, size and hash of every other file
      ...                   Orbax's files
    200/                    without a manifest: its save did not finish; never restored from
    300.orbax-checkpoint-tmp, 50.removed      remains of a killed process; the next writer removes them
    400.damaged             set aside by a writer that had to fall back; delete it after a look

Left out: object storage (paths are local or mounted), and two writers in one folder at a time.
"""

import contextlib
import itertools
import logging
import math
import re
import shutil
import time
from pathlib import Path

import pydantic

from jaxlm import hashing
from jaxlm.config import Config
from jaxlm.errors import Damaged

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
LOSS = "eval/loss"  # the name in `metrics`, as in metrics.jsonl, by which the best steps are kept

_STEP = re.compile(r"0|[1-9][0-9]{0,17}")
_KIND = re.compile(r"[a-z]+[a-z0-9_]*\[(?:\d{1,15}(?:,\d{1,15}){0,15})?\]", re.ASCII)  # as flat.kinds tells it
_REMAINS = re.compile(r"[0-9]+\.(orbax-checkpoint-tmp.*|removed)")
_log = logging.getLogger("jaxlm")


class CheckpointConfig(Config):
    """Which steps stay: the newest, the best, and every so many; one reason is enough."""

    latest: int = pydantic.Field(default=2, ge=1)  # the newest steps; two, so that one may be damaged
    every: int | None = pydantic.Field(default=None, ge=1)  # multiples of it stay for ever; None: none
    best: int = pydantic.Field(default=1, ge=0)  # the steps of lowest evaluation loss; 0: none
    asynchronous: bool = True  # write while training goes on


class CheckpointFolder:
    def __init__(self, root: Path):
        self.root = root.absolute()

    def path(self, step: int) -> Path:
        return self.root / str(step)

    def committed(self) -> list[int]:
        """The steps that Orbax has committed, oldest first, with or without a manifest."""
        if not self.root.is_dir():
            return []
        own = (p for p in self.root.iterdir() if p.is_dir() and not p.is_symlink())  # a link is nobody's step
        return sorted(int(p.name) for p in own if _STEP.fullmatch(p.name))

    def finished(self) -> list[int]:
        """The steps with a manifest, oldest first, damaged ones included."""
        return [step for step in self.committed() if (self.path(step) / MANIFEST).exists()]

    def finish(self, step: int, facts: dict) -> None:
        """Hash what Orbax has committed and write the manifest: from now on the step counts."""
        files = hashing.hash_folder(self.path(step))
        hashing.sync(self.root)  # Orbax's rename
        facts = {"format_version": FORMAT_VERSION, "step": step, **facts, "files": files}
        hashing.write_atomically(self.path(step) / MANIFEST, hashing.seal(facts))

    def manifest(self, step: int) -> dict:
        """What was saved; Damaged where the manifest is not as it was written."""
        path = self.path(step) / MANIFEST
        if not path.exists():
            raise Damaged(f"{MANIFEST}: missing; the save did not finish, or the file was lost")
        try:
            facts = hashing.read_sealed(path, MANIFEST)
        except OSError as error:
            raise Damaged(f"{MANIFEST}: {error.strerror}") from None
        found = facts.get("format_version"), facts.get("step")
        if found != (FORMAT_VERSION, step):
            wanted = FORMAT_VERSION, step
            raise Damaged(f"{MANIFEST}: (format, step) is {found}, this jaxlm reads {wanted} in that folder")
        facts = {"arrays": {}, "meta": {}, "metrics": {}} | facts
        hashing.told(facts, {"arrays": dict, "meta": dict, "metrics": dict, "files": dict}, MANIFEST)
        for name, kind in facts["arrays"].items():
            if not (isinstance(kind, str) and _KIND.fullmatch(kind)):
                raise Damaged(f"{MANIFEST}: array {name!r:.80} is {kind!r:.80}: jaxlm did not write it so")
        return facts

    def arrays(self) -> dict[str, str]:
        """Names and kinds (`flat.kinds`) in the newest step whose manifest is whole; none without such a step."""
        for step in reversed(self.finished()):
            try:
                return self.manifest(step)["arrays"]
            except Damaged:  # whoever restores says what is wrong with it
                continue
        return {}

    def problems(self, step: int) -> list[str]:
        """What is wrong with `step`, as lines `file: problem`; reads and hashes every byte."""
        try:
            return hashing.folder_problems(self.path(step), self.manifest(step)["files"])
        except Damaged as error:
            return [str(error)]

    def first_valid(self, candidates: list[int]) -> int | None:
        """The first that has no problem; a warning for each one before it."""
        for step in candidates:
            problems = self.problems(step)
            if not problems:
                return step
            _log.warning("checkpoint %s is damaged, not used: %s", self.path(step), "; ".join(problems))
        return None

    def set_aside(self, steps: list[int]) -> None:
        """Rename, so that these steps can be saved again and nothing is lost that might be mended."""
        for step in steps:
            number = itertools.count(1)
            aside = self.root / f"{step}.damaged"
            while aside.exists():
                aside = self.root / f"{step}.damaged{next(number)}"
            self.path(step).rename(aside)
            _log.warning("damaged checkpoint step %d is now %s", step, aside)

    def remove_old(self, cfg: CheckpointConfig) -> None:
        """Remove the finished steps that `cfg` does not keep."""
        steps = self.finished()
        keep = steps_to_keep({step: self._loss(step) for step in steps}, cfg)
        for step in steps:
            if step not in keep:
                self._remove(self.path(step))

    def remove_unfinished(self) -> None:
        """Remove what a killed process left."""
        unfinished = set(self.committed()) - set(self.finished())
        for path in [*map(self.path, sorted(unfinished)), *self._remains("*")]:
            _log.warning("removing %s: its save, or its removal, did not finish", path)
            self._remove(path)

    def remove_failed(self, step: int, *, quiet_seconds: float = 0.5) -> None:
        """Remove what a failed save left: on a full disk it is in the way.

        Threads that Orbax no longer waits for may make the folder anew: removes it until it stays away. How long to
        look is chosen, not measured: nobody waits for it but a save that failed.
        """
        if step in self.committed() and step not in self.finished():
            self._remove(self.path(step))
        began = seen = time.monotonic()
        while (now := time.monotonic()) < min(seen + quiet_seconds, began + 20 * quiet_seconds):
            for path in self._remains(str(step)):
                seen = now
                with contextlib.suppress(OSError):  # written to meanwhile
                    self._remove(path)
            time.sleep(quiet_seconds / 50)

    def _remains(self, step: str) -> list[Path]:
        return [path for path in sorted(self.root.glob(f"{step}.*")) if _REMAINS.fullmatch(path.name)]

    def _remove(self, path: Path) -> None:
        """Rename, then remove: a process killed in between leaves nothing that looks like a checkpoint."""
        doomed = self.root / f"{path.name.partition('.')[0]}.removed"
        if doomed.exists() and doomed != path:
            shutil.rmtree(doomed)
        path.rename(doomed)
        shutil.rmtree(doomed)

    def _loss(self, step: int) -> float:
        try:
            return self.manifest(step)["metrics"].get(LOSS, math.nan)
        except Damaged:  # it is nobody's best; `restore` says what is wrong with it
            return math.nan


def steps_to_keep(losses: dict[int, float], cfg: CheckpointConfig) -> set[int]:
    """Of the steps in `losses` (evaluation loss in nats, NaN where unknown), those that `cfg` keeps."""
    latest = sorted(losses)[-cfg.latest :]
    every = [step for step in losses if cfg.every and step % cfg.every == 0]
    measured = sorted((loss, step) for step, loss in losses.items() if math.isfinite(loss))
    return {*latest, *every, *(step for _, step in measured[: cfg.best])}
