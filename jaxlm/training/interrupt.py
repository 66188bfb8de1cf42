"""Ends and looks from outside: signals that stop a run, and a trace of some of its steps."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from jaxlm import ranks
from jaxlm.errors import Interrupted
from jaxlm.training.step import Step

log = logging.getLogger("jaxlm")
SKIPPED = 5  # steps before a trace: the first ones are not like the rest


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """A callable that says, once a step, whether to stop: SIGTERM or SIGINT has come, to this process or another.

    All processes stop after the same step. A second SIGINT interrupts at once.
    """
    asked: list[int] = []
    agreement = ranks.Agreement() if ranks.count() > 1 else None

    def note(number: int, frame: object) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)
        if agreement is not None:
            agreement.ask()
        log.warning("%s: saving after this step, then stopping", signal.Signals(number).name)

    try:
        with _handled(note):
            yield agreement.due if agreement is not None else lambda: bool(asked)
    finally:
        if agreement is not None:
            agreement.close()


@contextmanager
def end_on_signals() -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGINT end by Interrupted what is outside of `stop_on_signals`, where nothing is to be saved.

    To call what it yields ends it too, where one has come and somebody swallowed it.
    """
    asked: list[int] = []

    def end(number: int, frame: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt  # no Exception: whoever catches those to go on, as logging does, would swallow it

    def ended() -> None:
        if asked:
            raise KeyboardInterrupt

    try:
        with _handled(end):
            yield ended
    except KeyboardInterrupt:
        if not asked:
            raise
    if asked:
        raise Interrupted(
            f"{signal.Signals(asked[0]).name} outside the steps of training: nothing is lost; the same command goes on"
        )


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


def profiled(step: Step, folder: Path, steps: int) -> Step:
    """`step`, with a trace of `steps` of its calls written to `folder` (open it in Perfetto or XProf)."""
    calls = 0

    def traced(state, batch):
        nonlocal calls
        if calls == SKIPPED:
            jax.profiler.start_trace(str(folder))
        out = step(state, batch)
        calls += 1
        if calls == SKIPPED + steps:
            jax.block_until_ready(out)
            jax.profiler.stop_trace()
            log.info("trace of %d steps in %s", steps, folder)
        return out

    return traced
