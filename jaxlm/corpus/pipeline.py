"""From dirty text to a documented corpus: plan, collect, annotate, select, remove duplicates, find leaks, write.

    corpora/NAME/         the finished corpus (corpus/finished.py)
    corpora/NAME/work/    each stage's results by the hash of what made them

Parts are files in the order of their names, cut by size, or slices of a large one, so nothing depends on how many
workers there are. A changed threshold finds everything up to `annotate` again. Two runs on one folder wait for each
other.

Left out: tokenising (corpus/prepare.py reads `documents/`).
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from jaxlm.config import dump
from jaxlm.corpus import copies, leaks, ledger, left_out, libraries, scores, stages, summary, tasks, tokens, word_lists
from jaxlm.corpus.budget import Budget
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.disk import clear_errors
from jaxlm.corpus.document import SHOWN, Tally
from jaxlm.corpus.executor import Executor, executor
from jaxlm.corpus.finished import Corpus, beside, commit
from jaxlm.corpus.language_fasttext import digest as digest_of_model
from jaxlm.corpus.ledger import Ledger
from jaxlm.corpus.lock import locked
from jaxlm.corpus.plan import Part, plan
from jaxlm.corpus.profile import add
from jaxlm.corpus.scores import Scorer
from jaxlm.corpus.tasks import Task
from jaxlm.corpus.word_lists import Listed
from jaxlm.errors import UserError


def make(
    cfg: CorpusConfig,
    root: Path,
    *,
    workers: int = 1,
    cluster: str | None = None,
    scorers: Mapping[str, Scorer] | None = None,
    progress: Progress | None = None,
    sample_of: Path | None = None,
) -> Corpus:
    """The corpus of `cfg` in `root`/NAME; what is there already is not made again.

    `workers` are processes of this machine, unless `cluster` is the address of a Dask scheduler; "local" makes one of
    them. `scorers` has a model for the name of each of the config's `scores`. UserError where the input or the config
    is wrong, where too many records are bad, where a source would lose too much to duplicates, or where nothing stays.
    With `sample_of`, the folder that the corpus would have, it is made of a sample of the sources (corpus/sample.py).
    """
    scorers = scorers or {}
    scores.require(cfg.scores, scorers)
    folder, progress = (root / cfg.name).absolute(), progress or (lambda done, total, what: None)
    with clear_errors(folder, "the corpus", "what is done is kept"):
        (folder / "work").mkdir(parents=True, exist_ok=True)
        lock = locked(folder / "work" / ".lock", "--corpora-dir")
        with lock, closing(executor(workers, cluster, libraries.of(cfg))) as engine:
            tasks.remove_what_the_dead_left(folder / "work")
            return _make(cfg, folder, engine, scorers, progress, sample_of)


def _make(
    cfg: CorpusConfig,
    folder: Path,
    engine: Executor,
    scorers: Mapping[str, Scorer],
    progress: Progress,
    sample_of: Path | None,
) -> Corpus:
    work, identify = folder / "work", _identify(cfg)  # first of all: its model may be no model
    run = partial(tasks.run, work=work, engine=engine, progress=progress)
    planned = plan(cfg, folder, run, progress, sample_of=sample_of)
    tokens.check(cfg.tokenizer)  # before hours of work, as sets: they may be wrong
    leaks.index_sets(cfg, work, engine, progress)
    reading = [_collect(part, cfg, sampled=sample_of is not None) for part in planned.parts]
    budget = Budget(cfg.bad_records, len({task.key for task in reading}))
    collected = run(reading, look=budget.read)
    lost = [task.folder(work) / left_out.NAME for task in reading]
    _check_records(collected, lost, cfg)
    parts, collecting, documents = _pieces(planned.parts, reading, collected, work)
    lists = word_lists.load(cfg.words)
    annotating = [_annotate(task, documents[n], (identify, lists), cfg) for n, task in enumerate(collecting)]
    annotated = run(annotating)
    notes = [task.folder(work) for task in annotating]
    selecting = [_select(task, notes[n], cfg) for n, task in enumerate(annotating)]
    removed = [facts["removed"] for facts in run(selecting)]
    ledgers = [Ledger((task.folder(work),)) for task in selecting]  # each stage from here on adds a folder to each
    scoring = [scores.ScoredPart(part.name, collecting[n].key, documents[n], notes[n]) for n, part in enumerate(parts)]
    scored = scores.remove(cfg.scores, scorers, scoring, ledgers, run, work)
    sources = [part.source for part in parts]
    copied = copies.remove(cfg, sources, collecting, documents, ledgers, work, engine, progress)
    leaked = leaks.find(cfg, collecting, documents, ledgers, work, engine, progress)
    removed += [scored.removed, copied.removed, leaked.removed if leaked else {}]
    writing = [_write(annotating[n], documents[n], notes[n], ledgers[n], cfg) for n in range(len(parts))]
    written, results = run(writing), [task.folder(work) for task in writing]
    facts = {
        "collect": _summed(collected, planned.tally), "annotate": {
            name: tasks.together(annotated, name) for name in ("languages", "personal")
        },
        "scores": scored.facts, "removed": ledger.together(removed),
        "cut": ledger.together(facts["cut"] for facts in written), "write": tasks.together(written, "counts"),
        **({"contamination": leaked.facts} if leaked else {}),
        **({"tokens": tokens.found(cfg.tokenizer, writing, run, work)} if cfg.tokenizer else {}),
    }  # fmt: skip
    read = [_read(part, counts) for part, counts in zip(planned.parts, collected, strict=True)]
    pieces = [_piece(part, annotated[n], written[n], notes[n], results[n]) for n, part in enumerate(parts)]
    told = summary.summarise(cfg, read, pieces, copied.facts, scored.facts, planned.files if sample_of else None)
    if sample_of is None and (why := summary.nothing_left(cfg.name, told)):
        raise UserError(f"{why}. Nothing was written")
    inputs = [_input(part, notes[n], scored.folders[n], folder) for n, part in enumerate(parts)]
    left_out.join(planned.left_out, lost, beside(folder, left_out.NAME))
    for name, some in left_out.lost(beside(folder, left_out.NAME)).items():
        told["sources"][name]["left_out"] = some
    return commit(cfg, folder, results, leaked.folder if leaked else None, inputs, facts, told)


def _read(part: Part, facts: Mapping[str, Any]) -> summary.Read:
    begun = sum(file.slice.begin == 0 for file in part.files)  # a file in slices is one
    return summary.Read(part.source.name, begun, facts["counts"])


def _piece(part: Part, annotated: dict, written: dict, notes: Path, result: Path) -> summary.Piece:
    files = (notes / stages.PROFILE, result / stages.ACCOUNT, result / stages.DOCUMENTS)
    return summary.Piece(part.source.name, annotated, written, *files)


def _input(part: Part, notes: Path, scores_of: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    return {
        "source": part.source.name, "files": [file.name for file in part.files],
        "from_byte": part.files[0].slice.begin, "digest": part.digest,
        "notes": notes.relative_to(folder).as_posix(),
        "scores": {name: path.relative_to(folder).as_posix() for name, path in scores_of.items()},
    }  # fmt: skip


def _collect(part: Part, cfg: CorpusConfig, *, sampled: bool) -> Task:
    source = dump(part.source) | {"path": "", "priority": 0, "include": ()}  # where it lies makes no difference
    how = dump(cfg.normalise), cfg.lines and dump(cfg.lines), cfg.part_bytes
    by = libraries.versions(*libraries.collecting(part.source, cfg))
    key = tasks.key(stages.VERSIONS["collect"], by, part.digest, source, *how)
    digest = None if sampled else part.digest
    return Task("collect", key, stages.collect, (part.files, digest, part.source, cfg), part.name)


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


def _identify(cfg: CorpusConfig) -> dict[str, Any]:
    """What decides languages: of a model its bytes, wherever it lies. UserError where it is none."""
    asked = cfg.languages.identify
    told = dump(asked)
    return told if asked.fasttext is None else told | {"fasttext": digest_of_model(asked.fasttext)}


def _annotate(
    collecting: Task, documents: Path, read: tuple[dict[str, Any], Sequence[Listed]], cfg: CorpusConfig
) -> Task:
    identify, lists = read
    asked = (cfg.personal and list(cfg.personal.kinds), stages.asks_bigscience(cfg), lists)
    by = libraries.versions(*libraries.annotating(cfg))
    key = tasks.key(stages.VERSIONS["annotate"], by, collecting.key, identify, *asked)
    return Task("annotate", key, stages.annotate, (documents, lists, cfg), collecting.name)


def _select(annotating: Task, notes: Path, cfg: CorpusConfig) -> Task:
    drop = cfg.personal is not None and cfg.personal.mode == "drop"
    rules = [dump(quality) for quality in cfg.quality]
    key = tasks.key(stages.VERSIONS["select"], annotating.key, dump(cfg.languages), rules, drop)
    return Task("select", key, stages.select, (notes, cfg), annotating.name)


def _summed(collected: Sequence[dict], planned: Tally) -> dict[str, Any]:
    """Counts of the stage that reads, over all parts."""
    names = ("counts", "skipped", "changed", "lines")
    found: dict[str, Any] = {name: tasks.together(collected, name) for name in names}
    add(found["skipped"], planned.skipped)
    found["bad"] = sum(one["bad"] for one in collected)
    found["replaced_characters"] = sum(one["replaced"] for one in collected)
    return found


def _check_records(collected: Sequence[dict], lost: Sequence[Path], cfg: CorpusConfig) -> None:
    """UserError where more records are bad than the config bears, or where there is no text at all."""
    tally = Tally(budget=cfg.bad_records)
    tally.bad_records = sum(one["bad"] for one in collected)
    tally.bad_shown = [shown for one in collected for shown in one["bad_shown"]][:SHOWN]
    records = sum(one["counts"]["records"] for one in collected)
    tally.check(records + tally.bad_records)
    if not sum(one["counts"]["documents"] for one in collected):
        skipped = tasks.together(collected, "skipped")
        why = "; ".join(f"{count:,} {reason}" for reason, count in skipped.items()) or "the files are empty"
        shown = "".join(f"\n  {line}" for line in left_out.first(lost, SHOWN))
        raise UserError(
            f"the sources of {cfg.name!r} hold no text: {why}: name other files{shown and '; the first are'}{shown}"
        )


def _write(annotating: Task, documents: Path, notes: Path, told: Ledger, cfg: CorpusConfig) -> Task:
    personal = cfg.personal and dump(cfg.personal)
    by = libraries.versions(*libraries.WRITING)
    key = tasks.key(stages.VERSIONS["write"], by, annotating.key, told.digest(), personal)
    return Task("write", key, stages.write, (documents, notes, told, cfg), annotating.name)
