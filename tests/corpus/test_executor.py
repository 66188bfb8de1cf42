"""Workers end with who started them; a scheduler that is not there, or no longer, is told by its address."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import distributed
import psutil  # Dask's own
import pytest

from jaxlm.corpus import executor
from jaxlm.errors import UserError

POOL = """
import os, sys, time
from jaxlm.corpus.executor import executor
pool = executor(2, *sys.argv[1:])
print(pool.submit(os.getpid).result(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("cluster", [[], pytest.param(["local"], marks=pytest.mark.slow)])
def test_workers_end_when_their_pipeline_is_killed(cluster):
    command = [sys.executable, "-c", POOL, *cluster]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as pipeline:
        assert pipeline.stdout is not None
        worker = int(pipeline.stdout.readline())
        pipeline.kill()
        try:
            pipeline.communicate(timeout=20)  # stdout ends when nobody holds it any more, the worker neither
        except subprocess.TimeoutExpired:
            os.kill(worker, signal.SIGKILL)
            pytest.fail("a worker lives on")


class Silent:
    """A client, and its futures, of which none is ever done."""

    loop = None

    def __init__(self, *_, **__): ...

    def scheduler_info(self, **_) -> dict:
        return {"workers": {}}

    def submit(self, *_, **__) -> None: ...

    def close(self) -> None: ...

    def is_empty(self) -> bool:
        return False

    def has_ready(self) -> bool:
        return False


def unused() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_scheduler_that_ends_in_mid_run_is_told_with_its_address(monkeypatch, caplog):
    monkeypatch.setattr(distributed, "Client", Silent)
    monkeypatch.setattr(distributed, "as_completed", Silent)
    monkeypatch.setattr(executor, "_require_scheduler", lambda address: None)
    address = unused()
    engine = executor.Cluster(address)
    assert "has no worker that takes tasks" in caplog.text
    with pytest.raises(UserError, match=rf"--cluster {address}: no Dask scheduler answers .*what is done is kept"):
        list(engine.as_completed([engine.submit(len, ())]))


def test_a_worker_with_another_version_of_a_library_is_refused_whenever_it_comes(monkeypatch):
    class Immediate(Silent):
        def submit(self, function, *arguments, pure):
            return function(*arguments)

    monkeypatch.setattr(distributed, "Client", Immediate)
    monkeypatch.setattr(executor, "_require_scheduler", lambda address: None)
    engine = executor.executor(1, "tcp://somewhere:1", ("ftfy",))
    assert engine.submit(len, "abc") == 3
    monkeypatch.setattr(executor, "versions", lambda *names: dict.fromkeys(names, "0"))
    with pytest.raises(UserError, match=r"a worker on .* has jaxlm 0, and who started this has .*install the same"):
        engine.submit(len, "abc")


def test_workers_that_all_go_are_missed_aloud_once_until_others_come(monkeypatch, caplog):
    runs, paused = {"a": {"status": "running"}}, {"b": {"status": "paused"}}
    seen = iter([runs | paused, {}, paused, runs, paused, paused])

    class Fickle(Silent):
        def scheduler_info(self, **_) -> dict:
            return {"workers": next(seen)}

        def is_empty(self) -> bool:
            told.append(caplog.text.count("no worker that takes tasks"))
            return len(told) == 6

    told: list[int] = []
    for name in ("Client", "as_completed"):
        monkeypatch.setattr(distributed, name, Fickle)
    monkeypatch.setattr(executor, "_require_scheduler", lambda address: None)
    monkeypatch.setattr(executor, "_connected", lambda address, mend: Silent())
    monkeypatch.setattr(executor, "_PATIENCE", -1)
    list(executor.Cluster("tcp://somewhere:1").as_completed([None]))
    assert told == [0, 1, 1, 1, 2, 2]
    assert [record.message.count("1 are paused for want of memory") for record in caplog.records] == [0, 1]


@pytest.mark.slow
def test_a_cluster_of_ones_own_has_so_many_workers_and_ends_with_its_pipeline():
    engine = executor.executor(2, "local", ("ftfy",))
    try:
        futures = [engine.submit(name_then_wait) for _ in range(2)]
        found = [future.result() for future in engine.as_completed(futures)]
    finally:
        engine.close()
    workers = {pid for pid, _ in found}
    assert {kept for _, kept in found} == {str(1 << 32)}  # and not the 64 KiB of Dask, which made them slow
    assert len(workers) == 2 and os.getpid() not in workers
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_a_cluster_of_ones_own_listens_on_loopback_alone(monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", "tcp")
    engine = executor.executor(1, "local")
    try:
        processes = [here := psutil.Process(), *here.children(recursive=True)]
        listening = [
            one.laddr.ip for process in processes for one in process.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        ]  # fmt: skip
    finally:
        engine.close()
    assert len(listening) >= 3 and {*listening} == {executor.LOOPBACK}, "scheduler, nanny and worker"


def test_a_cluster_of_ones_own_is_asked_to_stay_on_loopback(monkeypatch):
    class Asked(Exception):
        pass

    def cluster(**options):
        assert options["host"] == "127.0.0.1" and options["worker_dashboard_address"] is None
        assert options["scheduler_kwargs"]["dashboard_address"].startswith("127.0.0.1:")
        raise Asked

    monkeypatch.setattr(distributed, "LocalCluster", cluster)
    with pytest.raises(Asked):
        executor.executor(1, "local")


def name_then_wait() -> tuple[int, str | None]:
    time.sleep(2)  # or one worker would do both
    return os.getpid(), os.environ.get("MALLOC_TRIM_THRESHOLD_")


def test_a_cluster_without_dask_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for asked in ("local", "tcp://127.0.0.1:1"):
        with pytest.raises(UserError, match=rf"--cluster {asked}: Dask is not installed: pip install 'jaxlm\[cluster"):
            executor.executor(1, asked)


def test_an_address_where_nobody_or_somebody_else_listens_is_told(monkeypatch):
    monkeypatch.setattr(executor, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"--cluster {address}: no Dask scheduler answers .*`dask scheduler`"):
            executor.executor(1, address)
    for wrong in (unused(), "nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:99999"):
        with pytest.raises(UserError, match=rf"--cluster {wrong}: no Dask scheduler answers"):
            executor.executor(1, wrong)


def test_tasks_that_wait_when_workers_are_ended_raise_nothing_in_a_thread(monkeypatch):
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    engine = executor.Processes(1)
    futures = [engine.submit(time.sleep, 60) for _ in range(9)]
    while sum(future.running() for future in futures) < 3:  # the pool's queue is full
        time.sleep(0.01)
    engine.cancel(futures)
    for worker in engine._started:  # before the pool is told that it ends, as a signal to a whole group may
        worker.kill()
    manager = engine._pool._executor_manager_thread
    assert manager is not None
    manager.join(20)
    engine.close()
    assert not manager.is_alive() and not raised


def test_an_interrupt_while_workers_start_waits_and_they_never_see_it(monkeypatch):
    engine = executor.executor(2)
    start = engine._pool.submit

    def interrupted(*call):
        signal.raise_signal(signal.SIGINT)
        return start(*call)

    monkeypatch.setattr(engine._pool, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ())
    monkeypatch.undo()
    assert signal.SIGINT in engine.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ()).result()
    engine.close()
