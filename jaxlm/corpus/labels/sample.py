"""Which texts people look at next, and the file they are given."""

import json
from pathlib import Path
from typing import Any

import xxhash

from jaxlm import hashing
from jaxlm.corpus.disk import clear_errors
from jaxlm.corpus.labels import argilla, label_studio
from jaxlm.corpus.labels.config import SampleConfig
from jaxlm.corpus.labels.make import Labels
from jaxlm.errors import UserError

SUFFIXES = (".jsonl", ".json")
FORMATS = {"label_studio": label_studio.task, "argilla": argilla.record}


def export(made: Labels, program: str, path: Path) -> int:
    """Write the sample that `made.cfg` asks for, as a list where `path` ends in .json, else a line each; its size.

    A label that was found goes along as a suggestion, and what people said already as their answers.
    """
    chosen = ranked(made, made.cfg.sample)
    if not chosen:
        left = "has a vote" if made.cfg.sample.by == "least_confidence" else "is new to people"
        raise UserError(f"sample.by={made.cfg.sample.by!r}: no text {left}: set the other one, or name more texts")
    rank = {item: n for n, item in enumerate(chosen)}
    found: list[Any] = [None] * len(chosen)
    for n, item in enumerate(made.items()):
        if n in rank:
            said = made.people.get(item.id, {})
            found[rank[n]] = FORMATS[program](item, made.label(n), said, f"jaxlm {made.cfg.name}")
    listed = [json.dumps(one, ensure_ascii=False) for one in found]
    text = "[\n" + ",\n".join(listed) + "\n]\n" if path.suffix == ".json" else "\n".join(listed) + "\n"
    with clear_errors(path.parent, "the sample", "nothing half-written stays there"):
        path.parent.mkdir(parents=True, exist_ok=True)
        hashing.write_atomically(path, text.encode())
    return len(listed)


def ranked(made: Labels, cfg: SampleConfig) -> list[int]:
    """The texts asked for, the first to look at first; a hash decides where nothing else does.

    It is a hash of its own: by the id alone the sample would lie in one split of the data.
    """
    chance = [xxhash.xxh3_64_intdigest(f"{made.cfg.name}\0{id_}".encode()) for id_ in made.ids]
    most_I = made.found.posterior_IK.max(axis=1, initial=0.0)
    if cfg.by == "hash":
        order = sorted((n for n, id_ in enumerate(made.ids) if id_ not in made.people), key=lambda n: chance[n])
    else:
        voted = [n for n in range(len(made.ids)) if most_I[n] > 0]
        order = sorted(voted, key=lambda n: (round(float(most_I[n]), 9), chance[n]))
    return order[: cfg.count]
