"""Duplicates among the documents that passed everything before: the stages that look at all parts together.

    exact duplicates   equal documents go
    passages           paragraphs or lines that are equal to others are cut out of what is left
    near duplicates    documents that are alike go, judged as they are after cutting

Of each removal and cut the evidence is the document that stays. The result is a ledger a part, below one folder that
has the hash of what made it as its name, as that of every stage; each part is read and told by a task of its own. What
the passes wrote lies in a hidden folder beside it until the stage is done, so that a kill costs no pass that was over.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.config import dump
from jaxlm.corpus import cuts, ledger, libraries, stages, table, tasks
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.cuts import Cut
from jaxlm.corpus.duplicates import exact, near, passes
from jaxlm.corpus.duplicates.clusters import clusters
from jaxlm.corpus.duplicates.config import ExactConfig, NearConfig, PassagesConfig
from jaxlm.corpus.duplicates.part import Documents, Row, row_of
from jaxlm.corpus.executor import Executor
from jaxlm.corpus.ledger import Counts, Ledger, Removal
from jaxlm.corpus.tasks import Task

_TOLD = "told"  # the pass that writes ledgers


@dataclass(frozen=True)
class RemainingPart:
    """The documents of a part that are still there, as they are now; read in whatever process iterates."""

    documents: Path
    ledger: Ledger
    source: str
    priority: int

    def numbers(self) -> list[int]:
        """Their rows among all that were collected."""
        gone = self.ledger.gone()
        return [row for row in range(table.count(self.documents / stages.DOCUMENTS)) if row not in gone]

    def __iter__(self) -> Iterator[Row]:
        gone, cut = self.ledger.gone(), self.ledger.cuts()
        for row, document in enumerate(table.read_documents(self.documents / stages.DOCUMENTS)):
            if row not in gone:
                text = cuts.apply(document.text, [one for one, _ in cut.get(row, ())]).strip()
                yield Row(document.id, text, self.source, self.priority)


class Found(NamedTuple):
    removed: Counts  # documents, by the reason for which they go
    facts: dict[str, dict[str, Any]]  # of each kind of copy: what a datasheet shows


def remove(
    cfg: CorpusConfig,
    sources: Sequence[SourceConfig],
    collected: Sequence[Task],
    documents: Sequence[Path],
    ledgers: list[Ledger],
    work: Path,
    engine: Executor,
    progress: Progress,
) -> Found:
    """Add to the ledger of each part what goes and what is cut; how many documents go for which reason."""
    facts_of = {}
    asked = (
        ("exact duplicates", exact.find, exact_removals, cfg.duplicates.exact),
        ("passages", exact.find, passages_cut, cfg.duplicates.passages),
        ("near duplicates", near.find, near_removals, cfg.duplicates.near),
    )
    priorities, counts = [(source.name, source.priority) for source in sources], []
    by = libraries.versions(*libraries.NEAR)
    for name, find, tell, how in asked:
        if how is None:
            continue
        progress(0, None, name)
        parts = [
            RemainingPart(folder, decided, source.name, source.priority)
            for folder, decided, source in zip(documents, ledgers, sources, strict=True)
        ]
        made_of = [(task.key, decided.digest()) for task, decided in zip(collected, ledgers, strict=True)]
        key = tasks.key(stages.VERSIONS["duplicates"], name, dump(how), made_of, priorities, by)
        scratch = _scratch(work, name, how, made_of, priorities, by)
        tasks.remove_what_the_dead_left(scratch)
        task = Task("duplicates", key, _found, (scratch, find, tell, parts, how, engine), name)
        facts = tasks.do(work, task)
        shutil.rmtree(scratch, ignore_errors=True)
        counts.append(facts["removed"])
        facts_of[name] = {**facts, "removed": sum(facts["removed"].get("duplicates", {}).values())}
        for number, decided in enumerate(ledgers):
            ledgers[number] = Ledger((*decided.folders, _of(task.folder(work), number)))
    for left in (work / "duplicates").glob(".*.scratch"):  # of other configs, that were killed
        shutil.rmtree(left, ignore_errors=True)
    return Found(ledger.together(counts), facts_of)


def _scratch(work: Path, name: str, how: Any, *made_of: Any) -> Path:
    """Where passes write: it outlives a kill, and a run that the cap ended, so that one with another cap goes on."""
    passes_of = {field: value for field, value in dump(how).items() if field != "cap"}
    return work / "duplicates" / f".{tasks.key(stages.VERSIONS['duplicates'], name, passes_of, *made_of)}.scratch"


def _found(
    folder: Path,
    scratch: Path,
    find: Callable,
    tell: Callable[..., Counts],
    parts: Sequence[RemainingPart],
    how: Any,
    engine: Executor,
) -> dict:
    """A ledger for each part."""
    run = partial(tasks.run, engine=engine, progress=lambda done, total, what: None)
    found = find(parts, scratch, how, run)
    counts = run(passes.each(_TOLD, tell, [(n, part, found, how) for n, part in enumerate(parts)]), scratch)
    for number in range(len(parts)):
        own, there = _of(folder, number), passes.result(scratch, _TOLD, number)
        own.mkdir()
        for file in (ledger.GONE, ledger.CUTS):
            shutil.copyfile(there / file, own / file)
    return {"removed": ledger.together(counts), **(clusters(found) if isinstance(found, near.NearCopies) else {})}


def exact_removals(here: Path, number: int, part: RemainingPart, found: exact.Cuts, how: ExactConfig) -> Counts:
    gone_here, rows = found.of(number), part.numbers()
    kept = Documents(found.folder, found.parts).ids(gone_here["kept_place"])
    gone = {
        rows[row]: [Removal("duplicates", "exact duplicate", f"equal to {id_}")]
        for row, id_ in zip(row_of(gone_here["place"]).tolist(), kept, strict=True)
    }
    return ledger.write(here, gone)


def passages_cut(here: Path, number: int, part: RemainingPart, found: exact.Cuts, how: PassagesConfig) -> Counts:
    """A document of which too little is left goes, the rest stays without what is cut out."""
    cut_here = found.of(number)
    kept = Documents(found.folder, found.parts).ids(cut_here["kept_place"])
    equal = (
        f"equal to {id_}, characters {start} to {end}"
        for id_, start, end in zip(kept, cut_here["kept_start"].tolist(), cut_here["kept_end"].tolist(), strict=True)
    )
    places = row_of(cut_here["place"]).tolist()
    spans = zip(places, cut_here["start"].tolist(), cut_here["end"].tolist(), equal, strict=True)
    spans_of = {row: list(some) for row, some in itertools.groupby(spans, key=lambda span: span[0])}
    gone, cut = {}, {}
    for index, (row, document) in enumerate(zip(part.numbers(), part, strict=True)):
        if index not in spans_of:
            continue
        wide = cuts.with_gaps(document.text, [Cut(start, end) for _, start, end, _ in spans_of[index]])
        evidence = [one[-1] for one in spans_of[index]]
        left = len(cuts.apply(document.text, wide).strip())
        if left < how.left:
            why = f"{left} of {len(document.text)} are left; the first {how.unit} that goes is {evidence[0]}"
            gone[row] = [Removal("duplicates", f"under {how.left} characters left", why)]
        else:
            why = [Removal("duplicates", f"repeated {how.unit}", one) for one in evidence]
            cut[row] = list(zip(wide, why, strict=True))
    return ledger.write(here, gone, cut)


def near_removals(here: Path, number: int, part: RemainingPart, found: near.NearCopies, how: NearConfig) -> Counts:
    rows, places = part.numbers(), row_of(found.of(number)["place"]).tolist()
    gone = {
        rows[row]: [Removal("duplicates", "near duplicate", f"Jaccard {one.jaccard:.3f} with {one.kept_id}")]
        for row, one in zip(places, found.evidence(number), strict=True)
    }
    return ledger.write(here, gone)


def _of(folder: Path, number: int) -> Path:
    return folder / f"{number:06}"
