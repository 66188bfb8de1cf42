"""Where the tasks of a pipeline run: here, in processes of this machine, or on a Dask cluster, somebody's or one's own.

Four methods are all that a pipeline asks: `submit`, `as_completed`, `cancel`, `close`. What is done and what is not is
known from files (corpus/tasks.py) and not from an executor, so losing one costs the tasks that were running.
"""

import concurrent.futures
import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from jaxlm.corpus.libraries import versions
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")


@runtime_checkable
class Executor(Protocol):
    """Runs functions that a process can find by name, on arguments that can be pickled; a future has `result()`."""

    lost: tuple[type[Exception], ...]  # what `result` raises where the worker died and not the function

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any: ...

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]: ...

    def cancel(self, futures: Iterable[Any]) -> None: ...

    def close(self) -> None: ...


class Here:
    """In this process, one after another, each when its result is asked for."""

    lost: tuple[type[Exception], ...] = ()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "_Later":
        return _Later(function, arguments)

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        yield from futures

    def cancel(self, futures: Iterable[Any]) -> None:
        pass  # what is not asked for never runs

    def close(self) -> None:
        pass


class _Later:
    def __init__(self, function: Callable[..., Any], arguments: tuple):
        self._function, self._arguments = function, arguments

    def result(self) -> Any:
        return self._function(*self._arguments)


class Processes:
    """In `workers` processes of this machine; a new pool where one has lost a worker."""

    lost: tuple[type[Exception], ...] = (BrokenProcessPool,)

    def __init__(self, workers: int):
        self._workers = workers
        self._pool = self._new()
        self._started: set[multiprocessing.process.BaseProcess] = set()

    def _new(self) -> concurrent.futures.ProcessPoolExecutor:
        # Spawned: a fork of a process with threads (jax, grain) may inherit a lock that nobody will open.
        context = multiprocessing.get_context("spawn")
        return concurrent.futures.ProcessPoolExecutor(self._workers, context, initializer=_end_with_parent)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future:
        with _without_interrupts():  # the first call starts the workers
            before = set(multiprocessing.active_children())
            try:
                return self._pool.submit(function, *arguments)
            except BrokenProcessPool:
                self._pool.shutdown(wait=False)
                self._pool = self._new()
                return self._pool.submit(function, *arguments)
            finally:
                self._started |= set(multiprocessing.active_children()) - before

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        return concurrent.futures.as_completed(futures)

    def cancel(self, futures: Iterable[Any]) -> None:
        pass  # `close` ends what runs; the pool's thread fails at a future that was cancelled when its workers end

    def close(self) -> None:
        """End the workers where they stand: all is done, or what they are at is not wanted, and any may be killed."""
        self._pool.shutdown(wait=False)
        for worker in self._started:
            worker.kill()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started here never sees a Ctrl-C, which a terminal sends to all: who started it ends it, and says so.

    Our own, and a SIGTERM that somebody handles, waits until the end of the block: a pool that is interrupted while it
    starts a worker waits for it for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted, and may say how
        return
    came: list[int] = []
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
    # other threads may be sent it
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in handled}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started inherits this
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _end_with_parent() -> None:
    """End this process when the one that started it ends, however that ends.

    A worker of a pool holds both ends of the queue from which it reads, and so waits for a dead parent for ever.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)  # from a thread nothing else ends a process

    threading.Thread(target=wait, name="jaxlm-parent", daemon=True).start()


class Cluster:
    """On the workers of a Dask scheduler, which must see the same files under the same paths.

    Its client waits for a scheduler that is gone, so the scheduler is asked for while there is nothing else to do:
    UserError where it does not answer.
    """

    def __init__(self, address: str, libraries: Sequence[str] = ()):
        """Every worker must have the versions of `libraries` that are here."""
        distributed = _dask(address)
        from distributed.client import ClosedClientError, FutureCancelledError
        from distributed.comm import CommClosedError

        self._address, self._closed = address, (CommClosedError, ClosedClientError)
        self.lost: tuple[type[Exception], ...] = (distributed.KilledWorker, FutureCancelledError, CommClosedError)
        _require_scheduler(address)
        try:
            self._client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        except OSError as error:
            raise _nobody(address, error, _START) from None
        self._as_completed, self._idle = distributed.as_completed, False
        self._tell_a_drought()
        self._versions = versions("jaxlm", *libraries)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return self._client.submit(_alike, self._versions, function, *arguments, pure=False)
        except self._closed as error:
            raise _nobody(self._address, error, _AGAIN) from None

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        waiting, asked = self._as_completed(list(futures), loop=self._client.loop), 0.0
        while not waiting.is_empty():
            if waiting.has_ready():
                yield next(waiting)
            elif time.monotonic() > asked + _PATIENCE:
                _connected(self._address, _AGAIN).close()
                self._tell_a_drought()
                asked = time.monotonic()
            else:
                time.sleep(_NAP)

    def _tell_a_drought(self) -> None:
        """Warn where no worker takes tasks, once until one does again."""
        states = [worker["status"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values()]
        paused = states.count("paused")
        idle = paused == len(states)
        if idle and not self._idle:
            why = f" ({paused:,} are paused for want of memory)" if paused else ""
            log.warning(
                "--cluster %s has no worker that takes tasks%s: waiting for `dask worker %s --nthreads 1 "
                "--memory-limit 0`",
                self._address, why, self._address,
            )  # fmt: skip
        self._idle = idle

    def cancel(self, futures: Iterable[Any]) -> None:
        with suppress(*self._closed):
            self._client.cancel(list(futures))

    def close(self) -> None:
        for name in ("distributed", "distributed.client"):  # they tell of a scheduler that is gone, at length
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._client.close()


class Local(Cluster):
    """A cluster of this machine, which is there while this is open: `workers` processes of one thread."""

    def __init__(self, workers: int, libraries: Sequence[str] = ()):
        distributed = _dask(LOCAL)
        logging.getLogger("distributed").setLevel(logging.WARNING)  # a scheduler tells of each connection
        # Any port instead of Dask's own, which another may have; no limit of memory, as Processes have none.
        import dask.config

        with dask.config.set(_WORKERS):
            # On loopback, whatever a file of Dask's settings says: who reaches its scheduler may run anything here.
            self._cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, memory_limit=None, host=LOOPBACK, protocol="tcp://",
                scheduler_kwargs={"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"},
                worker_dashboard_address=None,
            )  # fmt: skip
        super().__init__(self._cluster.scheduler_address, libraries)

    def close(self) -> None:
        super().close()
        self._cluster.close()


def _dask(asked: str) -> ModuleType:
    try:
        import distributed
    except ImportError:
        raise UserError(f"--cluster {asked}: Dask is not installed: pip install 'jaxlm[cluster]'") from None
    return distributed


def _alike(wanted: dict[str, str | None], function: Callable[..., Any], *arguments: Any) -> Any:
    """`function` of `arguments` on a worker: UserError where it has other versions, since they give other bytes.

    Asked with each task, as workers may come at any time.
    """
    for name, version in versions(*wanted).items():
        if version != wanted[name]:
            raise UserError(
                f"--cluster: a worker on {socket.gethostname()} has {name} {version}, and who started this has "
                f"{wanted[name]}: install the same everywhere"
            )
    return function(*arguments)


LOCAL = "local"  # instead of an address
LOOPBACK = "127.0.0.1"
_WORKERS = {  # Dask would have them hand back at once what they free, and look at their frames: a seventh of their time
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 1 << 32,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_MAX_": 0,
    "distributed.worker.profile.enabled": False,
}
_PATIENCE = 4  # seconds to reach a scheduler, and between two questions: chosen, it answers in milliseconds
_NAP = 0.05  # seconds: chosen, little beside a task
_START = "start one with `dask scheduler`, and give the address that it prints, e.g. tcp://127.0.0.1:8786"
_AGAIN = "start it again and give the same command; what is done is kept"


def _connected(address: str, mend: str) -> socket.socket:
    """UserError where nobody listens."""
    try:
        parts = urllib.parse.urlsplit(address)
        return socket.create_connection((parts.hostname or "", parts.port or 0), _PATIENCE)
    except (OSError, ValueError) as error:
        raise _nobody(address, error, mend) from None


def _require_scheduler(address: str) -> None:
    """UserError where nobody listens, or somebody else, for whom a client would wait for ever."""
    with _connected(address, _START) as connection:
        if address.startswith("tls"):  # it says nothing first
            return
        try:
            greeting = connection.recv(8)  # the length of a message that is short
        except OSError as error:
            raise _nobody(address, error, _START) from None
        if int.from_bytes(greeting, "little") >> 20 or not greeting:
            raise _nobody(address, "somebody else does", _START)


def _nobody(address: str, why: Exception | str, mend: str) -> UserError:
    return UserError(f"--cluster {address}: no Dask scheduler answers ({' '.join(str(why).split())}): {mend}")


def executor(workers: int, cluster: str | None = None, libraries: Sequence[str] = ()) -> Executor:
    """The one that is asked for; `workers` are of this machine, `libraries` those that a cluster must have as we do."""
    if cluster is not None:
        return Local(workers, libraries) if cluster == LOCAL else Cluster(cluster, libraries)
    return Here() if workers == 1 else Processes(workers)
