"""The training loop: it knows when things happen, and nothing of how they are done."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import pydantic

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.errors import UserError
from jaxlm.training.meter import Meter
from jaxlm.training.state import TrainState
from jaxlm.training.step import Step

# More steps in flight deadlock several CPU devices on few cores: their all-reduces wait for threads that
# later steps hold. Two never did, and keep the device busy.
IN_FLIGHT = 2


class LoopConfig(Config):
    steps: int = pydantic.Field(gt=0, lt=2**31)
    log_every: int = pydantic.Field(default=10, gt=0)  # steps
    eval_every: int = pydantic.Field(default=500, gt=0)  # steps; also runs after the last step
    save_every: int = pydantic.Field(default=1_000, gt=0)  # steps; also runs after the last step


def fit(
    cfg: LoopConfig,
    state: TrainState,
    batches: Iterator[Batch],
    step: Step,
    *,
    start: int = 0,
    seconds: float = 0.0,
    evaluate: Callable[[TrainState], Mapping[str, float]] = lambda state: {},
    evaluated: Callable[[TrainState, Mapping[str, float]], TrainState] = lambda state, _: state,
    save: Callable[[int, TrainState, Mapping[str, float], float], None] = lambda *_: None,
    log: Callable[[int, Mapping[str, float]], None] = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
    fetch: Callable[[Any], Any] = jax.device_get,
    enter: Callable[[str, int], None] = lambda *_: None,
) -> TrainState:
    """Run `step` from step `start` to `cfg.steps` and return the last state.

    `step` donates its state: the one passed in is gone afterwards. Metrics are read once for each
    `log_every` steps, after the next step was dispatched, so that the device does not wait for the host; a
    divergence is therefore raised late. `evaluated` makes of a state and its evaluation the state to go on with.
    `stop` ends the loop early, after a save. `save` gets the step, the state, the evaluation of this very step if
    there was one, and the seconds of training until then. `enter` is told each section that begins, and the step.
    """
    n, in_flight = start, deque()
    meter = Meter(start, seconds, log, fetch, enter)
    evaluation: Mapping[str, float]
    while n < cfg.steps:
        evaluation = {}
        batch = meter.next(batches, n)
        if batch is None:
            raise UserError(f"the data ended at step {n} of {cfg.steps}: lower loop.steps, or give more data")
        state, metrics = step(state, batch)  # returns at once; the device works on
        in_flight.append(metrics)
        if len(in_flight) > IN_FLIGHT:
            jax.block_until_ready(in_flight.popleft())
        meter.report()  # so this reads the step before
        n += 1
        stopping = stop()
        if _due(n, cfg.log_every, cfg.steps):
            meter.note(n, metrics)
        if _due(n, cfg.eval_every, cfg.steps):
            meter.report()
            jax.block_until_ready(metrics)  # what is still under way is training time
            meter.pause("eval", n)
            evaluation = evaluate(state)
            if evaluation:  # there may be nothing held out
                log(n, {f"eval/{name}": value for name, value in evaluation.items()})
                state = evaluated(state, evaluation)
            meter.resume()
        if _due(n, cfg.save_every, cfg.steps) or stopping:
            meter.report()
            jax.block_until_ready(metrics)
            meter.pause("save", n)
            save(n, state, evaluation, meter.seconds)
            meter.resume()
        if stopping:
            break
    meter.report()
    return state


def _due(step: int, every: int, last: int) -> bool:
    return step == last or step % every == 0
