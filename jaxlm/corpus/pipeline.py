"""From dirty text to a documented corpus: plan, collect, annotate, select, remove duplicates, find leaks, write.

    corpora/NAME/documents/00000.parquet ...   what stays: id, text, source, language, url, date, licence, title
    corpora/NAME/removed/00000.parquet ...     what went: stage, reason, evidence, the beginning of its text
    corpora/NAME/cut/00000.parquet ...         what was cut out of those that stay: the same, and its place
    corpora/NAME/contamination/                report.json, leaks.parquet: what of the evaluation sets was found where
    corpora/NAME/manifest.json                 sealed: config, inputs, counts of each stage and reason, hashes
    corpora/NAME/work/                         each stage's results by the hash of what made them

Parts are files in the order of their names, cut by size, or slices of a large one, so nothing depends on how many
workers there are. A changed threshold finds everything up to `annotate` again. Two runs on one folder wait for each
other.

Left out: tokenising (corpus/prepare.py reads `documents/`).
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jaxlm
from jaxlm import hashing
from jaxlm.config import dump
from jaxlm.corpus import copies, leaks, ledger, remote, scores, slices, stages, tasks, word_lists
from jaxlm.corpus.collect import STDLIB, Progress, source_files
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.contamination import report
from jaxlm.corpus.disk import clear_errors
from jaxlm.corpus.document import SHOWN, Tally
from jaxlm.corpus.executor import Executor, executor
from jaxlm.corpus.files import WHOLE, File, Slice, inside
from jaxlm.corpus.ledger import Ledger
from jaxlm.corpus.lock import locked
from jaxlm.corpus.scores import Scorer
from jaxlm.corpus.tasks import Task
from jaxlm.corpus.word_lists import Listed
from jaxlm.errors import UserError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
FOLDERS = {"documents": stages.DOCUMENTS, "removed": stages.REMOVED, "cut": stages.CUT}  # and what a part writes


class Part(NamedTuple):
    """Files of one source, or a slice of one, that are read in one task."""

    source: SourceConfig
    files: list[File]
    digest: str  # of their names and bytes

    @property
    def name(self) -> str:
        first = self.files[0]
        place = "" if first.slice == WHOLE else f" from byte {first.slice.begin:,}"
        return f"{self.source.name}/{first.name}{place}" + (" ..." if len(self.files) > 1 else "")


class Corpus(NamedTuple):
    """A finished one."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def documents(self) -> Path:
        return self.folder / "documents"

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Damaged where the manifest is not what was written, UserError where there is none."""
        try:
            sealed = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise UserError(
                f"{folder} has no {MANIFEST} ({error.strerror}): a corpus is a folder made by `jaxlm prepare`"
            ) from None
        manifest = hashing.unseal(sealed, str(folder / MANIFEST))
        if manifest.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{folder}: format_version={manifest.get('format_version')}, this jaxlm reads {FORMAT_VERSION}: run "
                f"`jaxlm prepare` again"
            )
        return cls(folder, manifest)


def make(
    cfg: CorpusConfig,
    root: Path,
    *,
    workers: int = 1,
    cluster: str | None = None,
    scorers: Mapping[str, Scorer] | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus of `cfg` in `root`/NAME; what is there already is not made again.

    `workers` are processes of this machine, unless `cluster` is the address of a Dask scheduler. `scorers` has a model
    for the name of each of the config's `scores`. UserError where the
    input or the config is wrong, where too many records are bad, or where a source would lose too much to duplicates.
    """
    scorers = scorers or {}
    scores.require(cfg.scores, scorers)
    folder, progress = (root / cfg.name).absolute(), progress or (lambda done, total, what: None)
    with clear_errors(folder, "the corpus", "what is done is kept"):
        (folder / "work").mkdir(parents=True, exist_ok=True)
        with locked(folder / "work" / ".lock"), closing(executor(workers, cluster)) as engine:
            tasks.remove_what_the_dead_left(folder / "work")
            return _make(cfg, folder, engine, scorers, progress)


def _make(
    cfg: CorpusConfig, folder: Path, engine: Executor, scorers: Mapping[str, Scorer], progress: Progress
) -> Corpus:
    work = folder / "work"
    run = partial(tasks.run, work=work, engine=engine, progress=progress)
    parts, left_out = plan(cfg, folder, run, progress)
    leaks.index_sets(cfg, work, engine, progress)  # before hours of work: it is where a set may be wrong
    reading = [_collect(part, cfg) for part in parts]
    collected = run(reading)
    _check_records(collected, cfg)
    parts, collecting, documents = _pieces(parts, reading, collected, work)
    lists = word_lists.load(cfg.words)
    annotating = [_annotate(task, documents[n], lists, cfg) for n, task in enumerate(collecting)]
    annotated = run(annotating)
    notes = [task.folder(work) for task in annotating]
    selecting = [_select(task, notes[n], cfg) for n, task in enumerate(annotating)]
    removed = [facts["removed"] for facts in run(selecting)]
    ledgers = [Ledger((task.folder(work),)) for task in selecting]
    scoring = [scores.Part(part.name, collecting[n].key, documents[n], notes[n]) for n, part in enumerate(parts)]
    scored = scores.remove(cfg.scores, scorers, scoring, ledgers, run, work)
    removed.append(scored.removed)
    sources = [part.source for part in parts]
    removed.append(copies.remove(cfg, sources, collecting, documents, ledgers, work, engine, progress))
    found = leaks.find(cfg, collecting, documents, ledgers, work, engine, progress)
    removed += [] if found is None else [found.removed]
    writing = [_write(annotating[n], documents[n], notes[n], ledgers[n], cfg) for n in range(len(parts))]
    written = run(writing)
    facts = {
        "collect": _summed(collected, left_out), "annotate": {
            name: tasks.together(annotated, name) for name in ("languages", "personal")
        },
        "scores": scored.facts, "removed": ledger.together(removed),
        "cut": ledger.together(facts["cut"] for facts in written), "write": tasks.together(written, "counts"),
    }  # fmt: skip
    facts |= {} if found is None else {"contamination": found.facts}
    inputs = [
        {
            "source": part.source.name, "files": [file.name for file in part.files],
            "from_byte": part.files[0].slice.begin, "digest": part.digest,
            "notes": f"work/annotate/{task.key}",
            "scores": {name: path.relative_to(folder).as_posix() for name, path in scores_of.items()},
        }
        for part, task, scores_of in zip(parts, annotating, scored.folders, strict=True)
    ]  # fmt: skip
    return _commit(cfg, folder, [task.folder(work) for task in writing], inputs, facts, found and found.folder)


def plan(
    cfg: CorpusConfig, folder: Path, run: Callable[[list[Task]], list[dict]], progress: Progress
) -> tuple[list[Part], Tally]:
    """The parts of every source, in order; and what the sources hold that is no text file."""
    parts, tally = [], Tally()
    for source in cfg.sources:
        try:
            path, outside = source.path, folder
            if remote.is_remote(path):
                path, outside = str(remote.local(path, source.include, folder / "work" / "fetched", progress)), None
            files = source_files(path, source.include, tally, outside)
            files = inside(files, Path(path).expanduser(), tally) if path != STDLIB else files
        except UserError as error:
            raise UserError(f"source {source.name!r}: {error}") from None
        if not files:
            only = f" that fits include={list(source.include)}" if source.include else ""
            why = f" ({tally})" if str(tally) else ""
            raise UserError(f"source {source.name!r}: path={source.path!r} holds no file{only}{why}: name another one")
        for some in _cut(files, cfg.part_bytes):
            parts.append(Part(source, some, slices.digest(some)))
            progress(len(parts), None, "hashing parts")
    return _sliced(parts, cfg, run), tally


def _sliced(parts: list[Part], cfg: CorpusConfig, run: Callable[[list[Task]], list[dict]]) -> list[Part]:
    """Parts of a large file in slices, the others as they are."""
    large = [part for part in parts if part.files[0].size > cfg.part_bytes and slices.starts_of(part.files[0])]
    found = dict(zip((part.digest for part in large), run([_cutting(part, cfg) for part in large]), strict=True))
    cut = []
    for part in parts:
        facts = found.get(part.digest, {"slices": [WHOLE], "digests": [part.digest]})
        if len(facts["slices"]) == 1:
            cut.append(part)
            continue
        for place, digest in zip(facts["slices"], facts["digests"], strict=True):
            cut.append(Part(part.source, [part.files[0]._replace(slice=Slice(*place))], digest))
    return cut


def _cutting(part: Part, cfg: CorpusConfig) -> Task:
    key = tasks.key(slices.VERSION, part.digest, cfg.part_bytes)
    return Task("cut", key, slices.find, (part.files[0], cfg.part_bytes, part.digest), part.name)


def _cut(files: Sequence[File], most: int) -> Iterator[list[File]]:
    some: list[File] = []
    size = 0
    for file in files:
        if some and size + file.size > most:
            yield some
            some, size = [], 0
        some.append(file._replace(path=file.path.absolute()))  # a cluster's workers stand in other folders
        size += file.size
    yield some


def _collect(part: Part, cfg: CorpusConfig) -> Task:
    source = dump(part.source) | {"path": "", "priority": 0, "include": ()}  # where it lies makes no difference
    how = dump(cfg.normalise), cfg.lines and dump(cfg.lines), cfg.part_bytes
    key = tasks.key(stages.VERSIONS["collect"], part.digest, source, *how)
    return Task("collect", key, stages.collect, (part.files, part.digest, part.source, cfg), part.name)


def _pieces(
    parts: Sequence[Part], reading: Sequence[Task], collected: Sequence[dict], work: Path
) -> tuple[list[Part], list[Task], list[Path]]:
    """(part, task with the key of the piece, folder of documents) for each piece that was collected."""
    found = [
        (part, task._replace(key=tasks.key(task.key, number)), stages.piece(task.folder(work), number))
        for part, task, facts in zip(parts, reading, collected, strict=True)
        for number in range(facts["pieces"])
    ]
    return [part for part, _, _ in found], [task for _, task, _ in found], [folder for _, _, folder in found]


def _annotate(collecting: Task, documents: Path, lists: Sequence[Listed], cfg: CorpusConfig) -> Task:
    asked = (cfg.personal and list(cfg.personal.kinds), stages.asks_bigscience(cfg), lists)
    key = tasks.key(stages.VERSIONS["annotate"], collecting.key, dump(cfg.languages.identify), *asked)
    return Task("annotate", key, stages.annotate, (documents, lists, cfg), collecting.name)


def _select(annotating: Task, notes: Path, cfg: CorpusConfig) -> Task:
    drop = cfg.personal is not None and cfg.personal.mode == "drop"
    rules = [dump(quality) for quality in cfg.quality]
    key = tasks.key(stages.VERSIONS["select"], annotating.key, dump(cfg.languages), rules, drop)
    return Task("select", key, stages.select, (notes, cfg), annotating.name)


def _summed(collected: Sequence[dict], left_out: Tally) -> dict[str, Any]:
    """Counts of the stage that reads, over all parts."""
    names = ("counts", "skipped", "changed", "lines")
    found: dict[str, Any] = {name: tasks.together(collected, name) for name in names}
    for reason, count in left_out.skipped.items():
        found["skipped"][reason] = found["skipped"].get(reason, 0) + count
    found["bad"] = sum(one["bad"] for one in collected)
    found["replaced_characters"] = sum(one["replaced"] for one in collected)
    return found


def _check_records(collected: Sequence[dict], cfg: CorpusConfig) -> None:
    """UserError where more records are bad than the config bears, or where there is no text at all."""
    tally = Tally(budget=cfg.bad_records)
    tally.bad_records = sum(one["bad"] for one in collected)
    tally.bad_shown = [shown for one in collected for shown in one["bad_shown"]][:SHOWN]
    records = sum(one["counts"]["records"] for one in collected)
    tally.check(records + tally.bad_records)
    if not sum(one["counts"]["documents"] for one in collected):
        skipped = tasks.together(collected, "skipped")
        why = "; ".join(f"{count:,} {reason}" for reason, count in skipped.items()) or "the files are empty"
        raise UserError(f"the sources of {cfg.name!r} hold no text: {why}: name other files")


def _write(annotating: Task, documents: Path, notes: Path, told: Ledger, cfg: CorpusConfig) -> Task:
    personal = cfg.personal and dump(cfg.personal)
    key = tasks.key(stages.VERSIONS["write"], annotating.key, told.digest(), personal)
    return Task("write", key, stages.write, (documents, notes, told, cfg), annotating.name)


def _commit(
    cfg: CorpusConfig, folder: Path, written: Sequence[Path], inputs: list[dict], facts: dict, leaked: Path | None
) -> Corpus:
    """Put the parts in their places and the manifest last: without it, or with another, there is no corpus."""
    made = {
        name: {f"{number:05}.parquet": part / file for number, part in enumerate(written)}
        for name, file in FOLDERS.items()
    }
    if leaked is not None:
        made["contamination"] = {name: leaked / name for name in (report.LEAKS, report.REPORT)}
    for name, parts in made.items():
        beside = folder / f".{name}.building"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for file, path in parts.items():
            shutil.copyfile(path, beside / file)
    files = {
        f"{name}/{file}": found
        for name in made
        for file, found in hashing.hash_folder(folder / f".{name}.building").items()
    }
    manifest = {
        "format_version": FORMAT_VERSION,
        "jaxlm": jaxlm.__version__,
        "config": dump(cfg),
        "inputs": inputs,
        "stages": facts,
        "files": files,
        "digest": tasks.key(files),
    }
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder / "contamination", ignore_errors=True)  # of a run that looked for leaks
    for name in made:
        shutil.rmtree(folder / name, ignore_errors=True)
        os.rename(folder / f".{name}.building", folder / name)
    hashing.write_atomically(folder / MANIFEST, hashing.seal(manifest))
    return Corpus(folder, manifest)
