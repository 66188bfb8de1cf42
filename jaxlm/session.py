"""One process's work on a run, from its first state to its last checkpoint, and its scores on the way."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from jaxlm import __version__, beat, ranks, warm_start
from jaxlm.checkpoint import Checkpoints
from jaxlm.config import dump
from jaxlm.data.loader import batches, evaluation_batches
from jaxlm.data.mixed import Mixed, as_text, by_component
from jaxlm.data.shards import Shards
from jaxlm.errors import Interrupted, UserError
from jaxlm.evaluation import perplexity
from jaxlm.parts import Parts, carry
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, write_json
from jaxlm.training import asgd, loop, speed
from jaxlm.training import optimizer as optimizers
from jaxlm.training.ahead import Ahead
from jaxlm.training.interrupt import profiled, stop_on_signals
from jaxlm.training.meter import Reader
from jaxlm.training.state import TrainState
from jaxlm.training.telemetry import Show, Silent, Telemetry

log = logging.getLogger("jaxlm")


class Outcome(NamedTuple):
    """What `train` did; what `jaxlm train --json` prints."""

    run: str
    step: int
    metrics: dict[str, float | None]  # newest value of each; null: not known here


def first_state(cfg: RunConfig, parts: Parts, checkpoints: Checkpoints, digest: str) -> tuple[int, TrainState, float]:
    """(step, state, seconds of training so far): from the newest valid checkpoint, a warm start, or at random.

    `digest` is that of the shards.
    """
    if checkpoints.latest() is not None:
        step, state, meta = checkpoints.restore(parts.abstract)
        if meta["shards"] != digest:
            raise UserError(f"checkpoint step {step} was trained on shards {meta['shards']}, not on {digest}")
        return step, state, meta["seconds"]
    state = parts.init()
    if cfg.init is not None:
        params = warm_start.params(cfg.init, parts, cfg.data.objective, state.params)
        state = state._replace(params=params)
        if optimizers.averaged(cfg.optimizer):
            state = state._replace(average=jax.tree.map(jax.numpy.copy, state.params))
    return 0, state, 0.0


class Session:
    """What the loop calls back: it logs, saves and evaluates one run."""

    def __init__(self, cfg: RunConfig, folder: RunFolder, parts: Parts, shards: Shards, checkpoints: Checkpoints):
        self.cfg, self.folder, self.parts = cfg, folder, parts
        self.shards, self.checkpoints = shards, checkpoints
        self.last: dict[str, float | None] = {}  # newest value of each metric

    def train(self, show: Show, profile: int | None) -> Outcome:
        with stop_on_signals() as stop:
            return self._train(show, profile, stop)

    def _train(self, show: Show, profile: int | None, stop: Callable[[], bool]) -> Outcome:
        start, state, seconds = first_state(self.cfg, self.parts, self.checkpoints, self.shards.digest)
        if start:
            log.info("going on from step %d of %d", start, self.cfg.loop.steps)
        # Process 0 writes and shows; the others say only what goes wrong.
        telemetry = Telemetry if ranks.rank() == 0 else Silent
        self.telemetry = telemetry(self.cfg.telemetry, self.folder.path, start=start, config=dump(self.cfg), show=show)
        rank, count = self.parts.share
        source = batches(
            self.shards, self.cfg.data, start_step=start, process_index=rank, process_count=count, mixed=self.mixed()
        )
        ahead = Ahead(source, self.parts.compiled.place)
        try:
            self._fit(state, ahead, start, seconds, stop, profile)
            self.checkpoints.wait()
        finally:
            ahead.close()
            source.close()
            self.telemetry.close()
        step = self.checkpoints.latest() or 0
        if step < self.cfg.loop.steps:
            raise Interrupted(
                f"stopped at step {step} of {self.cfg.loop.steps}, saved: the same command goes on from there"
            )
        return Outcome(str(self.folder.path), step, self.last)

    def mixed(self) -> Mixed | None:
        """The rows of a mixture, which is told and kept for the report; None where there is none."""
        if self.cfg.data.mixture is None:
            return None
        mixed = Mixed(self.shards, "train", self.cfg.data)
        lines = mixed.told(self.cfg.loop.steps)
        log.info("the mixture by %s, over %d steps:\n%s", mixed.by, self.cfg.loop.steps, as_text(lines))
        stages = mixed.stages(self.cfg.loop.steps)
        for start, stop in stages if len(stages) > 1 else ():
            log.info("of these the steps %d to %d:\n%s", start, stop - 1, as_text(mixed.told(stop, start)))
        for said in mixed.scaled(self.cfg.loop.steps):
            log.info("data.mixture: %s", said)
        if len(lines) == 1:
            log.warning("%s", _of_one(mixed.by, lines[0]["component"], self.cfg.data.source))
        for line in lines:
            if line["epochs"] > mixed.most_epochs:
                log.warning(
                    "%s %r is read %.1f times in %d steps, over data.mixture.most_epochs=%g: give it less or more text",
                    mixed.by, line["component"], line["epochs"], self.cfg.loop.steps, mixed.most_epochs,
                )  # fmt: skip
        if ranks.rank() == 0:
            write_json(self.folder.data, (self.folder.read_data() or {}) | {"mixture": lines})
        return mixed

    def _fit(self, state: TrainState, ahead: Ahead, start: int, seconds: float, stop, profile: int | None) -> None:
        compiled = self.parts.compiled
        held_out = self.shards.counts("validation")["predicted"] > 0
        loop.fit(
            self.cfg.loop,
            compiled.enter(state),
            ahead,
            profiled(compiled.step, self.folder.path / "profile", profile) if profile else compiled.step,
            start=start,
            seconds=seconds,
            evaluate=self.evaluate if held_out else lambda state: {},
            evaluated=self.evaluated,
            save=self.save,
            log=self.log,
            stop=stop,
            fetch=Reader(),
            enter=beat.enter,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        flops = self.parts.family.flops_per_token(self.cfg.data.length)
        peak = speed.peak(list(self.parts.mesh.devices.flat))
        line = speed.with_flops(metrics, flops, peak)
        self.last.update(line)
        self.telemetry.write(step, line)

    def save(self, step: int, state: Any, evaluation: Mapping[str, float], seconds: float) -> None:
        """Metrics first, checkpoint after: a crash between the two leaves no gap in the metrics."""
        self.telemetry.sync()
        self.checkpoints.save(
            step,
            self.parts.compiled.leave(state),
            meta={"shards": self.shards.digest, "seconds": seconds, "jaxlm": __version__},
            metrics={f"eval/{name}": value for name, value in evaluation.items()},
        )

    def evaluated(self, state: Any, evaluation: Mapping[str, float]) -> Any:
        """The state to go on with: NT-ASGD's knows of the loss, all others stay as they are."""
        if self.cfg.optimizer.kind != "nt_asgd":
            return state
        compiled = self.parts.compiled
        return compiled.enter(asgd.evaluated(compiled.leave(state), evaluation["loss"]))

    def evaluate(self, state: Any) -> dict[str, float]:
        params = weights(self.parts.compiled.leave(state))
        return evaluation_metrics(self.cfg, self.parts, self.shards, params)


def _of_one(by: str, name: str, source: str) -> str:
    if by == "language":
        mend = (
            f"documents of data.source={source!r} that say no language are 'und'; make a corpus of them first, as "
            f"`jaxlm prepare` tells languages, or use data.mixture.by=source"
        )
    else:
        mend = f"a source is a folder right below data.source={source!r}, or what a record says: leave data.mixture out"
    return f"data.mixture.by={by!r} mixes nothing, as all text is of one component, {name!r}: {mend}"


def weights(state: TrainState) -> Any:
    """What is evaluated and used: the average where there is one."""
    return state.average if state.average != () else state.params


def predicted_bytes(cfg: RunConfig, counts: Mapping[str, int]) -> int | None:
    """Bytes of a split's text, where every token of it is asked for once; None elsewhere."""
    return counts["bytes"] if cfg.data.objective.kind == "next_token" else None


def evaluation_metrics(cfg: RunConfig, parts: Parts, shards: Shards, params: Any) -> dict[str, float]:
    """The score of the validation split, and the loss of each component of a mixture."""
    rank, count = parts.share
    source = evaluation_batches(shards, cfg.data, "validation", process_index=rank, process_count=count)
    try:
        rows = perplexity.rows(parts.sums, params, map(parts.place, source), carry(cfg, parts.family))
    finally:
        source.close()
    found = perplexity.of_rows(rows, predicted_bytes(cfg, shards.counts("validation")))
    metrics = {name: value for name, value in found._asdict().items() if value is not None}
    if cfg.data.mixture is None:
        return metrics
    components = by_component(shards, "validation", cfg.data)
    for name, start, stop in zip(components.names, components.first[:-1], components.first[1:], strict=True):
        if rows[2, start:stop].any():  # weights: else nothing of it is asked for
            metrics[f"loss/{name}"] = perplexity.of_rows(rows[:, start:stop], None).loss
    return metrics
