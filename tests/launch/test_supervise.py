"""Processes are watched from outside: what dies or is stuck is named, all begin again, and no accident comes twice."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxlm import beat
from jaxlm.launch import supervise
from jaxlm.launch.supervise import Failure
from tests import tiny_run


def word(section="step", step=5, ago=0.0, longest=None):
    return beat.Word(time.time() - ago, step, section, 1, dict.fromkeys(beat.SECTIONS, 0.0) | (longest or {}))


class Fake(supervise.Process):
    """A Process that says what it is told to."""

    def __init__(self, rank, word, code=None, stopped=False):
        self.rank, self._word, self._stopped = rank, word, stopped
        self.child = type("Child", (), {"poll": lambda self: code, "returncode": code})()

    def word(self):
        return self._word

    def stopped(self):
        return self._stopped


@pytest.mark.parametrize(
    ("longest", "timeout", "seconds"),
    [(0.0, 1800.0, 1800.0), (0.1, 1800.0, supervise.SHORTEST), (30.0, 1800.0, 300), (30.0, 100.0, 100), (0.1, 5.0, 5)],
)
def test_a_section_may_last_ten_times_its_longest_and_never_over_the_timeout(longest, timeout, seconds):
    assert supervise.limit(longest, timeout) == seconds


def test_nobody_is_stuck_who_is_within_what_others_took():
    others = [Fake(0, word("eval", ago=50)), Fake(1, word("step", longest={"eval": 6.0}))]
    assert supervise.find_stuck(others, 1800.0) is None
    others[0] = Fake(0, word("eval", ago=61))
    assert supervise.find_stuck(others, 1800.0).rank == 0


def test_the_one_that_is_least_far_holds_the_others_up():
    longest = {"step": 0.1, "data": 0.5}
    waiting, late = Fake(0, word("step", 9, 50, longest)), Fake(1, word("data", 7, 50, longest))
    assert supervise.find_stuck([waiting, late], 1800.0).rank == 1


def test_a_process_that_a_signal_holds_is_named_before_those_that_wait_for_it():
    held = Fake(1, word("step", 9, 50, {"step": 0.1}), stopped=True)
    waiting = Fake(0, word("step", 8, 50, {"step": 0.1}))
    assert supervise.find_stuck([waiting, held], 1800.0).rank == 1


@pytest.mark.parametrize(
    ("codes", "settled"),
    [
        ((0, 0), 0),
        ((2, 2), 2),
        ((75, 75), 75),
        ((1, 3), 3),
        ((-9, None), Failure("rank 0 ended with signal SIGKILL in step", 5)),
        ((0, 1), Failure("rank 1 ended with exit code 1 in step", 5)),
    ],
)
def test_what_a_process_says_itself_counts_and_else_the_first_failure(codes, settled):
    assert supervise.settle([Fake(rank, word(), code) for rank, code in enumerate(codes)]) == settled


def test_who_was_asked_to_stop_begins_nothing_anew(monkeypatch, tmp_path):
    """A signal may come before a process can heed it, and end it."""
    begun = []
    monkeypatch.setattr(supervise, "start", lambda *_: begun.append(1) or [])

    def watch(processes, timeout, asked):
        asked.append(signal.SIGTERM)
        return Failure("rank 0 ended with signal SIGTERM before its first word", 0)

    monkeypatch.setattr(supervise, "watch", watch)
    assert supervise.run(["train"], 1, tmp_path, timeout=9.0, restarts=9) == 75
    assert begun == [1]


def test_the_same_failure_at_the_same_step_is_not_tried_a_third_time(monkeypatch, tmp_path):
    failures = [Failure("rank 1 ended with exit code 1 in step", step) for step in (5, 9, 9, 9)]
    monkeypatch.setattr(supervise, "start", lambda *_: [])
    monkeypatch.setattr(supervise, "watch", lambda *_: failures.pop(0))
    with pytest.raises(supervise.GaveUp, match="at step 9, twice"):
        supervise.run(["train"], 2, tmp_path, timeout=9.0, restarts=9)
    assert len(failures) == 1


def launch(folder: Path, *words: str, processes: int = 2, timeout: float = 120) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAXLM_P")}
    return subprocess.Popen(
        [sys.executable, "-m", "jaxlm", "launch", "--processes", str(processes), "--timeout", str(timeout), "--",
         "train", str(folder / "config.json"), "--run-dir", str(folder / "run"), *words],
        cwd=folder, env=environment | {"PYTHONPATH": str(tiny_run.ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    cfg = tiny_run.config(
        tiny_run.write_text(tmp_path), "data.batch=8", "mesh.devices=none", "step.deterministic=strict"
    )
    (tmp_path / "config.json").write_text(json.dumps(cfg.model_dump(mode="json")))
    return tmp_path


def children(supervisor: subprocess.Popen) -> dict[int, int]:
    """rank -> process."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/environ"):
        try:
            parent = int((stat.parent / "stat").read_text().rpartition(")")[2].split()[1])
            told = dict(line.partition("=")[::2] for line in stat.read_text().split("\0"))
        except OSError:
            continue
        if parent == supervisor.pid and "JAXLM_PROCESS_ID" in told:
            found[int(told["JAXLM_PROCESS_ID"])] = int(stat.parent.name)
    return found


def when_step(folder: Path, step: int, act) -> threading.Thread:
    def wait():
        until = time.monotonic() + 300
        while time.monotonic() < until:
            if f'"step":{step}' in _text(folder / "run" / "metrics.jsonl"):
                return act()
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_rank_that_is_lost_or_held_costs_only_the_steps_since_the_last_checkpoint(number, folder, tmp_path):
    whole = launch(folder, "--run-dir", str(folder / "whole"))
    assert whole.communicate(timeout=300) and whole.returncode == 0
    supervisor = launch(folder, timeout=30)
    killer = when_step(folder, 10, lambda: os.kill(children(supervisor)[1], number))
    _, errors = supervisor.communicate(timeout=300)
    killer.join()
    assert supervisor.returncode == 0, errors
    assert "all ranks begin again from the newest valid checkpoint" in errors
    assert "rank 1" in errors and "going on from step" in errors
    assert tiny_run.parameters(folder / "run") == tiny_run.parameters(folder / "whole")
    assert tiny_run.metrics(folder / "run") == tiny_run.metrics(folder / "whole")


@pytest.mark.slow
def test_a_signal_to_one_rank_saves_on_all_and_the_run_goes_on_in_another_number_of_processes(folder):
    supervisor = launch(folder)
    sender = when_step(folder, 5, lambda: os.kill(children(supervisor)[1], signal.SIGTERM))
    _, errors = supervisor.communicate(timeout=300)
    sender.join()
    assert supervisor.returncode == 75, errors
    assert not children(supervisor)
    again = launch(folder, processes=1)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    whole = launch(folder, "--run-dir", str(folder / "whole"), processes=1)
    assert whole.communicate(timeout=300) and whole.returncode == 0
    assert tiny_run.parameters(folder / "run") == tiny_run.parameters(folder / "whole")
    assert tiny_run.metrics(folder / "run") == tiny_run.metrics(folder / "whole")
