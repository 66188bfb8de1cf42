"""The training loop: it knows when things happen, and nothing of how they are done."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import pydantic

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.errors import Diverged, UserError
from jaxlm.train.state import TrainState
from jaxlm.train.step import Step

# More steps in flight deadlock several CPU devices on few cores: their all-reduces wait for threads that
# later steps hold. Two never did, and keep the device busy.
IN_FLIGHT = 2
NONFINITE_LIMIT = 3  # chosen: one bad batch costs one step, three in a row are no accident


class LoopConfig(Config):
    steps: int = pydantic.Field(gt=0)
    log_every: int = pydantic.Field(10, gt=0)  # steps
    eval_every: int = pydantic.Field(500, gt=0)  # steps; also runs after the last step
    save_every: int = pydantic.Field(1_000, gt=0)  # steps; also runs after the last step


class Reader:
    """The loop's only way to read from a device: it blocks until the value is there, and counts."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, tree: Any) -> Any:
        self.reads += 1
        return jax.device_get(tree)


class Clock:
    """Seconds of training: what evaluation and saving take is left out."""

    def __init__(self, before: float = 0.0) -> None:
        self.seconds, self._since, self._lap = before, time.perf_counter(), before

    def lap(self) -> float:
        """Seconds of training since the last lap."""
        self.pause()
        self.resume()
        passed, self._lap = self.seconds - self._lap, self.seconds
        return passed

    def pause(self) -> None:
        self.seconds += time.perf_counter() - self._since

    def resume(self) -> None:
        self._since = time.perf_counter()


def fit(
    cfg: LoopConfig,
    state: TrainState,
    batches: Iterator[Batch],
    step: Step,
    *,
    start: int = 0,
    seconds: float = 0.0,
    evaluate: Callable[[TrainState], Mapping[str, float]] = lambda state: {},
    save: Callable[[int, TrainState, Mapping[str, float], float], None] = lambda *_: None,
    log: Callable[[int, Mapping[str, float]], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    fetch: Callable[[Any], Any] = jax.device_get,
) -> TrainState:
    """Run `step` from step `start` to `cfg.steps` and return the last state.

    `step` donates its state: the one passed in is gone afterwards. Metrics are read once for each
    `log_every` steps, after the next step was dispatched, so that the device does not wait for the host; a
    divergence is therefore raised late. `stop` ends the loop early, after a save. `save` gets the step, the
    state, the newest evaluation and the seconds of training until then.
    """
    n, in_flight, clock = start, deque(), Clock(seconds)
    pending, waited, reported = None, 0.0, start
    evaluation: Mapping[str, float] = {}

    def report() -> None:
        """Read the waiting metrics, log them with the times of their interval, and check them."""
        nonlocal pending, waited, reported
        if pending is None:
            return
        (number, on_device), pending = pending, None
        metrics = {name: float(value) for name, value in fetch(on_device).items()}
        passed, steps = clock.lap(), number - reported
        metrics |= {
            "seconds": clock.seconds,
            "step_ms": 1e3 * passed / steps,
            "data_wait_ms": 1e3 * waited / steps,
        }
        metrics["tokens_per_second"] = metrics["tokens"] * steps / passed
        waited, reported = 0.0, number
        log(number, metrics)
        if metrics["nonfinite"] >= NONFINITE_LIMIT:
            raise Diverged(
                f"{metrics['nonfinite']:.0f} steps in a row until step {number} had a loss or gradient that "
                f"is not finite: lower optimizer.peak_rate, lengthen the warm-up, or look at the rows of "
                f"these steps"
            )

    while n < cfg.steps:
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            raise UserError(f"the data ended at step {n} of {cfg.steps}: lower loop.steps, or give more data")
        state, metrics = step(state, batch)  # returns at once; the device works on
        in_flight.append(metrics)
        if len(in_flight) > IN_FLIGHT:
            jax.block_until_ready(in_flight.popleft())
        report()  # so this reads the step before
        n += 1
        stopping = stop()
        due = lambda every: n == cfg.steps or n % every == 0  # noqa: B023
        if due(cfg.log_every):
            pending = (n, metrics)
        if due(cfg.eval_every):
            report()
            clock.pause()
            evaluation = evaluate(state)
            log(n, {f"eval/{name}": value for name, value in evaluation.items()})
            clock.resume()
        if due(cfg.save_every) or stopping:
            report()
            clock.pause()
            save(n, state, evaluation, clock.seconds)
            evaluation = {}
            clock.resume()
        if stopping:
            break
    report()
    return state
