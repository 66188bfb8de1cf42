"""The loop: what happens when, how often the host reads, and how much is in flight."""

import itertools
import signal
import threading

import jax
import numpy as np
import pytest

from jaxlm.errors import Diverged, UserError
from jaxlm.training import interrupt, loop, meter
from jaxlm.training.loop import LoopConfig, fit
from jaxlm.training.meter import Reader
from jaxlm.training.state import TrainState
from tests.training import tiny

START = TrainState(step=0, params=(), opt=(), average=(), nonfinite=0, skipped=0)


class World:
    """Everything `fit` calls, and the order in which it was called."""

    def __init__(self, *, batches=None, stop_at=None, nonfinite=lambda n: 0):
        self.events, self.logged, self.reader = [], [], Reader()
        self.batches = itertools.repeat(tiny.batch()) if batches is None else iter(batches)
        self.stop_at, self.nonfinite = stop_at, nonfinite

    def step(self, state, batch):
        n = state.step + 1
        self.events.append(f"step {n}")
        metrics = {
            "loss": np.float32(1 / n),
            "tokens": np.float32(36),
            "nonfinite": np.int32(self.nonfinite(n)),
        }
        return state._replace(step=n), metrics

    def evaluate(self, state):
        self.events.append(f"evaluate {state.step}")
        return {"loss": 5.0 + state.step}

    def save(self, step, state, evaluation, seconds):
        assert step == state.step
        self.events.append(f"save {step}")
        self.saved = (step, dict(evaluation), seconds)

    def log(self, step, metrics):
        self.events.append(f"{'score' if 'eval/loss' in metrics else 'log'} {step}")
        self.logged.append((step, dict(metrics)))

    def stop(self):
        return self.stop_at is not None and f"step {self.stop_at}" in self.events

    def fit(self, steps, *, start=0, seconds=0.0, **every):
        cfg = LoopConfig(steps=steps, **{f"{name}_every": n for name, n in every.items()})
        state = START._replace(step=start)
        return fit(
            cfg, state, self.batches, self.step, start=start, seconds=seconds, evaluate=self.evaluate,
            save=self.save, log=self.log, stop=self.stop, fetch=self.reader,
        )  # fmt: skip

    def without_steps(self):
        return [event for event in self.events if not event.startswith("step")]


def test_a_log_waits_for_the_next_step_and_evaluation_and_save_come_after_it():
    world = World()
    world.fit(6, log=2, eval=4, save=4)
    assert world.events == [
        "step 1", "step 2", "step 3", "log 2",
        "step 4", "log 4", "evaluate 4", "score 4", "save 4",
        "step 5", "step 6", "log 6", "evaluate 6", "score 6", "save 6",
    ]  # fmt: skip


def test_the_last_step_is_always_logged_evaluated_and_saved():
    world = World()
    assert world.fit(3, log=100, eval=100, save=100).step == 3
    assert world.without_steps() == ["log 3", "evaluate 3", "score 3", "save 3"]


def test_a_run_gone_on_with_keeps_the_steps_of_its_intervals():
    world = World()
    world.fit(10, start=7, log=5, eval=4, save=4)
    assert world.without_steps() == [
        "evaluate 8", "score 8", "save 8", "log 10", "evaluate 10", "score 10", "save 10",
    ]  # fmt: skip


def test_a_finished_run_does_nothing():
    world = World()
    assert world.fit(5, start=5).step == 5
    assert world.events == []


def test_save_gets_the_evaluation_of_its_own_step_only():
    world = World()
    world.fit(4, log=9, eval=2, save=1)
    assert world.saved[:2] == (4, {"loss": 9.0})
    world = World(stop_at=3)
    world.fit(9, log=9, eval=2, save=2)
    assert world.saved[:2] == (3, {})
    world = World(stop_at=3)
    world.fit(9, log=9, eval=2, save=9)
    assert world.saved[:2] == (3, {}), "step 2 was evaluated, and is not what is saved"


def test_what_an_evaluation_makes_of_the_state_is_saved_and_gone_on_with():
    world, saved = World(), []
    fit(
        LoopConfig(steps=4, eval_every=2, save_every=1), START, world.batches, world.step,
        evaluate=world.evaluate, save=lambda n, state, *_: saved.append(state.opt),
        evaluated=lambda state, evaluation: state._replace(opt=(*state.opt, evaluation["loss"])),
    )  # fmt: skip
    assert saved == [(), (7.0,), (7.0,), (7.0, 9.0)]
    unseen = World()
    unseen.evaluate = lambda state: {}  # nothing is held out
    fit(LoopConfig(steps=2, eval_every=1), START, unseen.batches, unseen.step, evaluate=unseen.evaluate,
        evaluated=lambda *_: pytest.fail("there was no evaluation"))  # fmt: skip


def test_metrics_hold_the_step_they_were_measured_at():
    world = World()
    world.fit(4, log=2, eval=9, save=9)
    losses = {step: metrics["loss"] for step, metrics in world.logged if "loss" in metrics}
    np.testing.assert_allclose([losses[2], losses[4]], [1 / 2, 1 / 4], rtol=1e-6)


# --- reads and flight


def test_the_host_reads_once_for_each_log():
    world = World()
    world.fit(20, log=5, eval=100, save=100)
    assert world.reader.reads == 4
    world = World()
    world.fit(20, log=5, eval=3, save=2)  # neither evaluation nor saving makes the loop read more often
    assert world.reader.reads == 4


class InFlight:
    """A metric that is on its way until somebody waits for it."""

    now, most = 0, 0

    def __init__(self):
        InFlight.now += 1
        InFlight.most = max(InFlight.most, InFlight.now)
        self.waited = False

    def block_until_ready(self):
        if not self.waited:
            InFlight.now, self.waited = InFlight.now - 1, True
        return self

    def __float__(self):
        self.block_until_ready()
        return 0.0


def test_never_more_than_two_steps_are_in_flight_once_a_step_was_dispatched(monkeypatch):
    monkeypatch.setattr(InFlight, "now", 0)
    monkeypatch.setattr(InFlight, "most", 0)
    left_over = []

    def batches():
        while True:
            left_over.append(InFlight.now)
            yield tiny.batch()

    def step(state, batch):
        return state, {"loss": InFlight(), "tokens": 1.0, "nonfinite": 0}

    fit(LoopConfig(steps=50, log_every=20), START, batches(), step, fetch=lambda tree: tree)
    assert max(left_over) == loop.IN_FLIGHT, "two are on their way while the host fetches the next batch"
    assert InFlight.most == loop.IN_FLIGHT + 1, "the third is dispatched before the first is waited for"


# --- times


def test_evaluation_and_saving_do_not_count_as_training(monkeypatch):
    """Also where they come between two logs."""
    now = [0.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[0])
    world = World()
    step, evaluate, save = world.step, world.evaluate, world.save

    def taking(seconds, function):
        def call(*args):
            now[0] += seconds
            return function(*args)

        return call

    world.step, world.evaluate = taking(1.0, step), taking(100.0, evaluate)
    world.save = taking(1000.0, save)
    world.fit(6, log=6, eval=2, save=3)
    (line,) = [metrics for _, metrics in world.logged if "loss" in metrics]
    assert line["seconds"] == 6.0 and line["step_ms"] == 1000.0
    assert line["tokens_per_second"] == 36.0
    assert world.saved[2] == 6.0


def test_seconds_go_on_from_those_of_the_checkpoint(monkeypatch):
    monkeypatch.setattr(meter.time, "perf_counter", lambda: 0.0)
    running = meter.Meter(0, 90.0, lambda *_: None, lambda tree: tree, lambda *_: None)
    monkeypatch.setattr(meter.time, "perf_counter", lambda: 5.0)
    running.pause("eval", 1)
    assert running.seconds == 95.0


def test_waiting_for_data_is_told_for_each_step(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(meter.time, "perf_counter", lambda: now[0])

    def slow():
        while True:
            now[0] += 0.25
            yield tiny.batch()

    world = World(batches=slow())
    world.fit(6, log=2, eval=9, save=9)
    # An interval has as many waits as steps, but for the first and last.
    metrics = next(metrics for step, metrics in world.logged if step == 4)
    np.testing.assert_allclose(metrics["data_wait_ms"], 250.0, rtol=1e-6)


# --- ends


def test_data_that_ends_early_is_the_users_mistake():
    world = World(batches=[tiny.batch()] * 3)
    with pytest.raises(UserError, match="the data ended at step 3 of 5"):
        world.fit(5)


def test_a_stop_saves_at_once_and_goes_no_further():
    world = World(stop_at=3)
    assert world.fit(100, log=2, eval=50, save=50).step == 3
    assert world.events == ["step 1", "step 2", "step 3", "log 2", "save 3"]


def test_a_stop_at_a_step_that_is_due_still_evaluates_it():
    """So that its line is not missing when the run goes on from there."""
    world = World(stop_at=4)
    world.fit(100, log=2, eval=4, save=50)
    assert world.without_steps() == ["log 2", "log 4", "evaluate 4", "score 4", "save 4"]


def test_three_steps_in_a_row_that_are_not_finite_are_a_divergence():
    """It is told at the next log, and nothing is saved after it."""
    world = World(nonfinite=lambda n: max(0, n - 3))
    with pytest.raises(Diverged, match=r"3 steps in a row until step 6.*lower optimizer.peak_rate") as error:
        world.fit(100, log=2, eval=50, save=6)
    assert error.value.exit_code == 3
    assert world.without_steps() == ["log 2", "log 4", "log 6"]


def test_two_steps_in_a_row_that_are_not_finite_are_none():
    world = World(nonfinite=lambda n: n % 3)
    world.fit(12, log=1)
    assert world.events[-1] == "save 12"


def test_a_divergence_between_two_logs_is_seen_when_it_lasts():
    """What is read is the count of the step that is logged: one finite step in between begins it anew."""
    world = World(nonfinite=lambda n: n if n < 20 else 0)
    with pytest.raises(Diverged, match="10 steps in a row until step 10"):
        world.fit(100, log=10)


def test_a_real_step_that_diverges_leaves_the_parameters_of_before():
    model, optimizer = tiny.family(dropout=0.0), tiny.keeping_sgd()
    step = jax.jit(tiny.step_of(model, optimizer, seed=None))
    good = tiny.batch()
    bad = good._replace(weight=np.full_like(good.weight, np.nan))
    states = [tiny.start(model, optimizer)]

    def keeping(state, batch):
        out = step(state, batch)
        states.append(out[0])
        return out

    with pytest.raises(Diverged):
        fit(LoopConfig(steps=9, log_every=1), states[0], iter([good, bad, bad, bad, good]), keeping)
    tiny.assert_same_bits(states[4].params, states[1].params)


# --- signals and traces


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_handlers_are_put_back(number, caplog):
    before = signal.getsignal(number)
    with interrupt.stop_on_signals() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
    assert signal.getsignal(number) is before
    assert f"{number.name}: saving after this step, then stopping" in caplog.text


def test_a_second_interrupt_does_not_wait():
    before = signal.getsignal(signal.SIGINT)  # of a test run in the background: to ignore it
    with pytest.raises(KeyboardInterrupt), interrupt.stop_on_signals():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_there_are_no_signals_to_wait_for():
    answers = []

    def ask():
        with interrupt.stop_on_signals() as stop:
            answers.append(stop())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]


def test_a_trace_of_some_steps_is_written(tmp_path):
    calls = []

    def step(state, batch):
        calls.append(state.step)
        return state._replace(step=state.step + 1), {"loss": jax.numpy.ones(3) * 2}

    traced, state = interrupt.profiled(step, tmp_path / "profile", 2), START
    for _ in range(interrupt.SKIPPED + 3):
        state, _ = traced(state, tiny.batch())
    assert calls == list(range(interrupt.SKIPPED + 3))
    assert any(path.name.endswith(".xplane.pb") for path in (tmp_path / "profile").rglob("*"))
