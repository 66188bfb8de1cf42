"""Duplicates among the documents that passed everything before: the stage that looks at all parts together.

Equal documents go first, then near ones (corpus/duplicates/); of each removal the evidence is the document that stays,
and how alike the two are. The result is kept by the hash of what made it, as that of every stage.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.config import dump
from jaxlm.corpus import stages, table, tasks
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.duplicates import exact, near
from jaxlm.corpus.duplicates.part import Documents, Row, part_of, row_of
from jaxlm.corpus.executor import Executor
from jaxlm.corpus.stages import Removal
from jaxlm.corpus.tasks import Task
from jaxlm.hashing import write_atomically

_FOUND = "found.json"


class Part(NamedTuple):
    """The documents of a part that are still there, read in whatever process asks for them."""

    documents: Path
    gone: frozenset[str]  # rows
    source: str
    priority: int

    def rows(self) -> Iterator[tuple[str, Row]]:
        for number, document in enumerate(table.read_documents(self.documents / stages.DOCUMENTS)):
            if str(number) not in self.gone:
                yield str(number), Row(document.id, document.text, self.source, self.priority)


class Rows:
    """What `find` iterates: the rows of a part without their numbers."""

    def __init__(self, part: Part):
        self._part = part

    def __iter__(self) -> Iterator[Row]:
        return (row for _, row in self._part.rows())


def remove(
    cfg: CorpusConfig,
    sources: Sequence[SourceConfig],
    collected: Sequence[Task],
    documents: Sequence[Path],
    removals: Sequence[dict[str, list[Removal]]],
    work: Path,
    engine: Executor,
    progress: Progress,
) -> None:
    """Add to `removals`, of each part, the copies among the documents that it leaves."""
    asked = (
        ("exact duplicates", exact_pairs, cfg.duplicates.exact),
        ("near duplicates", near_pairs, cfg.duplicates.near),
    )
    for name, find, how in asked:
        if how is None:
            continue
        progress(0, None, name)
        parts = [
            Part(folder, frozenset(gone), source.name, source.priority)
            for folder, gone, source in zip(documents, removals, sources, strict=True)
        ]
        priorities = [(source.name, source.priority) for source in sources]
        made_of = [(task.key, sorted(gone)) for task, gone in zip(collected, removals, strict=True)]
        key = tasks.key(stages.VERSIONS["duplicates"], name, dump(how), made_of, priorities)
        task = Task("duplicates", key, _found, (find, parts, how, engine), name)
        tasks.do(work, task)
        for number, row, evidence in json.loads((task.folder(work) / _FOUND).read_bytes()):
            removals[number].setdefault(row, []).append(Removal("duplicates", name[:-1], evidence))


Pairs = Iterable[tuple[int, int, str]]  # (part, row among those that were left, evidence)


def _found(folder: Path, find: Callable[..., Pairs], parts: Sequence[Part], how: Any, engine: Executor) -> dict:
    """found.json: [part, row, evidence] of each document that goes."""
    scratch = folder / "scratch"
    scratch.mkdir()
    numbers: dict[int, list[str]] = {}
    rows = []
    for part, row, evidence in find(parts, scratch, how, engine):
        if part not in numbers:
            numbers[part] = [number for number, _ in parts[part].rows()]
        rows.append((part, numbers[part][row], evidence))
    shutil.rmtree(scratch)
    write_atomically(folder / _FOUND, json.dumps(rows).encode())
    return {"removed": len(rows)}


def exact_pairs(parts: Sequence[Part], scratch: Path, how: Any, engine: Executor) -> Pairs:
    cuts = exact.find([Rows(part) for part in parts], scratch, how, mapped(engine))
    places, kept = cuts.table["place"], Documents(scratch, len(parts)).ids(cuts.table["kept_place"])
    evidence = (f"equal to {id_}" for id_ in kept)
    return zip(part_of(places).tolist(), row_of(places).tolist(), evidence, strict=True)


def near_pairs(parts: Sequence[Part], scratch: Path, how: Any, engine: Executor) -> Pairs:
    removals = near.find([Rows(part) for part in parts], scratch, how, mapped(engine))
    places = removals.table["place"]
    evidence = (f"Jaccard {one.jaccard:.3f} with {one.kept_id}" for one in removals.evidence())
    return zip(part_of(places).tolist(), row_of(places).tolist(), evidence, strict=True)


def mapped(engine: Executor) -> Callable[..., Iterator[Any]]:
    """`map` on an engine: results in order. Calls whose worker dies are made again, as `tasks.run` does."""

    def run(function: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        calls = list(zip(*arguments, strict=False))
        results: dict[int, Any] = {}
        tasks.until_done(list(range(len(calls))), engine, lambda n: (function, *calls[n]), results, str)
        return iter([results[n] for n in range(len(calls))])

    return run
