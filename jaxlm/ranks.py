"""The processes of one run: which one this is, and how they tell each other things without a device.

What they say goes over jax.distributed's coordination service, which runs in process 0: a collective of devices would
wait for ever for a process that is not there, and would start jax before its devices are chosen.

jax has no public way to this service but its collectives, so this file alone imports a private name of it.
"""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from jaxlm import beat
from jaxlm.errors import Damaged, Interrupted, JaxlmError, UserError

log = logging.getLogger("jaxlm")

WAIT = 10  # chosen: seconds after which a process that waits for another says so
ERRORS: dict[str, type[JaxlmError]] = {kind.__name__: kind for kind in (UserError, Damaged, Interrupted, JaxlmError)}
_said = 0  # questions asked so far; all processes ask the same ones in the same order


def join(coordinator: str, count: int, rank: int, *, bind: str | None = None, seconds: int = 300) -> None:
    """Become process `rank` of `count`, whose process 0 listens at `coordinator` (host:port). Before jax starts.

    `bind` is the address that process 0 listens on. A process whose peer dies ends within `seconds`.
    """
    import jax

    try:
        jax.distributed.initialize(
            coordinator,
            count,
            rank,
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=30,  # chosen: a lost host is told within it; 100 by default
            shutdown_timeout_seconds=30,
            coordinator_bind_address=bind,
        )
    except RuntimeError as error:
        raise JaxlmError(
            f"process {rank} of {count} did not meet the others at {coordinator} within {seconds} s: start all of "
            f"them with the same coordinator, on a port that they can reach ({str(error).strip().splitlines()[0]})"
        ) from None


def detect(method: str) -> None:
    """Become one of the processes that jax finds by `method`, one of its cluster detection methods."""
    import jax

    try:
        jax.distributed.initialize(
            cluster_detection_method=method, heartbeat_timeout_seconds=30, shutdown_timeout_seconds=30
        )
    except (RuntimeError, ValueError) as error:
        raise JaxlmError(f"jax could not find the other processes by {method!r}: {error}") from None


def rank() -> int:
    """This process's number; needs no device, where `jax.process_index()` would start jax."""
    return _state().process_id or 0


def count() -> int:
    return _state().num_processes or 1


def _state() -> Any:
    from jax._src import distributed  # see the top

    return distributed.global_state


def first(action: Callable[[], Any], what: str) -> Any:
    """What `action` returns on process 0 (plain JSON), on all of them; its JaxlmError is raised on all of them."""
    global _said
    _said += 1
    if count() == 1:
        return action()
    key = f"jaxlm/{_said}/{what}"
    if rank() > 0:
        with beat.during("barrier"):
            return _heard(json.loads(_wait(key, what)))
    try:
        value = action()
    except JaxlmError as error:
        _tell(key, {"error": type(error).__name__, "message": str(error)})
        raise
    except BaseException:
        _tell(key, {"error": "JaxlmError", "message": f"process 0 failed at {what}, its output says why"})
        raise
    _tell(key, {"value": value})
    return value


def meet(what: str, seconds: float = 600) -> None:
    """Return when every process has come here; JaxlmError where one has not within `seconds`."""
    global _said
    _said += 1
    if count() == 1:
        return
    try:
        _state().client.wait_at_barrier(f"jaxlm/{_said}/{what}", int(1e3 * seconds))
    except Exception as error:
        raise JaxlmError(f"process {rank()} waited {seconds:.0f} s for others at {what!r}: {error}") from None


def _heard(told: dict[str, Any]) -> Any:
    if "error" in told:
        raise ERRORS.get(told["error"], JaxlmError)(told["message"])
    return told["value"]


def _tell(key: str, value: dict[str, Any]) -> None:
    _state().client.key_value_set(key, json.dumps(value))


def _wait(key: str, what: str) -> str:
    waited = 0
    while True:
        try:
            return _state().client.blocking_key_value_get(key, 1000 * WAIT)
        except Exception as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise JaxlmError(f"process {rank()} lost process 0 while it waited for {what!r}: {error}") from None
            waited += WAIT
            log.info("process %d has waited %d s for process 0: %s", rank(), waited, what)


class Agreement:
    """At which step all processes stop, once one of them was asked to.

    Each publishes how far it is while its own count stands still, and all stop one step after the furthest. Who
    publishes is a thread: the one that trains may wait for a step which the others have not begun.
    """

    def __init__(self) -> None:
        self._lock, self._asked_at, self._stop_at, self._calls = threading.Lock(), "jaxlm/stop", None, 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="jaxlm-stop")
        self._thread.start()

    def ask(self) -> None:
        """From any process, any thread; also from a handler of a signal."""
        _state().client.key_value_set(self._asked_at, "1", allow_overwrite=True)

    def due(self) -> bool:
        """Called once a step by each process: is this the step after which all stop?"""
        with self._lock:
            self._calls += 1
            return self._stop_at == self._calls

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        client = _state().client
        while not self._closed.is_set():
            try:
                client.blocking_key_value_get(self._asked_at, 500)
            except Exception as error:
                if "DEADLINE_EXCEEDED" in str(error):
                    continue
                return  # the service is gone, and this process will soon be
            with self._lock:
                client.key_value_set(f"{self._asked_at}/{rank()}", str(self._calls), allow_overwrite=True)
                calls = [int(client.blocking_key_value_get(f"{self._asked_at}/{n}", 60_000)) for n in range(count())]
                self._stop_at = max(calls) + 1
            return
