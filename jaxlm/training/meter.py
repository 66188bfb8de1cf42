"""Reads the metrics of a step when it is cheap, and adds the times of the interval since the last reading."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from jaxlm.batch import Batch
from jaxlm.errors import Diverged

NONFINITE_LIMIT = 3  # chosen: one bad batch costs one step, three in a row are no accident

Log = Callable[[int, Mapping[str, float]], None]


class Reader:
    """The loop's only way to read from a device: it blocks until the value is there, and counts."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, tree: Any) -> Any:
        self.reads += 1
        return jax.device_get(tree)


class Meter:
    """`note` a step's metrics, dispatch another step, then `report`: the device never waits for the host.

    `seconds` is the time of training so far; what happens between `pause` and `resume` is left out. `enter` is told
    each section that begins (data, step, eval, save), and the step.
    """

    def __init__(
        self, start: int, seconds: float, log: Log, fetch: Callable[[Any], Any], enter: Callable[[str, int], None]
    ) -> None:
        self.seconds, self._since, self._reported_seconds = seconds, time.perf_counter(), seconds
        self._log, self._fetch, self._enter = log, fetch, enter
        self._reported, self._waited = start, 0.0
        self._noted: tuple[int, Any] | None = None

    def next(self, batches: Iterator[Batch], step: int) -> Batch | None:
        """The next batch, or None at the end of the data; the wait for it is counted."""
        self._enter("data", step)
        asked = time.perf_counter()
        batch = next(batches, None)
        self._waited += time.perf_counter() - asked
        self._enter("step", step)
        return batch

    def note(self, step: int, metrics: Any) -> None:
        """Metrics still on the device, to be read by the next `report`."""
        self._noted = step, metrics

    def report(self) -> None:
        """Read what was noted and log it. Raises Diverged when too many steps in a row were not finite."""
        if self._noted is None:
            return
        (step, on_device), self._noted = self._noted, None
        metrics = {name: float(value) for name, value in self._fetch(on_device).items()}
        self._log(step, metrics | self._times(step - self._reported, metrics["tokens"]))
        self._reported = step
        if metrics["nonfinite"] >= NONFINITE_LIMIT:
            raise Diverged(
                f"{metrics['nonfinite']:.0f} steps in a row until step {step} had a loss or gradient that is "
                f"not finite: lower optimizer.peak_rate, lengthen the warm-up, or look at these steps' rows"
            )

    def pause(self, section: str, step: int) -> None:
        """Training time stands still during `section`: eval or save."""
        self._count()
        self._enter(section, step)

    def _count(self) -> None:
        self.seconds += time.perf_counter() - self._since

    def resume(self) -> None:
        self._since = time.perf_counter()

    def _times(self, steps: int, tokens: float) -> dict[str, float]:
        self._count()
        self.resume()
        passed, waited = self.seconds - self._reported_seconds, self._waited
        self._reported_seconds, self._waited = self.seconds, 0.0
        return {
            "seconds": self.seconds,
            "step_ms": 1e3 * passed / steps,
            "data_wait_ms": 1e3 * waited / steps,
            "tokens_per_second": tokens * steps / passed,
        }
