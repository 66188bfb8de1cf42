"""A run that starts from another's parameters (`init`): the body must be the same, heads may come and go.

So a model that learned from plain text goes on to a task: heads that the other run lacks, or that answer something
else there, are drawn at random, those that the task has no use for stay behind, and both are told.

Left out: bodies of other shapes (grown widths, more layers), and optimiser states.
"""

import json
import logging
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig, CheckpointFolder
from jaxlm.config import dump, parse
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.objectives import ObjectiveConfig
from jaxlm.errors import UserError
from jaxlm.flat import flatten, kinds, require_same, unflatten
from jaxlm.models.heads import HEADS
from jaxlm.parts import Parts
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, read_json

log = logging.getLogger("jaxlm")
ANSWERS = ("classifier", "classifier_b")  # the one head of all tasks but the vocabulary's


class Heads(NamedTuple):
    """Top-level names of parameters."""

    drawn: list[str]  # at random
    left: list[str]  # behind


def require_same_tokens(run: str, tokenizer: Path) -> None:
    """UserError where a start from `run` would read its ids as other text; told before anything is compiled."""
    folder = RunFolder(run)
    if tokenizers.load(folder.tokenizer).digest != tokenizers.load(tokenizer).digest:
        raise UserError(
            f"init={run!r} was trained on other tokens than this run: take its tokenizer too, with "
            f"--set data.tokenizer.kind=saved --set data.tokenizer.path={folder.tokenizer}"
        )


def require_checkpoint(run: str) -> None:
    """UserError where `run` is none, or has nothing to start from."""
    if not CheckpointFolder(RunFolder(run).require().checkpoints).arrays():
        raise UserError(f"init={run!r} has no whole checkpoint to start from: jaxlm verify {run} says what is wrong")


def require_same_body(run: str, parts: Parts, objective: ObjectiveConfig) -> None:
    """UserError where the parameters of `run`, its heads aside, are not those of this model; no number is read."""
    found = CheckpointFolder(RunFolder(run).checkpoints).arrays()
    compare(run, of_model(found, prefix(found)), kinds(flatten(parts.abstract.params)), objective)


def params(run: str, parts: Parts, objective: ObjectiveConfig, drawn: Any) -> Any:
    """The parameters of the newest valid checkpoint of `run`, laid out as this run's; heads it lacks as in `drawn`.

    Where that run kept a moving average of its parameters it is taken, as it is what `jaxlm eval` scores.
    """
    with Checkpoints(RunFolder(run).checkpoints, CheckpointConfig(), read_only=True) as saved:
        of = prefix(saved.folder.arrays())
        _, flat, _ = saved.read(prefix=of)
    flat, wanted = of_model(flat, of), flatten(parts.abstract.params)
    heads = compare(run, kinds(flat), kinds(wanted), objective)
    if heads.drawn and jax.process_index() == 0:
        log.warning("init=%r: drawn at random, as it has no head that answers this: %s", run, ", ".join(heads.drawn))
    if heads.left and jax.process_index() == 0:
        log.warning("init=%r: left behind, as this run does not ask for it: %s", run, ", ".join(heads.left))
    own = {name: array for name, array in flatten(drawn).items() if top(name) in heads.drawn}
    placed = {name: jax.device_put(flat[name], leaf.sharding) for name, leaf in wanted.items() if name not in own}
    return unflatten(parts.abstract.params, placed | own)


def compare(run: str, saved: Mapping[str, str], wanted: Mapping[str, str], objective: ObjectiveConfig) -> Heads:
    """Which heads differ between parameters of these kinds; UserError where anything else does."""
    folder = RunFolder(run)
    cfg = parse(read_json(folder.config), RunConfig, origin=str(folder.config))
    differ = {top(name) for name in saved.keys() | wanted.keys() if saved.get(name) != wanted.get(name)}
    heads = differ & HEADS
    if answered(cfg.data.objective) != answered(objective):  # in a head of the same shape too
        heads |= {*ANSWERS}
    body = lambda of: {name: kind for name, kind in of.items() if top(name) not in heads}
    sets = (
        f"init={run}",
        "data.tokenizer.kind=saved",
        f"data.tokenizer.path={folder.tokenizer}",
        f"data.objective={json.dumps(dump(objective))}",
        "data.source=TEXT",
    )
    command = shlex.join(["jaxlm", "train", run, "--name", "NEW", *(word for one in sets for word in ("--set", one))])
    mend = f"give this run model.* and data.length of {folder.config}, or begin with that, {command}"
    require_same(body(saved), body(wanted), f"init={run!r}", mend)
    of = lambda names: heads & {top(name) for name in names}
    return Heads(sorted(of(wanted)), sorted(of(saved) - of(wanted)))


def answered(objective: ObjectiveConfig) -> tuple:
    """What the head of a task tells apart."""
    return objective.kind, getattr(objective, "classes", ())


def prefix(names: Collection[str]) -> str:
    """Of a model's parameters among the arrays of a checkpoint."""
    return "average/" if any(name.startswith("average/") for name in names) else "params/"


def of_model(arrays: Mapping[str, Any], of: str) -> dict[str, Any]:
    return {name.removeprefix(of): array for name, array in arrays.items() if name.startswith(of)}


def top(name: str) -> str:
    return name.partition("/")[0]
