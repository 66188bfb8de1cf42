"""Training a run, from text to the last checkpoint; what it is told is in run_config.py, its parts in parts.py."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlm import __version__, host, warm_start
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointFolder
from jaxlm.config import dump
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.loader import asks, batches, evaluation_batches
from jaxlm.data.objectives import vocabulary
from jaxlm.data.shards import Shards
from jaxlm.errors import Interrupted, UserError
from jaxlm.evaluation import perplexity
from jaxlm.parts import Parts, as_saved, build, carry
from jaxlm.run_config import RunConfig, imported
from jaxlm.run_folder import RunFolder, read_json, write_json
from jaxlm.training import asgd, loop, speed
from jaxlm.training import layout as layouts
from jaxlm.training import optimizer as optimizers
from jaxlm.training.ahead import Ahead
from jaxlm.training.interrupt import SKIPPED, end_on_signals, profiled, stop_on_signals
from jaxlm.training.layout import Layout
from jaxlm.training.meter import Reader
from jaxlm.training.state import TrainState
from jaxlm.training.telemetry import Show, Telemetry, read_lines

log = logging.getLogger("jaxlm")


class Outcome(NamedTuple):
    """What `train` did; what `jaxlm train --json` prints."""

    run: str
    step: int
    metrics: dict[str, float | None]  # newest value of each; null: not known here


def train(
    cfg: RunConfig,
    run_dir: str | Path | None = None,
    *,
    shards_dir: str | Path = "shards",
    fresh: bool = False,
    workers: int | None = None,
    profile: int | None = None,
    show: Show = lambda *_: None,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Train `cfg` in its run folder, from where it stands; a finished run returns at once.

    `show` gets each line of metrics, `progress` (done, total, what) of the preparation. UserError where the
    folder holds another run; Interrupted after SIGTERM or SIGINT, when everything is saved, or nothing is to be.
    """
    folder = RunFolder(run_dir or Path("runs") / cfg.name)
    refuse_import(cfg, folder)
    allocator = host.tune_allocator()
    done = None if fresh else finished(folder, cfg.loop.steps)
    new = folder.missing()
    folder.claim(dump(cfg), fresh=fresh, finished=done is not None)
    with folder.locked():
        if done is not None and profile is None:
            return done
        start = max(CheckpointFolder(folder.checkpoints).finished(), default=0)
        if profile and cfg.loop.steps - start < SKIPPED + profile:
            raise UserError(
                f"--profile {profile} traces after {SKIPPED} steps, but only {cfg.loop.steps - start} of "
                f"loop.steps={cfg.loop.steps} are left: ask for fewer, or train more"
            )
        warm = cfg.init if not start else None
        with folder.undone(new), end_on_signals():
            if warm is not None:
                warm_start.require_checkpoint(warm)  # before text is prepared for it
            shards = open_shards(cfg, folder, Path(shards_dir), workers, progress)
            require_held_out(cfg, shards)
            require_asked(cfg, shards)
            if warm is not None:
                warm_start.require_same_tokens(warm, folder.tokenizer)
            vocab = vocabulary(cfg.data.objective, cfg.data.length, shards)
            cfg = shaped(cfg, folder, vocab)
            layout = choose_layout(cfg, folder, vocab)
            host.start_jax(layout.devices)
            parts = build(cfg, layout, vocab)
            if warm is not None:
                warm_start.require_same_body(warm, parts, cfg.data.objective)
        size = sum(leaf.size for leaf in jax.tree.leaves(parts.abstract.params))
        folder.write_environment(list(parts.mesh.devices.flat), allocator, size)
        with Checkpoints(folder.checkpoints, cfg.checkpoint) as checkpoints:
            return Session(cfg, folder, parts, shards, checkpoints).train(show, profile)


def refuse_import(cfg: RunConfig, folder: RunFolder) -> None:
    """UserError for an imported model's own folder, which starts from itself, and for its config without a text."""
    itself = cfg.init is not None and RunFolder(cfg.init).path.resolve() == folder.path.resolve()
    if itself or imported(cfg):
        model = cfg.init or folder.path
        raise UserError(
            f"{str(model)!r} is an imported model without a text of its own: train a new run from it, "
            f"jaxlm train {model} --set data.source=TEXT --name NEW"
        )


def finished(folder: RunFolder, steps: int) -> Outcome | None:
    """What a run that has its last checkpoint came to; None where there is still something to do."""
    saved = CheckpointFolder(folder.checkpoints)
    if saved.first_valid([step for step in saved.finished() if step >= steps]) is None:
        return None
    last: dict[str, float | None] = {}
    for line in read_lines(folder.metrics):
        last.update(line)
    step = last.pop("step", None)
    return Outcome(str(folder.path), int(steps if step is None else step), last)


def open_shards(cfg: RunConfig, folder: RunFolder, root: Path, workers: int | None, progress: Progress) -> Shards:
    """The shards this run began with, or newly prepared ones; what they are is kept in data.json."""
    known = folder.read_data()
    if known and Path(known["shards"]).exists():
        shards = Shards.open(known["shards"])
    else:
        shards = prepare(cfg.data, root, workers=workers, progress=progress)
    if known and known["digest"] != shards.digest:
        raise UserError(
            f"shards {str(shards.folder)!r} have digest {shards.digest}, but {str(folder.path)!r} began with "
            f"{known['digest']}: the source has changed. Restore it, or start another run with --name or --fresh"
        )
    if not known or not folder.tokenizer.exists():
        tokenizers.load(shards.folder / "tokenizer").save(folder.tokenizer)
    where = str(shards.folder.resolve())
    if not known or known["shards"] != where:
        counts = {split: shards.counts(split) for split in ("train", "validation", "test")}
        write_json(folder.data, {"shards": where, "digest": shards.digest, "counts": counts})
    return shards


def require_held_out(cfg: RunConfig, shards: Shards) -> None:
    """UserError where the optimiser waits for held-out losses, and nothing is held out."""
    if cfg.optimizer.kind == "nt_asgd" and not shards.counts("validation")["predicted"]:
        raise UserError(
            f"optimizer.kind='nt_asgd' averages from when the held-out loss no longer falls, but the validation split "
            f"of {str(shards.folder)!r} is empty: give data.split a part for it, or use optimizer.kind='sgd'"
        )


def require_asked(cfg: RunConfig, shards: Shards) -> None:
    """UserError where the rows of a split are too short for the objective to ask for anything."""
    for split in ("train", "validation"):
        if shards.counts(split)["predicted"] and not asks(shards, cfg.data, split):
            raise UserError(
                f"data.objective.kind={cfg.data.objective.kind!r} asks for nothing in any row of the {split} split of "
                f"{str(shards.folder)!r}: give it more text (data.split, data.source), or lower data.length="
                f"{cfg.data.length}"
            )


def shaped(cfg: RunConfig, folder: RunFolder, vocab: int) -> RunConfig:
    """`cfg` with the shapes that it leaves open as in the checkpoint that training begins from."""
    start = CheckpointFolder(folder.checkpoints)
    if not start.finished() and cfg.init is not None:
        start = CheckpointFolder(RunFolder(cfg.init).require().checkpoints)
    return as_saved(cfg, start.arrays(), vocab)


def choose_layout(cfg: RunConfig, folder: RunFolder, vocab: int) -> Layout:
    """The layout of layout.json; else what the config says; else, on CPU, the fastest, by measuring."""
    if folder.layout.exists():
        return Layout.parse(read_json(folder.layout))
    on_cpu = host.computes_on_cpu()
    cores = host.cores() if on_cpu else None
    way = cfg.step.compile
    if cfg.mesh.layout == "auto" and on_cpu:
        layout = layouts.choose(dump(cfg), layouts.candidates(cfg.mesh, way, host.cores(), cfg.data.batch), vocab)
    else:
        layout = layouts.told(cfg.mesh, way, cores)
    log.info(
        "layout %s on %s devices by %s: %s",
        layout.mesh.layout,
        layout.devices or "all",
        layout.compile,
        layout.why,
    )
    if cores is not None and (layout.devices or 0) > cores:
        log.warning("%d devices share %d cores: a layout can be tried so, but fewer are faster", layout.devices, cores)
    write_json(folder.layout, layout.dump())
    return layout


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
    """One process's work on a run: what the loop calls back."""

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
        self.telemetry = Telemetry(self.cfg.telemetry, self.folder.path, start=start, config=dump(self.cfg), show=show)
        rank, processes = jax.process_index(), jax.process_count()
        source = batches(self.shards, self.cfg.data, start_step=start, process_index=rank, process_count=processes)
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
            evaluated=lambda state, evaluation: asgd.evaluated(state, evaluation["loss"]),
            save=self.save,
            log=self.log,
            stop=stop,
            fetch=Reader(),
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

    def evaluate(self, state: Any) -> dict[str, float]:
        params = weights(self.parts.compiled.leave(state))
        return evaluation_metrics(self.cfg, self.parts, self.shards, params)


def weights(state: TrainState) -> Any:
    """What is evaluated and used: the average where there is one."""
    return state.average if state.average != () else state.params


def text_bytes(cfg: RunConfig, shards: Shards, split: str) -> int | None:
    """Bytes of a split's text, where every token of it is asked for once."""
    return shards.counts(split)["bytes"] if cfg.data.objective.kind == "next_token" else None


def evaluation_metrics(
    cfg: RunConfig, parts: Parts, shards: Shards, params: Any, split: str = "validation"
) -> dict[str, float]:
    source = evaluation_batches(shards, cfg.data, split)
    try:
        found = perplexity.score(
            parts.sums,
            params,
            map(parts.place, source),
            text_bytes(cfg, shards, split),
            carry(cfg, parts.family),
        )
    finally:
        source.close()
    return {name: value for name, value in found._asdict().items() if value is not None}
