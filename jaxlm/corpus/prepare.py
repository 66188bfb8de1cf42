"""Text to shards: collect, split, fit the tokenizer, encode, commit.

Shards lie in a folder named by the hash of what makes them: the same input and config find them again and
make nothing. They are built beside it under a lock and renamed when whole, so a kill at any moment costs time
and nothing else. The source is read several times (hashed, measured for a contiguous split, sampled for the
tokenizer, encoded, hashed again), so memory holds a document, the sample and a few batches, never the corpus.

Left out: cleaning and removal of duplicates, several machines.
"""

import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xxhash

from jaxlm.config import dump
from jaxlm.corpus import finished
from jaxlm.corpus.collect import Progress, documents, fingerprint
from jaxlm.corpus.disk import clear_errors
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.encode import encode
from jaxlm.corpus.lock import locked
from jaxlm.corpus.split import by_hash, contiguous
from jaxlm.corpus.survey import Survey
from jaxlm.data import shards, tokenizer, tokenizer_fast
from jaxlm.data.components import Names
from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.mixed import by_component
from jaxlm.data.objectives import fields, labelled, parts, row_plan
from jaxlm.data.shards import SPLITS, Shards
from jaxlm.data.tokenizer_base import Tokenizer
from jaxlm.data.tokenizer_config import HuggingFaceConfig, SavedConfig
from jaxlm.errors import Damaged, UserError

log = logging.getLogger("jaxlm")

VERSION = 5  # of the rules that make shards of text: raise it when the same input gives other bytes

_OPTION = "--shards-dir"  # of the command, for the folder that is locked

# The hash of the input stands for the source.
_NO_PART_OF_SHARDS = {"source", "length", "batch", "rows", "objective", "mixture", "prefetch"}


def prepare(
    cfg: DataConfig, root: str | Path, *, workers: int | None = None, progress: Progress | None = None
) -> Shards:
    """The shards of `cfg` below `root`, made if they are not there, and the row plans of `cfg`.

    `workers` is the number of encoding threads, by default one for each core this process may use.
    `progress(done, total, what)` is called now and then; `total` is None where it is not known.
    """
    root, progress = Path(root), progress or (lambda done, total, what: None)
    if root.exists() and os.path.exists(cfg.source) and os.path.samefile(root, cfg.source):
        raise UserError(f"data.source={cfg.source!r} is also the folder for shards: name another one for them")
    hashes: dict[str, str] = {}
    input_hash = fingerprint(cfg, root, progress, hashes)
    finished.check(Path(cfg.source).expanduser(), hashes, whole=not cfg.include)
    folder = root / _key(cfg, input_hash)
    made = _finished(folder)
    if made is None:
        with clear_errors(root, "shards", "nothing half-written stays there"):
            root.mkdir(parents=True, exist_ok=True)
            with locked(_lock(folder), _OPTION):
                _remove_what_the_dead_left(folder)
                made = _finished(folder) or _make(cfg, input_hash, folder, workers or cores(), progress)
    for split in SPLITS:
        if made.counts(split)["documents"]:
            progress(0, None, f"row plan of {split}")
            row_plan(made, split, cfg.objective, cfg.rows, cfg.length, cfg.batch)
            if cfg.mixture is not None:
                by_component(made, split, cfg)
    return made


def _key(cfg: DataConfig, input_hash: str) -> str:
    facts = {**_what_makes_shards(cfg), "input": input_hash, "rules": VERSION, "format": shards.FORMAT_VERSION}
    if isinstance(cfg.tokenizer, SavedConfig | HuggingFaceConfig):  # what it is and not where it lies
        facts["tokenizer"] = tokenizer.load_saved(cfg.tokenizer).digest
    return xxhash.xxh3_128_hexdigest(json.dumps(facts, sort_keys=True).encode())


def _what_makes_shards(cfg: DataConfig) -> dict[str, Any]:
    facts = {name: value for name, value in dump(cfg).items() if name not in _NO_PART_OF_SHARDS}
    return facts | ({"examples": fields(cfg.objective)} if labelled(cfg.objective) else {})


def _finished(folder: Path) -> Shards | None:
    if not folder.exists():
        return None
    try:
        return Shards.open(folder)
    except (Damaged, UserError) as error:
        log.warning("making the shards anew: %s", error)
        return None


def _make(cfg: DataConfig, input_hash: str, folder: Path, workers: int, progress: Progress) -> Shards:
    building = _building(folder)
    building.mkdir()
    try:
        facts = _build(cfg, building, workers, progress) | {"input": input_hash}
        if fingerprint(cfg, folder.parent, progress) != input_hash:
            raise UserError(f"data.source={cfg.source!r} changed while it was read: run again when it stays as it is")
        progress(0, None, "committing the shards")
        shards.commit(building, folder, facts=facts)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return Shards.open(folder)


def _build(cfg: DataConfig, building: Path, workers: int, progress: Progress) -> dict[str, Any]:
    """Write the files of the shards; returns the facts of their manifest."""
    characters = _characters(cfg, building.parent, progress)
    tally, survey = Tally(), Survey()
    training = survey.training_texts(_splitted(cfg, characters, tally, building.parent), cfg, tally, progress)
    fitted = tokenizer.train(cfg.tokenizer, _announcing(training, progress), cfg.seed)
    deque(training, maxlen=0)  # bytes need no training, but the survey must end
    fitted.save(building / "tokenizer")
    if not fitted.lossless:
        log.warning(
            "data.tokenizer.kind=%r does not keep all of a text: what a model writes lacks it too, and bits per byte "
            "count the bytes that were there; choose 'byte_bpe' or 'sentencepiece' for a model that writes",
            fitted.config.kind,
        )
    if str(tally):
        log.info("data.source=%r: left out or mended: %s", cfg.source, tally)
    names = Names()
    counts = _encode(
        lambda: _splitted(cfg, characters, Tally(), building.parent),
        fitted,
        building,
        workers=workers,
        characters=survey.characters,
        progress=progress,
        labelled=labelled(cfg.objective),
        names=names,
    )
    return {
        **({"parts": parts(cfg.objective)} if labelled(cfg.objective) else {}),
        **fitted.facts(),
        "tokenizer": fitted.digest,
        "data": _what_makes_shards(cfg),
        "splits": counts,
        "components": names.facts(),
        "skipped": dict(sorted(tally.skipped.items())),
        "replaced_characters": tally.replaced,
    }


def _encode(
    splitted: Callable[[], Iterator[tuple[str, Document]]], fitted: Tokenizer, building: Path, **how: Any
) -> dict[str, dict[str, int]]:
    """`encode`, the fast way where there is one, and anew the slow way where that one turns out to be wrong."""
    fast = tokenizer_fast.faster(fitted, (document.text for _, document in splitted()))
    if fast is not None:
        try:
            return encode(splitted(), fast, building, **how)
        except tokenizer_fast.Disagrees as why:
            log.warning("gigatoken %s: encoding anew without it", why)
    return encode(splitted(), fitted, building, **how)


def _characters(cfg: DataConfig, root: Path, progress: Progress) -> int | None:
    """The length of the corpus, where the split needs it."""
    if not isinstance(cfg.split, ContiguousSplit):
        return None
    progress(0, None, "measuring the source")
    return sum(len(document.text) for document in documents(cfg, exclude=root))


def _splitted(cfg: DataConfig, characters: int | None, tally: Tally, root: Path) -> Iterator[tuple[str, Document]]:
    found = documents(cfg, tally, exclude=root)
    if isinstance(cfg.split, ContiguousSplit):
        assert characters is not None
        return contiguous(found, cfg.split, characters)
    return by_hash(found, cfg.split)


def _announcing(training: Iterator[str], progress: Progress) -> Iterator[str]:
    yield from training
    progress(0, None, "training the tokenizer")


def _building(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.building")


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _remove_what_the_dead_left(folder: Path) -> None:
    """Half-built shards whose builder no longer holds its lock; `folder`'s lock is ours."""
    for building in folder.parent.glob(".*.building"):
        if building == _building(folder):
            shutil.rmtree(building)
            continue
        with locked(building.with_suffix(".lock"), _OPTION, wait=False) as free:
            if free:
                shutil.rmtree(building, ignore_errors=True)


def cores() -> int:
    """host.cores, without the module that starts jax."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
