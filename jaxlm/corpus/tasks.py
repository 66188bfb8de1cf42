"""Tasks of a pipeline: functions of their inputs, whose output is a folder named by the hash of what makes it.

A folder is built beside its place and renamed when it is whole, so a folder that exists is complete, whichever process
or engine made it: a rerun makes only what is missing, and a kill costs the tasks that were running.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from jaxlm import hashing
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.executor import Executor
from jaxlm.errors import Damaged, JaxlmError

_FACTS = "facts.json"
_LOSSES = 3  # workers that die in a row of one task alone: chosen; more would die the same way


class Task(NamedTuple):
    """One piece of a stage; about a minute of work, or less."""

    stage: str
    key: str  # 32 hex digits of the hash of all that makes its output
    function: Callable[..., dict]  # (folder, *arguments) -> facts, plain JSON; writes its files into the folder
    arguments: tuple
    name: str  # what an error calls it

    def folder(self, work: Path) -> Path:
        return work / self.stage / self.key


def key(*facts: Any) -> str:
    """Of plain JSON values.

    >>> key("collect", 1, {"a": None}) == key("collect", 1, {"a": None}) != key("collect", 2, {"a": None})
    True
    """
    return xxhash.xxh3_128_hexdigest(json.dumps(facts, sort_keys=True).encode())


def run(
    tasks: Sequence[Task],
    work: Path,
    engine: Executor,
    progress: Progress,
    look: Callable[[list[dict]], None] = lambda some: None,
) -> list[dict]:
    """The facts of every task, in order, made where they are missing.

    `look` is given those that are there, then those of each task that ends; what it raises ends the run.
    """
    facts = {task.key: found for task in tasks if (found := finished(task.folder(work))) is not None}
    of = {task.key: task for task in tasks}
    look(list(facts.values()))

    def tell(one: dict) -> None:
        progress(len(facts), len(of), tasks[0].stage)
        look([one])

    until_done(list(of), engine, lambda key: (do, work, of[key]), facts, lambda key: of[key].name, tell)
    return [facts[task.key] for task in tasks]


def until_done(
    keys: Sequence[Any],
    engine: Executor,
    call: Callable[[Any], tuple],
    results: dict[Any, Any],
    name: Callable[[Any], str],
    tell: Callable[[Any], None] = lambda result: None,
) -> None:
    """Add to `results` those of the keys that it lacks: of (function, *arguments) that `call` tells; `tell` each one.

    Calls whose worker died are made again: where nothing got done one of them alone, so that what kills is known.
    JaxlmError where it does so again and again.
    """
    losses = 0  # in a row, with nothing done
    while waiting := [key for key in keys if key not in results]:
        before, asked = len(results), waiting[:1] if losses else waiting
        futures = {engine.submit(*call(key)): key for key in asked}
        try:
            for future in engine.as_completed(futures):
                with suppress(*engine.lost):
                    results[futures[future]] = result = future.result()
                    tell(result)
        except BaseException:
            engine.cancel(futures)
            raise
        losses = 0 if len(results) > before else losses + 1
        if losses > _LOSSES:  # the first may have been another's
            raise JaxlmError(
                f"workers died {_LOSSES} times in a row at {name(asked[0])}, which ran alone, perhaps for want of "
                f"memory: look at the system's log; free memory, or lower part_bytes; what is done is kept"
            )


def do(work: Path, task: Task) -> dict:
    """Make one task's folder, if it is not there; its facts."""
    folder = task.folder(work)
    if (found := finished(folder)) is not None:
        return found
    building = _building(folder)
    building.mkdir(parents=True)
    try:
        facts = task.function(building, *task.arguments)
        files = hashing.hash_folder(building)
        (building / _FACTS).write_bytes(hashing.seal({"facts": facts, "files": files}))
        _commit(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return facts


def _building(folder: Path) -> Path:
    """A new name beside `folder`: on many machines two processes may have the same id."""
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.building")


def _commit(building: Path, folder: Path) -> None:
    """Put what is whole in its place, unless another process was faster and made the same: that one is being read."""
    if finished(folder) is None:
        _discard(folder)  # where it is there it is damaged
        try:
            os.rename(building, folder)
        except OSError:
            if finished(folder) is None:
                raise
    shutil.rmtree(building, ignore_errors=True)
    hashing.sync(folder.parent)


def _discard(folder: Path) -> None:
    """Remove `folder`, all at once for whoever still writes into it: half of what it wrote must not look whole."""
    aside = _building(folder)
    with suppress(FileNotFoundError):
        os.rename(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def finished(folder: Path) -> dict | None:
    """The facts of a folder that is whole as it was written; None where it is not there, or not whole."""
    try:
        sealed = hashing.unseal((folder / _FACTS).read_bytes(), str(folder / _FACTS))
    except (FileNotFoundError, NotADirectoryError, Damaged):
        return None
    return None if hashing.folder_problems(folder, sealed["files"]) else sealed["facts"]


def remove_what_the_dead_left(work: Path) -> None:
    """Half-built folders. A worker that outlived its pipeline and still builds one fails at its next file."""
    for building in work.glob("*/.*.building"):
        _discard(building)


def together(facts: Iterable[dict], name: str) -> dict[str, int]:
    """Sums of the counts that each of `facts` has under `name`."""
    total: dict[str, int] = {}
    for one in facts:
        for reason, count in one[name].items():
            total[reason] = total.get(reason, 0) + count
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
