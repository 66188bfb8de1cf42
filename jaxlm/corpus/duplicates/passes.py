"""Passes as tasks (corpus/tasks.py) in a folder that one search for duplicates has to itself.

    FOLDER/PASS/NUMBER    what the pass wrote of a part, or of a range of keys

Tasks are named by their number alone, so whoever names the folder does it by the hash of all that the search is of.
What a kill leaves there is whole, and is found again.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jaxlm.corpus import tasks
from jaxlm.corpus.executor import Here
from jaxlm.corpus.tasks import Task

Run = Callable[[Sequence[Task], Path], list[dict]]  # `tasks.run` on some engine


def here(some: Sequence[Task], folder: Path) -> list[dict]:
    """Run tasks in this process."""
    return tasks.run(some, folder, Here(), lambda done, total, what: None)


def each(name: str, function: Callable[..., dict], arguments: Iterable[tuple]) -> list[Task]:
    """The tasks of pass `name`: function(folder of its own, *arguments)."""
    return [_task(name, number, function, some) for number, some in enumerate(arguments)]


def result(folder: Path, name: str, number: int) -> Path:
    """Where a task of pass `name` wrote."""
    return _task(name, number, dict, ()).folder(folder)


def _task(name: str, number: int, function: Callable[..., dict], arguments: tuple) -> Task:
    return Task(name, f"{number:06}", function, arguments, f"{name} {number} of the duplicates")
