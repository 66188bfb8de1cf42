"""Tasks are done once, whole or not at all; and again where their result is damaged or their worker died."""

import os
import signal
from pathlib import Path

import pytest

from jaxlm.corpus import tasks
from jaxlm.corpus.executor import Here, Processes, executor
from jaxlm.corpus.tasks import Task
from jaxlm.errors import JaxlmError, UserError


def write(folder: Path, word: str, calls: Path) -> dict:
    (folder / "word.txt").write_text(word)
    with calls.open("a") as file:
        file.write(word + "\n")
    return {"letters": len(word)}


def fail(folder: Path, word: str) -> dict:
    (folder / "half.txt").write_text(word)
    raise UserError(f"{word} is wrong")


def die(folder: Path, mark: Path) -> dict:
    """Kills its process, unless `mark` is there: then it has died once, and writes."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"survived": True}


def always_die(folder: Path) -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def task(function, *arguments, key="0" * 32) -> Task:
    return Task("stage", key, function, arguments, "its name")


def words(calls: Path) -> list[Task]:
    return [task(write, word, calls, key=tasks.key(word)) for word in ("one", "three")]


def silent(done, total, what):
    pass


def test_facts_come_in_the_order_of_the_tasks_and_work_is_done_once(tmp_path):
    calls = tmp_path / "calls"
    for _ in range(2):
        assert tasks.run(words(calls), tmp_path, Here(), silent) == [{"letters": 3}, {"letters": 5}]
    assert calls.read_text() == "one\nthree\n"


@pytest.mark.parametrize("damage", [lambda path: path.write_text("two"), Path.unlink])
def test_a_damaged_result_is_made_again(tmp_path, damage):
    calls = tmp_path / "calls"
    tasks.run(words(calls), tmp_path, Here(), silent)
    damage(words(calls)[0].folder(tmp_path) / "word.txt")
    tasks.run(words(calls), tmp_path, Here(), silent)
    assert calls.read_text() == "one\nthree\none\n"
    assert (words(calls)[0].folder(tmp_path) / "word.txt").read_text() == "one"


def test_a_task_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="word is wrong"):
        tasks.run([task(fail, "word")], tmp_path, Here(), silent)
    assert list((tmp_path / "stage").iterdir()) == []


def test_what_a_killed_task_left_is_removed(tmp_path):
    left = tmp_path / "stage" / f".{'0' * 32}.123.building"
    left.mkdir(parents=True)
    tasks.remove_what_the_dead_left(tmp_path)
    assert not left.exists()


def meet(folder: Path, work: Path, mark: Path) -> dict:
    """Writes one file, and before the other does the same task once more: as two processes with one id."""
    (folder / "one.txt").write_text(str(mark.exists()))
    if not mark.exists():
        mark.touch()
        tasks.do(work, task(meet, work, mark))
    (folder / "two.txt").write_text(str(mark.exists()))
    return {}


def test_two_processes_with_one_id_at_one_task_do_not_mix_and_what_is_whole_is_not_replaced(tmp_path):
    first = task(meet, tmp_path, tmp_path / "mark")
    tasks.do(tmp_path, first)
    folder = first.folder(tmp_path)
    assert tasks.finished(folder) == {}
    assert (folder / "one.txt").read_text() == "True", "the one that ended first stays"
    assert [path.name for path in folder.parent.iterdir()] == [first.key]


def outlive(folder: Path, work: Path) -> dict:
    (folder / "one.txt").write_text("1")
    tasks.remove_what_the_dead_left(work)
    return {}


def test_a_worker_that_outlives_its_pipeline_commits_nothing_of_what_was_half_removed(tmp_path, monkeypatch):
    late = task(outlive, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(tasks.shutil, "rmtree", lambda folder, ignore_errors: (folder / "one.txt").unlink(True))
        with pytest.raises(FileNotFoundError):
            tasks.do(tmp_path, late)
    assert not late.folder(tmp_path).exists()
    tasks.remove_what_the_dead_left(tmp_path)
    assert list((tmp_path / "stage").iterdir()) == []


def test_equal_tasks_run_once(tmp_path):
    calls = tmp_path / "calls"
    twice = [words(calls)[0], words(calls)[0]]
    assert tasks.run(twice, tmp_path, Here(), silent) == [{"letters": 3}, {"letters": 3}]
    assert calls.read_text() == "one\n"


def test_a_task_whose_worker_was_killed_runs_again_and_a_mistake_is_told_as_it_is(tmp_path):
    engine = Processes(1)
    try:
        found = tasks.run([task(die, tmp_path / "mark"), *words(tmp_path / "calls")], tmp_path, engine, silent)
        assert found == [{"survived": True}, {"letters": 3}, {"letters": 5}]
        with pytest.raises(UserError, match="word is wrong"):
            tasks.run([task(fail, "word", key="1" * 32)], tmp_path, engine, silent)
        with pytest.raises(JaxlmError, match="workers died 3 times in a row at its name"):
            tasks.run([task(always_die, key="2" * 32)], tmp_path, engine, silent)
    finally:
        engine.close()


class Died(Exception):
    """As a worker does."""


class Pool(Here):
    """All that it is asked for at once dies with the task that kills."""

    lost: tuple[type[Exception], ...] = (Died,)

    def __init__(self):
        self.asked: list[list[str]] = [[]]

    def submit(self, function, *arguments):
        self.asked[-1].append(arguments[1].name)
        return super().submit(self._run, function, *arguments)

    def as_completed(self, futures):
        yield from futures
        self.asked.append([])

    def _run(self, function, *arguments):
        if "killer" in self.asked[-1]:
            raise Died
        return function(*arguments)


def test_the_task_that_kills_is_named_and_not_the_first_that_waits(tmp_path):
    engine, some = Pool(), [one._replace(name=name) for one, name in zip(words(tmp_path / "c"), "ab", strict=True)]
    some.append(task(always_die, key="2" * 32)._replace(name="killer"))
    with pytest.raises(JaxlmError, match="workers died 3 times in a row at killer, which ran alone"):
        tasks.run(some, tmp_path, engine, silent)
    assert engine.asked[:-1] == [["a", "b", "killer"], ["a"], ["b", "killer"], ["b"], *[["killer"]] * 4]
    assert all(tasks.finished(one.folder(tmp_path)) for one in some[:2])


def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(UserError, match=r"--cluster nowhere: .*start one with `dask scheduler`"):
        executor(1, "nowhere")
