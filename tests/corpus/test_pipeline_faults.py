"""A corpus comes out the same, byte for byte, whatever engine makes it and whatever dies on the way."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxlm import hashing
from jaxlm.config import load
from jaxlm.corpus import pipeline
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.executor import Here
from jaxlm.corpus.finished import FOLDERS
from tests.corpus.test_pipeline import text

CONFIG = """
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.duplicates.config import PassagesConfig

def config():
    return CorpusConfig(
        name="planted", sources=(SourceConfig(name="texts", path={source!r}),),
        quality=(QualityConfig(languages=()),), part_bytes=1 << 14,
        duplicates=DuplicatesConfig(passages=PassagesConfig()),
    )
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "texts").mkdir()
    for number in range(24):
        (folder / "texts" / f"{number:02}.txt").write_text(text(number % 20, 400))  # four are copies
    (folder / "config.py").write_text(CONFIG.format(source=str(folder / "texts")))
    return folder / "config.py"


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("expected")
    finish(prepare(config, folder, "--workers", "1"))
    return made(folder)


def finish(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors


HEED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs behind a shell inherits that it is ignored
from jaxlm.cli import main
main()
"""


def prepare(config: Path, folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-c", HEED, "prepare", str(config), "--corpora-dir", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def made(folder: Path) -> dict:
    corpus = folder / "planted"
    files = {f"{name}/{file}": found for name in FOLDERS for file, found in hashing.hash_folder(corpus / name).items()}
    assert len(files) > 20
    return files | {"manifest.json": hashing.file_hash(corpus / "manifest.json")}


@pytest.mark.slow
def test_killed_at_random_moments_the_same_command_gives_the_same_bytes(config, expected, tmp_path):
    rng = random.Random(0)
    for _ in range(8):
        process = prepare(config, tmp_path, "--workers", "2")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1, 7))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finish(prepare(config, tmp_path, "--workers", "2"))
    assert made(tmp_path) == expected
    assert not list((tmp_path / "planted" / "work").glob("*/.*.building"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_signal_to_a_run_or_to_its_group_is_one_line_and_its_workers_end(config, tmp_path, number, send):
    process = prepare(config, tmp_path, "--workers", "2")
    wait_until_it_collects(process, tmp_path)
    send(process.pid, number)
    _, errors = process.communicate(timeout=60)  # returns when nobody holds its stdout any more
    assert process.returncode == 75 and "Traceback" not in errors, errors
    assert errors.splitlines()[-1] == "jaxlm: interrupted: nothing is lost; the same command goes on"


class Recorded(Here):
    """Knows the folders of the tasks that it was asked to run."""

    def __init__(self):
        self.folders: set[Path] = set()

    def submit(self, function, work, task):
        self.folders.add(task.folder(work))
        return super().submit(function, work, task)


def committed(work: Path) -> dict[Path, int]:
    """{folder of a task that is over: when it was}"""
    found = [path for path in work.rglob("facts.json") if not path.parent.name.startswith(".")]
    return {path.parent: path.stat().st_mtime_ns for path in found}


@pytest.mark.slow
def test_killed_among_the_duplicates_nothing_that_was_over_is_made_again(config, expected, tmp_path, monkeypatch):
    work = tmp_path / "planted" / "work"
    process = prepare(config, tmp_path, "--workers", "2")
    while not list(work.glob("duplicates/.*.scratch/verified/0*")):  # near duplicates, in the third of five passes
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    over = committed(work)
    passes = {folder.parent.name for folder in over}
    assert {"collect", "annotate", "select", "duplicates", "parts", "candidates", "verified"} <= passes
    assert "told" not in passes and "write" not in passes
    engine = Recorded()
    monkeypatch.setattr(pipeline, "executor", lambda *_: engine)
    pipeline.make(load(config, CorpusConfig), tmp_path)
    assert engine.folders and not engine.folders & over.keys()
    assert {"removals", "told", "write"} <= {folder.parent.name for folder in engine.folders}
    left = committed(work)
    assert {folder: left[folder] for folder in over if ".scratch" not in str(folder)}.items() <= over.items()
    assert not list(work.glob("duplicates/.*")) and made(tmp_path) == expected


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_tasks_and_no_byte(config, expected, tmp_path):
    process, work = prepare(config, tmp_path, "--workers", "2"), tmp_path / "planted" / "work"
    killed, over = 0, {}
    deadline = time.monotonic() + 60
    while killed < 2 and process.poll() is None and time.monotonic() < deadline:
        workers = [pid for pid in children(process.pid) if b"spawn_main" in command_of(pid)]
        if workers and list(work.glob("collect/*")):
            os.killpg(process.pid, signal.SIGSTOP)  # what is seen is what the kill meets
            over = committed(work) | over
            with contextlib.suppress(ProcessLookupError):
                os.kill(workers[0], signal.SIGKILL)
                killed += 1
            os.killpg(process.pid, signal.SIGCONT)
            time.sleep(2)
        time.sleep(0.05)
    _, errors = process.communicate()
    assert killed and process.returncode == 0, errors
    assert len(list(work.glob("*/.*.building"))) <= 2 * killed, "a pool that ends costs each of its workers one task"
    left = committed(work)
    assert over and {folder: left[folder] for folder in over if ".scratch" not in str(folder)}.items() <= over.items()
    assert made(tmp_path) == expected


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_also_where_a_worker_or_the_scheduler_dies(config, expected, tmp_path):
    pytest.importorskip("distributed")
    with cluster() as (address, workers, _):
        finish(prepare(config, tmp_path / "whole", "--cluster", address))
        assert made(tmp_path / "whole") == expected
        process = prepare(config, tmp_path / "worker", "--cluster", address)
        wait_until_it_collects(process, tmp_path / "worker")
        workers[0].kill()
        finish(process)
        assert made(tmp_path / "worker") == expected
    with cluster() as (address, _, scheduler):
        process = prepare(config, tmp_path / "scheduler", "--cluster", address)
        wait_until_it_collects(process, tmp_path / "scheduler")
        scheduler.kill()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2 and "Traceback" not in errors, errors
        assert f"--cluster {address}: no Dask scheduler answers" in errors and "what is done is kept" in errors
    finish(prepare(config, tmp_path / "scheduler", "--workers", "2"))
    assert made(tmp_path / "scheduler") == expected


@pytest.mark.slow
def test_a_cluster_of_ones_own_gives_the_same_bytes_also_after_a_kill(config, expected, tmp_path):
    pytest.importorskip("distributed")
    process = prepare(config, tmp_path, "--cluster", "local", "--workers", "2")
    wait_until_it_collects(process, tmp_path)
    process.kill()
    process.communicate(timeout=60)  # returns when nobody holds its stdout any more: its workers ended too
    finish(prepare(config, tmp_path, "--cluster", "local", "--workers", "2"))
    assert made(tmp_path) == expected


def wait_until_it_collects(process: subprocess.Popen, folder: Path) -> None:
    """Until a task is begun; what is killed next is killed in mid-run."""
    deadline = time.monotonic() + 60
    while not list((folder / "planted" / "work").glob("collect/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    assert list((folder / "planted" / "work").glob("collect/*")), "no task was begun in a minute"
    assert not (folder / "planted" / "manifest.json").exists()


@contextlib.contextmanager
def cluster() -> Iterator[tuple[str, list[subprocess.Popen], subprocess.Popen]]:
    """(address, two workers, scheduler) on the loopback."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    scheduler = subprocess.Popen([*command, "--no-dashboard"], **quiet)
    address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at" in line)
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    workers = [subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    try:
        time.sleep(4)
        yield address, workers, scheduler
    finally:
        for process in [*workers, scheduler]:
            process.kill()
            process.wait()
        scheduler.stderr.close()


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def command_of(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
