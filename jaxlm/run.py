"""A run: its config, how its parts are put together, and training it from text to the last checkpoint.

The only place where parts are built; everything below is handed what it needs.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import pydantic
from jax.sharding import Mesh

from jaxlm import __version__, host
from jaxlm import mesh as meshes
from jaxlm.batch import Batch
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import Config, dump, load
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.dataset import DataConfig
from jaxlm.data.loader import batches, evaluation_batches
from jaxlm.data.shards import Shards
from jaxlm.errors import Interrupted, UserError
from jaxlm.evaluate import perplexity
from jaxlm.flat import flatten, kinds, require_same, unflatten
from jaxlm.losses import LossConfig, cross_entropy
from jaxlm.models import build as models
from jaxlm.models.build import Family, ModelConfig
from jaxlm.run_folder import FORMAT, RunFolder, read_json, write_json
from jaxlm.train import layout as layouts
from jaxlm.train import loop, speed
from jaxlm.train import optimizer as optimizers
from jaxlm.train import state as states
from jaxlm.train.compile import Compiled, compile_step, place, state_shardings
from jaxlm.train.interrupt import profiled, stop_on_signals
from jaxlm.train.layout import Layout
from jaxlm.train.optimizer import AdamWConfig, OptimizerConfig
from jaxlm.train.state import TrainState
from jaxlm.train.step import make_step
from jaxlm.train.telemetry import Telemetry, TelemetryConfig

log = logging.getLogger("jaxlm")


class StepConfig(Config):
    microbatches: int = pydantic.Field(
        1, gt=0
    )  # parts of the batch, one after another: less memory, same step
    compile: Literal["auto", "jit", "shard_map", "pmap"] = (
        "auto"  # auto: shard_map for replicated state on CPU
    )


class RunConfig(Config):
    format_version: Literal[1] = FORMAT
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # of the run folder
    seed: int = 0  # of initial parameters and dropout; data.seed orders the rows
    init: str | None = None  # a run folder whose parameters this run starts from; None: at random
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig = AdamWConfig()
    loss: LossConfig = LossConfig()
    step: StepConfig = StepConfig()
    loop: loop.LoopConfig
    mesh: meshes.MeshConfig = meshes.MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @pydantic.model_validator(mode="after")
    def _fields_agree(self):
        if self.data.batch % self.step.microbatches:
            raise ValueError(
                f"data.batch={self.data.batch} is not a multiple of step.microbatches={self.step.microbatches}"
            )
        warmup = self.optimizer.schedule.warmup
        if warmup > self.loop.steps:
            raise ValueError(
                f"optimizer.schedule.warmup={warmup} is over loop.steps={self.loop.steps}: the peak would not be reached"
            )
        longest = self.model.max_length
        if self.model.position == "learned" and longest is not None and longest < self.data.length:
            raise ValueError(f"model.max_length={longest} is under data.length={self.data.length}: raise it")
        return self


def load_config(path_or_name: str | Path, *overrides: str) -> RunConfig:
    """A shipped config, a .py or .json file, or a run folder's, with `path=value` overrides."""
    return load(path_or_name, RunConfig, overrides)


class Parts(NamedTuple):
    """What a config becomes on devices."""

    family: Family
    mesh: Mesh
    init: Callable[[], TrainState]  # at random, on the mesh
    abstract: TrainState  # shapes, dtypes and shardings
    compiled: Compiled
    sums: Callable[[Any, Any], jax.Array]  # perplexity.row_sums, jitted
    place: Callable[[Batch], Batch]  # this process's rows -> arrays on the mesh, for `sums`


def build(cfg: RunConfig, layout: Layout, vocab: int) -> Parts:
    """Mesh, model, optimiser and compiled step of `cfg` in `layout` for a tokenizer of `vocab` ids."""
    mesh = meshes.build(layout.mesh)
    family = build_family(cfg, vocab, mesh.devices.flat[0].platform)
    rate = optimizers.schedule(cfg.optimizer.schedule, cfg.optimizer.peak_rate, cfg.loop.steps)
    optimizer = optimizers.build(cfg.optimizer, cfg.loop.steps, family.axes, family.precision)

    def init() -> TrainState:
        params = family.init(jax.random.key(cfg.seed))
        return states.start(params, optimizer, averaged=cfg.optimizer.average is not None)

    def make(axis: str | None):
        return make_step(
            make_loss(family, cfg.loss),
            optimizer,
            rate=rate,
            seed=cfg.seed if cfg.model.dropout else None,
            microbatches=cfg.step.microbatches,
            average=cfg.optimizer.average,
            axis=axis,
        )

    shapes = jax.eval_shape(init)
    meshes.check_divides(mesh, family.axes, shapes.params)
    shardings = state_shardings(mesh, shapes, family.axes)
    abstract = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
    compiled = compile_step(
        make, layout.compile, mesh, abstract, shardings, (cfg.data.batch, cfg.data.length)
    )
    on_rows = meshes.batch_sharding(mesh)
    return Parts(
        family=family,
        mesh=mesh,
        init=jax.jit(init, out_shardings=shardings),
        abstract=abstract,
        compiled=compiled,
        sums=in_mesh(jax.jit(perplexity.row_sums(family), in_shardings=(shardings.params, on_rows)), mesh),
        place=lambda batch: place(batch, on_rows),
    )


def build_family(cfg: RunConfig, vocab: int, platform: str) -> Family:
    if cfg.model.vocab is not None and cfg.model.vocab < vocab:
        raise UserError(
            f"model.vocab={cfg.model.vocab} is under the tokenizer's {vocab}: raise it, or leave it out"
        )
    return models.build(
        cfg.model,
        vocab=cfg.model.vocab or vocab,
        length=cfg.data.length,
        packed=cfg.data.rows != "chunked",
        platform=platform,
    )


def make_loss(family: Family, cfg: LossConfig):
    """(params, batch, keys_B) -> (sum to minimise, sums of nats and weight), for train/step.py."""

    def loss(params, batch, keys_B):
        objective_B, nats_B = cross_entropy(
            family.hidden(params, batch, keys_B),
            family.head(params),
            batch.target,
            batch.weight,
            precision=family.precision,
            cfg=cfg,
            softcap=family.softcap,
        )
        return objective_B.sum(), {"loss": nats_B.sum(), "weight": batch.weight.sum()}

    return loss


def in_mesh(function: Callable, mesh: Mesh) -> Callable:
    """`function` called with `mesh` in scope, for `mesh.constrain`."""

    def call(*args):
        with jax.set_mesh(mesh):
            return function(*args)

    return call


class Outcome(NamedTuple):
    """What `train` did; what `jaxlm train --json` prints."""

    run: str
    step: int
    metrics: dict[str, float]


def train(
    cfg: RunConfig,
    run_dir: str | Path | None = None,
    *,
    shards_dir: str | Path = "shards",
    fresh: bool = False,
    workers: int | None = None,
    profile: int | None = None,
    show: Callable[[int, Mapping[str, float]], None] = lambda *_: None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> Outcome:
    """Train `cfg` in its run folder, from where it stands; a finished run returns at once.

    `show` gets each line of metrics, `progress` (done, total, what) of the preparation. UserError where the
    folder holds another run; Interrupted after SIGTERM or SIGINT, when everything is saved.
    """
    folder = RunFolder(run_dir or Path("runs") / cfg.name)
    allocator = host.tune_allocator()
    folder.claim(dump(cfg), fresh=fresh)
    with folder.locked():
        shards = open_shards(cfg, folder, Path(shards_dir), workers, progress)
        layout = choose_layout(cfg, folder, shards.vocab)
        host.start_jax(layout.devices)
        parts = build(cfg, layout, shards.vocab)
        size = sum(leaf.size for leaf in jax.tree.leaves(parts.abstract.params))
        folder.write_environment(list(parts.mesh.devices.flat), allocator, size)
        with Checkpoints(folder.checkpoints, cfg.checkpoint) as checkpoints:
            return _train(cfg, folder, parts, shards, checkpoints, profile, show)


def open_shards(cfg: RunConfig, folder: RunFolder, root: Path, workers: int | None, progress) -> Shards:
    """The shards this run began with, or newly prepared ones; what they are is kept in data.json."""
    known = read_json(folder.data) if folder.data.exists() else None
    if known and Path(known["shards"]).exists():
        shards = Shards.open(known["shards"])
    else:
        shards = prepare(cfg.data, root, workers=workers, progress=progress)
    if known and known["digest"] != shards.digest:
        raise UserError(
            f"shards {str(shards.folder)!r} have digest {shards.digest}, but {str(folder.path)!r} began with "
            f"{known['digest']}: the source has changed. Restore it, or start another run with --name or --fresh"
        )
    if not known:
        tokenizers.load(shards.folder / "tokenizer").save(folder.tokenizer)
        counts = {split: shards.counts(split) for split in ("train", "validation", "test")}
        write_json(
            folder.data, {"shards": str(shards.folder.resolve()), "digest": shards.digest, "counts": counts}
        )
    return shards


def choose_layout(cfg: RunConfig, folder: RunFolder, vocab: int) -> Layout:
    """The layout of layout.json; else what the config says; else, on CPU, the fastest, by measuring."""
    if folder.layout.exists():
        return Layout.parse(read_json(folder.layout))
    on_cpu = host.computes_on_cpu()
    cores = host.cores() if on_cpu else None
    way = cfg.step.compile
    if cfg.mesh.layout == "auto" and on_cpu:
        layout = layouts.choose(
            dump(cfg), layouts.candidates(cfg.mesh, way, host.cores(), cfg.data.batch), vocab
        )
    else:
        layout = layouts.told(cfg.mesh, way, cores)
    log.info(
        "layout %s on %s devices by %s: %s",
        layout.mesh.layout,
        layout.devices or "all",
        layout.compile,
        layout.why,
    )
    write_json(folder.layout, layout.dump())
    return layout


def first_state(
    cfg: RunConfig, parts: Parts, checkpoints: Checkpoints, digest: str
) -> tuple[int, TrainState, float]:
    """(step, state, seconds of training so far): from the newest valid checkpoint, a warm start, or at random."""
    if checkpoints.latest() is not None:
        step, state, meta = checkpoints.restore(parts.abstract)
        if meta["shards"] != digest:
            raise UserError(f"checkpoint step {step} was trained on shards {meta['shards']}, not on {digest}")
        return step, state, meta["seconds"]
    state = parts.init()
    if cfg.init is not None:
        state = state._replace(params=warm_params(cfg.init, parts))
        if cfg.optimizer.average is not None:
            state = state._replace(average=jax.tree.map(jax.numpy.copy, state.params))
    return 0, state, 0.0


def warm_params(run: str, parts: Parts) -> Any:
    """The parameters of another run's newest checkpoint, laid out as this run's."""
    folder = RunFolder(run).require()
    with Checkpoints(folder.checkpoints, CheckpointConfig(), read_only=True) as saved:
        _, flat, _ = saved.read(prefix="params/")
    wanted = flatten({"params": parts.abstract.params})
    require_same(kinds(flat), kinds(wanted), f"init={run!r}")
    placed = {name: jax.device_put(flat[name], leaf.sharding) for name, leaf in wanted.items()}
    return unflatten({"params": parts.abstract.params}, placed)["params"]


def _train(
    cfg, folder: RunFolder, parts: Parts, shards: Shards, checkpoints: Checkpoints, profile, show
) -> Outcome:
    start, state, seconds = first_state(cfg, parts, checkpoints, shards.digest)
    telemetry = Telemetry(cfg.telemetry, folder.path, start=start, config=dump(cfg), show=show)
    if start:
        log.info("going on from step %d of %d", start, cfg.loop.steps)
    flops = parts.family.flops_per_token(cfg.data.length)
    peak = speed.peak(list(parts.mesh.devices.flat))
    step_fn = parts.compiled.step
    if profile:
        step_fn = profiled(step_fn, folder.path / "profile", profile)
    last: dict[str, float] = {}

    def write(step: int, metrics: Mapping[str, float]) -> None:
        last.update(metrics)
        telemetry.write(step, speed.with_flops(metrics, flops, peak))

    def save(step: int, state, evaluation: Mapping[str, float], seconds: float) -> None:
        telemetry.sync()
        meta = {"shards": shards.digest, "seconds": seconds, "jaxlm": __version__}
        checkpoints.save(
            step,
            parts.compiled.leave(state),
            meta=meta,
            metrics={f"eval/{k}": v for k, v in evaluation.items()},
        )

    def evaluate(state) -> dict[str, float]:
        return evaluation_metrics(cfg, parts, shards, weights(parts.compiled.leave(state)))

    source = batches(
        shards,
        cfg.data,
        start_step=start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    try:
        with stop_on_signals() as stop:
            loop.fit(
                cfg.loop,
                parts.compiled.enter(state),
                map(parts.compiled.place, source),
                step_fn,
                start=start,
                seconds=seconds,
                evaluate=evaluate if shards.counts("validation")["predicted"] else lambda state: {},
                save=save,
                log=write,
                stop=stop,
                fetch=loop.Reader(),
            )
            checkpoints.wait()
    finally:
        source.close()
        telemetry.close()
    step = checkpoints.latest() or 0
    if step < cfg.loop.steps:
        raise Interrupted(
            f"stopped at step {step} of {cfg.loop.steps}, saved: the same command goes on from there"
        )
    return Outcome(str(folder.path), step, last)


def weights(state: TrainState) -> Any:
    """What is evaluated and used: the moving average where there is one."""
    return state.average if state.average != () else state.params


def evaluation_metrics(
    cfg: RunConfig, parts: Parts, shards: Shards, params: Any, split: str = "validation"
) -> dict[str, float]:
    source = evaluation_batches(shards, cfg.data, split)
    try:
        found = perplexity.score(parts.sums, params, map(parts.place, source), shards.counts(split)["bytes"])
    finally:
        source.close()
    return found._asdict()
