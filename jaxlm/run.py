"""Training a run, from text to the last checkpoint; what it is told is in run_config.py, its parts in parts.py."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax

from jaxlm import host, ranks, room, warm_start
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointFolder
from jaxlm.config import dump
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.prepare import prepare
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.loader import asks
from jaxlm.data.objectives import vocabulary
from jaxlm.data.shards import Shards
from jaxlm.errors import UserError
from jaxlm.mesh_misfit import check_mesh
from jaxlm.parts import Parts, as_saved, build
from jaxlm.run_config import RunConfig, imported
from jaxlm.run_folder import RunFolder, read_json, write_json
from jaxlm.session import Outcome, Session
from jaxlm.training import layout as layouts
from jaxlm.training.interrupt import SKIPPED, end_on_signals
from jaxlm.training.layout import Layout
from jaxlm.training.telemetry import Show, read_lines

log = logging.getLogger("jaxlm")


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
    with end_on_signals() as ended, ExitStack() as held:
        begin = lambda: _begin(cfg, folder, held, fresh=fresh, profile=profile)
        start = ranks.first(begin, "the run folder")
        if start["done"] is not None:
            log.info("%s is finished, at step %d of loop.steps=%d", folder.path, start["done"][1], cfg.loop.steps)
            return Outcome(*start["done"])
        with folder.undone([Path(path) for path in start["made"]] if ranks.rank() == 0 else []):
            warm = None if start["step"] else cfg.init
            if not start["step"] and ranks.count() == 1:  # else process 0 alone would wait for the others' devices
                room.require_room(cfg)
            ready = lambda: _ready(cfg, folder, Path(shards_dir), warm, workers, progress)
            shards = Shards.open(ranks.first(ready, "text and layout"))
            cfg, parts = assemble(cfg, folder, shards, warm)
            size = sum(leaf.size for leaf in jax.tree.leaves(parts.abstract.params))
            if ranks.rank() == 0:
                folder.write_environment(list(parts.mesh.devices.flat), allocator, size)
            ended()
        with Checkpoints(folder.checkpoints, cfg.checkpoint) as checkpoints:
            return Session(cfg, folder, parts, shards, checkpoints).train(show, profile)


def _begin(cfg: RunConfig, folder: RunFolder, held: ExitStack, *, fresh: bool, profile: int | None) -> dict[str, Any]:
    """On process 0: claim and lock the folder, until `held` ends. What was done there already, as plain JSON."""
    done = None if fresh else finished(folder, cfg.loop.steps)
    made = folder.claim(dump(cfg), fresh=fresh, finished=done is not None)
    held.enter_context(folder.locked())
    start = max(CheckpointFolder(folder.checkpoints).finished(), default=0)
    if done is not None and profile is None:
        return {"done": list(done), "made": [], "step": start}
    if profile and cfg.loop.steps - start < SKIPPED + profile:
        raise UserError(
            f"--profile {profile} traces after {SKIPPED} steps, but only {cfg.loop.steps - start} of "
            f"loop.steps={cfg.loop.steps} are left: ask for fewer, or train more"
        )
    return {"done": None, "made": [str(path) for path in made], "step": start}


def _ready(
    cfg: RunConfig, folder: RunFolder, shards_dir: Path, warm: str | None, workers: int | None, progress: Progress
) -> str:
    """On process 0: all that is written before training begins. The folder of the shards."""
    if not folder.layout.exists():  # one that is, was of other cores maybe, and is obeyed
        check_mesh(cfg, ranks.count() * host.cores() if host.computes_on_cpu() else None)
        asked_layout(cfg)  # for what it refuses, before text is prepared
    if warm is not None:
        warm_start.require_checkpoint(warm)  # before text is prepared for it
    shards = open_shards(cfg, folder, shards_dir, workers, progress)
    require_held_out(cfg, shards)
    require_asked(cfg, shards)
    if warm is not None:
        warm_start.require_same_tokens(warm, folder.tokenizer)
    choose_layout(cfg, folder, vocabulary(cfg.data.objective, cfg.data.length, shards))
    return str(shards.folder.resolve())


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


def assemble(cfg: RunConfig, folder: RunFolder, shards: Shards, warm: str | None) -> tuple[RunConfig, Parts]:
    """The parts of a run that will read `shards`, and its config with all shapes; `warm` is the run it begins from."""
    vocab = vocabulary(cfg.data.objective, cfg.data.length, shards)
    cfg = shaped(cfg, folder, vocab)
    layout = Layout.parse(read_json(folder.layout))
    host.start_jax(layout.devices)
    with room.told_if_too_large():
        parts = build(cfg, layout, vocab)
    room.require_fit(parts)
    if warm is not None:
        warm_start.require_same_body(warm, parts, cfg.data.objective)
    return cfg, parts


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


def choose_layout(cfg: RunConfig, folder: RunFolder, vocab: int) -> None:
    """Make layout.json, if it is not that of as many processes: as the config says, or on CPU the fastest measured."""
    processes = ranks.count()
    if folder.layout.exists():
        before = Layout.parse(read_json(folder.layout)).processes
        if before == processes:
            return
        log.info("%d processes, and %d until now: the layout is chosen anew", processes, before)
    layout = asked_layout(cfg)
    if layout is None:
        found = layouts.candidates(cfg.mesh, cfg.step.compile, host.cores(), cfg.data.batch)
        layout = layouts.choose(dump(shaped(cfg, folder, vocab)), found, vocab)
    log.info(
        "layout %s on %s devices by %s: %s",
        layout.mesh.layout,
        processes * layout.devices if layout.devices else "all",
        layout.compile,
        layout.why,
    )
    if layout.devices and layout.devices > host.cores():
        log.warning(
            "%d devices share %d cores: a layout can be tried so, but fewer are faster",
            processes * layout.devices,
            processes * host.cores(),
        )
    write_json(folder.layout, layout.dump())


def asked_layout(cfg: RunConfig) -> Layout | None:
    """The layout that needs no measuring, for the processes that there are; None where it is to be measured."""
    processes = ranks.count()
    cores = processes * host.cores() if host.computes_on_cpu() else None
    mesh, measured = cfg.mesh, cfg.mesh.layout == "auto" and cores is not None
    if cfg.step.deterministic == "strict":
        return layouts.among(layouts.strict(mesh, cfg.step.parts, cores), processes)
    if measured and processes == 1:
        return None
    mesh = mesh.model_copy(update={"layout": "replicated"}) if measured else mesh  # several are not measured
    return layouts.among(layouts.told(mesh, cfg.step.compile, cores), processes)
