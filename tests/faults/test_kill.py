"""`jaxlm train` killed with -9 anywhere, and the same command again: it is the unbroken run, bit for bit.

Each kill costs a process its start, so the fast suite has one: between a checkpoint and its manifest. `make test-slow`
has every kind, and many seeds. The unbroken run is of this process, since no fault needs it in one of its own.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxlm import run
from jaxlm.config import dump
from tests import tiny_run
from tests.faults import injector

STEPS = 60
TIMEOUT = 240  # seconds, so that a hang fails


class Case(NamedTuple):
    folder: Path
    config: Path

    def start(self, name, *, shards="shards", code=None):
        """`jaxlm train` in a process of its own; `code` may arm a fault first."""
        arguments = ["train", str(self.config), "--run-dir", str(self.folder / name)]
        arguments += ["--shards-dir", str(self.folder / shards)]
        how = ["-m", "jaxlm"] if code is None else ["-c", f"{code}\nfrom jaxlm.cli import main\nmain()"]
        # The same compiled programs as the other tests; huge pages are no matter here, a restart costs time.
        environment = {**os.environ, "PYTHONPATH": str(injector.ROOT), "JAXLM_ALLOCATOR": "off"}
        return subprocess.Popen(
            [sys.executable, *how, *arguments],
            cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(self, name, **options):
        """Run to the end; (exit code, stderr)."""
        child = self.start(name, **options)
        _, err = child.communicate(timeout=TIMEOUT)
        return child.returncode, err

    def run_through(self, name, **options):
        code, err = self.finish(name, **options)
        assert code == 0, err

    def same(self, name):
        """That run `name` is the unbroken one, bit for bit, and its metrics are whole."""
        assert tiny_run.parameters(self.folder / name) == tiny_run.parameters(self.folder / "unbroken")
        got, expected = (tiny_run.metrics(self.folder / run) for run in (name, "unbroken"))
        assert got == expected
        assert [line["step"] for line in got] == sorted(line["step"] for line in got)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A run of 60 steps that saves each fourth, unbroken."""
    folder = tmp_path_factory.mktemp("kill")
    cfg = tiny_run.config(
        tiny_run.write_text(folder), f"loop.steps={STEPS}", "loop.save_every=4", "loop.eval_every=12",
        "checkpoint.latest=3",
    )  # fmt: skip
    (folder / "tiny.json").write_text(json.dumps(dump(cfg)))
    run.train(cfg, folder / "unbroken", shards_dir=folder / "shards")
    return Case(folder, folder / "tiny.json")


def kill_after(child, seconds):
    """SIGKILL after some time; whether it came before the end."""
    try:
        child.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return True


def lines(folder):
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


# --- one by one


@pytest.mark.slow  # the ones at chosen places are of every suite
def test_killed_between_two_steps(case):
    child = case.start("in_a_step")
    injector.kill_when(child, lambda: lines(case.folder / "in_a_step") >= 5, timeout_seconds=TIMEOUT)
    case.run_through("in_a_step")
    case.same("in_a_step")


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_being_written(case):
    child = case.start("in_a_save")
    checkpoints = case.folder / "in_a_save" / "checkpoints"
    injector.kill_when(child, lambda: any(checkpoints.glob("*.orbax-checkpoint-tmp*")), timeout_seconds=TIMEOUT)
    case.run_through("in_a_save")
    case.same("in_a_save")
    assert not any(checkpoints.glob("*tmp*")), "what was half written is gone"


@pytest.mark.parametrize(
    "target, call",
    [
        ("jaxlm.checkpoint_folder:CheckpointFolder.finish", 3),  # committed by Orbax, without our manifest
        pytest.param("jaxlm.checkpoint_folder:CheckpointFolder.remove_old", 4, marks=pytest.mark.slow),
        pytest.param("jaxlm.training.telemetry:MetricsFile.sync", 3, marks=pytest.mark.slow),
    ],
)
def test_killed_at_a_chosen_place(case, target, call):
    name = target.rpartition(".")[2]
    arm = f"from tests.faults import injector\ninjector.arm({target!r}, injector.kill, call={call})"
    code, err = case.finish(name, code=arm)
    assert code == -signal.SIGKILL, err
    case.run_through(name)
    case.same(name)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["jaxlm.data.shards:Writer.close", "jaxlm.data.shards:commit"])
def test_killed_while_the_text_is_prepared(case, target):
    name = f"in_{target.rpartition(':')[2]}"
    arm = f"from tests.faults import injector\ninjector.arm({target!r}, injector.kill)"
    code, err = case.finish(name, shards=f"shards_{name}", code=arm)
    assert code == -signal.SIGKILL, err
    case.run_through(name, shards=f"shards_{name}")
    case.same(name)


@pytest.mark.slow
def test_told_to_stop_it_saves_ends_with_75_and_goes_on(case):
    child = case.start("terminated")
    while lines(case.folder / "terminated") < 3:
        assert child.poll() is None, child.communicate()
        time.sleep(0.001)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=TIMEOUT)
    assert child.returncode == 75, err
    assert "SIGTERM: saving after this step, then stopping" in err
    assert "the same command goes on from there" in err and "Traceback" not in err
    case.run_through("terminated")
    case.same("terminated")


# --- many


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_again_and_again_at_random_moments(case, seed):
    """From the start of the process, imports and preparation included; three kills, then to the end."""
    rng, name = random.Random(seed), f"seed_{seed}"
    shards = f"shards_{seed}"
    start = time.monotonic()
    case.run_through(f"{name}_timed", shards=f"{shards}_timed")
    whole = time.monotonic() - start
    for _ in range(3):
        kill_after(case.start(name, shards=shards), rng.uniform(0.2, 1.0) * whole)
    case.run_through(name, shards=shards)
    case.same(name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_killed_again_and_again_while_it_trains(case, seed):
    """At a random line of metrics, and a random fraction of a millisecond after it."""
    rng, name = random.Random(seed), f"training_{seed}"
    for _ in range(3):
        child, wanted = case.start(name), lines(case.folder / name) + rng.randint(1, 4)
        while child.poll() is None and lines(case.folder / name) < wanted:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        child.communicate()
    case.run_through(name)
    case.same(name)
