"""Evaluation sets in the corpus: the stage that indexes them, searches every part, and tells what leaked.

index       the n-grams of all sets; one task
search      of each part where they stand; made again only where the sets or the part are others
common      how many of the documents that are left hold each n-gram; one task
judge       of each part which documents hold enough of which items
report      for all; one task
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.config import dump
from jaxlm.corpus import ledger, libraries, slices, tasks
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.contamination import index, judge, report, search
from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.contamination.items import files
from jaxlm.corpus.executor import Executor
from jaxlm.corpus.files import File
from jaxlm.corpus.ledger import Counts, Ledger
from jaxlm.corpus.tasks import Task

VERSION = 4  # of the results of this stage


class Leaks(NamedTuple):
    facts: dict[str, Any]  # {set: counts}
    folder: Path  # with what contamination/report.py writes
    removed: Counts  # documents, for what reason


def find(
    cfg: CorpusConfig,
    collected: Sequence[Task],
    documents: Sequence[Path],
    ledgers: list[Ledger],
    work: Path,
    engine: Executor,
    progress: Progress,
) -> Leaks | None:
    """What of the sets is in what `ledgers` leave of the documents; what goes or is cut for it is added to them.

    None where no set is asked for.
    """
    asked, indexed = cfg.contamination, index_sets(cfg, work, engine, progress)
    if asked is None or indexed is None:
        return None
    run = partial(tasks.run, work=work, engine=engine, progress=progress)
    indexing, told = indexed
    at = indexing.folder(work)
    searching = [_task("search", (indexing.key, task.key), search.search, (folder, at), task.name)
                 for task, folder in zip(collected, documents, strict=True)]  # fmt: skip
    run(searching)
    matches = [task.folder(work) for task in searching]
    told_of = [one.digest() for one in ledgers]
    key = ([task.key for task in searching], told_of, asked.common)
    left = list(zip(matches, ledgers, strict=True))
    counting = _task("common", key, judge.common, (left, at, asked.common), "all parts")
    run([counting])
    personal = cfg.personal.kinds if cfg.personal is not None else ()
    how = (asked.share, asked.mode, asked.around, asked.left, list(personal))
    judging = [
        _task("judge", (counting.key, task.key, digest, how), judge.judge,
              (folder, found, one, counting.folder(work), at, asked, personal), task.name)
        for task, folder, (found, one), digest in zip(searching, documents, left, told_of, strict=True)
    ]  # fmt: skip
    removed = ledger.together(facts["removed"] for facts in run(judging))
    findings = [task.folder(work) for task in judging]
    telling = _task(
        "report", ([task.key for task in judging],), report.report, (findings, at, told["sets"]), "all parts"
    )
    (facts,) = run([telling])
    for number, folder in enumerate(findings):
        ledgers[number] = Ledger((*ledgers[number].folders, folder))
    return Leaks(facts, telling.folder(work), removed)


def index_sets(
    cfg: CorpusConfig, work: Path, engine: Executor, progress: Progress
) -> tuple[Task, dict[str, Any]] | None:
    """The task that made the index, and its facts. UserError where a set is wrong."""
    if cfg.contamination is None:
        return None
    indexing = _index(cfg.contamination)
    (facts,) = tasks.run([indexing], work, engine, progress)
    return indexing, facts


def _task(name: str, made_of: tuple, function: Any, arguments: tuple, of: str) -> Task:
    return Task("contamination", tasks.key(VERSION, name, made_of), function, arguments, f"contamination of {of}")


def _index(cfg: ContaminationConfig) -> Task:
    read = [(one, files(one)) for one in cfg.sets]
    digests = [slices.digest(found) for _, found in read]
    told = [(dump(one) | {"path": ""}, digest) for (one, _), digest in zip(read, digests, strict=True)]
    by = libraries.versions("python")  # its tables of Unicode say what a word is
    key = (told, cfg.words, cfg.characters, cfg.shortest, by)
    return _task("index", key, _index_unchanged, (read, digests, cfg), "evaluation sets")


def _index_unchanged(
    folder: Path, sets: Sequence[tuple[EvaluationSet, Sequence[File]]], digests: Sequence[str], cfg: ContaminationConfig
) -> dict:
    """`index.index`; UserError where the files of a set are no longer what its digest named."""
    with ExitStack() as stack:
        for (_, read), digest in zip(sets, digests, strict=True):
            stack.enter_context(slices.unchanged(read, digest))
        return index.index(folder, sets, cfg)
    raise AssertionError("no context swallows an error")
