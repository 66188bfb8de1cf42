"""Where the tasks of a pipeline run: here, in processes of this machine, or on a Dask cluster.

Four methods are all that a pipeline asks: `submit`, `as_completed`, `cancel`, `close`. What is done and what is not is
known from files (corpus/tasks.py) and not from an executor, so losing one costs the tasks that were running.
"""

import concurrent.futures
import multiprocessing
import socket
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, runtime_checkable

from jaxlm.errors import UserError


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

    def _new(self) -> concurrent.futures.ProcessPoolExecutor:
        # Spawned: a fork of a process with threads (jax, grain) may inherit a lock that nobody will open.
        return concurrent.futures.ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future:
        try:
            return self._pool.submit(function, *arguments)
        except BrokenProcessPool:
            self._pool.shutdown(wait=False)
            self._pool = self._new()
            return self._pool.submit(function, *arguments)

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        return concurrent.futures.as_completed(futures)

    def cancel(self, futures: Iterable[Any]) -> None:
        for future in futures:
            future.cancel()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


class Cluster:
    """On the workers of a Dask scheduler, which must see the same files under the same paths."""

    def __init__(self, address: str):
        try:
            import distributed
            from distributed.client import FutureCancelledError
        except ImportError:
            raise UserError(f"--cluster {address}: Dask is not installed: pip install 'jaxlm[cluster]'") from None
        _knock(address)  # a client that finds nobody would wait and complain until the end of the process
        self._client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
        self._as_completed = distributed.as_completed
        self.lost: tuple[type[Exception], ...] = (distributed.KilledWorker, FutureCancelledError)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False)

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        return self._as_completed(list(futures), loop=self._client.loop)

    def cancel(self, futures: Iterable[Any]) -> None:
        self._client.cancel(list(futures))

    def close(self) -> None:
        self._client.close()


_PATIENCE = 10  # seconds to reach a scheduler: chosen, it answers in milliseconds where there is one


def _knock(address: str) -> None:
    """UserError where nobody listens."""
    try:
        parts = urllib.parse.urlsplit(address)
        socket.create_connection((parts.hostname or "", parts.port or 0), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"--cluster {address}: no Dask scheduler answers ({error}): start one with `dask scheduler`, and give the "
            f"address that it prints, e.g. tcp://127.0.0.1:8786"
        ) from None


def executor(workers: int, cluster: str | None = None) -> Executor:
    """The one that is asked for; `workers` are of this machine."""
    if cluster is not None:
        return Cluster(cluster)
    return Here() if workers == 1 else Processes(workers)
