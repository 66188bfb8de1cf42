"""Scores of documents by models: asked for once and noted; which documents go for them is compared later.

    work/score/KEY/scores.parquet    of a part: a row for each document, null where its language is not asked for
    work/score/KEY/gone.parquet      of a part: the documents whose score is out of bounds

No model is known here. Whoever makes a corpus hands in a scorer for each score of the config, and `scorers.py` makes
them from runs. A score is kept by the hash of the text and of its scorer, so another bound asks no model again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from jaxlm.config import dump
from jaxlm.corpus import ledger, libraries, stages, table, tasks
from jaxlm.corpus.ledger import Counts, Ledger, Removal
from jaxlm.corpus.score_config import ScoreConfig
from jaxlm.corpus.tasks import Task
from jaxlm.errors import UserError

VERSION = 1  # of `score`: another finds no old results
SCORES = "scores.parquet"
_TEXTS = 256  # given to a scorer at once: chosen, some MB
_COLUMNS = table.schema(id="string", score="double")


@runtime_checkable
class Scorer(Protocol):
    """A model: a number for each text, whatever other texts come with it. It can be pickled, and opens itself late."""

    @property
    def digest(self) -> str: ...  # where it is the same, scores are

    def __call__(self, texts: Sequence[str]) -> Sequence[float]: ...


class ScoredPart(NamedTuple):
    """Where the stages before left a part."""

    name: str
    key: str  # of what collected it
    documents: Path
    notes: Path  # named by its key


class Found(NamedTuple):
    facts: dict[str, dict[str, Any]]  # of each score: how many, and how they spread
    folders: list[dict[str, Path]]  # of each part: {score: where it is noted}
    removed: Counts


def require(scores: Sequence[ScoreConfig], scorers: Mapping[str, Scorer]) -> None:
    """UserError where a score has no scorer."""
    if missing := [score.name for score in scores if score.name not in scorers]:
        raise UserError(
            f"score {missing[0]!r} has no scorer: `jaxlm prepare` makes those of runs, a program gives them to "
            f"make(..., scorers={{{missing[0]!r}: ...}})"
        )


def remove(
    scores: Sequence[ScoreConfig],
    scorers: Mapping[str, Scorer],
    parts: Sequence[ScoredPart],
    ledgers: list[Ledger],
    run: Callable[[Sequence[Task]], list[dict]],
    work: Path,
) -> Found:
    """Score what is not scored yet; add to the ledger of each part the documents whose score is out of bounds."""
    facts, folders, removed = {}, [{} for _ in parts], []
    asked = [[_scoring(score, scorers[score.name], part) for part in parts] for score in scores]
    run(list(chain.from_iterable(asked)))
    for score, scoring in zip(scores, asked, strict=True):
        judging = [_judging(score, task, work) for task in scoring]
        removed += [one["removed"] for one in run(judging)]
        for part, (task, judged) in enumerate(zip(scoring, judging, strict=True)):
            folders[part][score.name] = task.folder(work)
            ledgers[part] = Ledger((*ledgers[part].folders, judged.folder(work)))
        facts[score.name] = spread(np.concatenate([scored(task.folder(work)) for task in scoring]))
    return Found(facts, folders, ledger.together(removed))


def _scoring(score: ScoreConfig, scorer: Scorer, part: ScoredPart) -> Task:
    languages = score.languages and (score.languages, part.notes.name)
    key = tasks.key(VERSION, libraries.versions(*libraries.SCORING), part.key, scorer.digest, languages)
    return Task("score", key, note, (part.documents, part.notes, scorer, score), f"{part.name} ({score.name})")


def _judging(score: ScoreConfig, scoring: Task, work: Path) -> Task:
    key = tasks.key("judge", VERSION, scoring.key, score.name, dump(score.bounds))
    return Task("score", key, judge, (scoring.folder(work), score), scoring.name)


def judge(folder: Path, scores: Path, score: ScoreConfig) -> dict:
    """The ledger of a part: who goes for a score."""
    gone = {
        row: [Removal("score", reason, f"{value:.6g}")]
        for row, value in enumerate(table.column(scores / SCORES, "score"))
        if (reason := out_of_bounds(score, value))
    }
    return {"removed": ledger.write(folder, gone)}


def scored(folder: Path) -> np.ndarray:
    """The scores of a part, without those of documents that are not asked for."""
    return np.array([value for value in table.column(folder / SCORES, "score") if value is not None], np.float64)


def note(folder: Path, documents: Path, notes: Path, scorer: Scorer, score: ScoreConfig) -> dict:
    """scores.parquet of a part."""
    languages = table.column(notes / stages.NOTES, "language") if score.languages else None
    rows, waiting = [], []
    for number, document in enumerate(table.read_documents(documents / stages.DOCUMENTS)):
        rows.append({"id": document.id, "score": None})
        if languages is None or languages[number] in score.languages:
            waiting.append((rows[-1], document.text, document.source))
        if len(waiting) == _TEXTS:
            _fill(waiting, scorer, score.name)
            waiting = []
    _fill(waiting, scorer, score.name)
    table.write_rows(folder / SCORES, rows, _COLUMNS)
    return {"scored": sum(row["score"] is not None for row in rows)}


def _fill(waiting: Sequence[tuple[dict, str, str]], scorer: Scorer, name: str) -> None:
    values = scorer([text for _, text, _ in waiting]) if waiting else []
    for (row, _, source), value in zip(waiting, values, strict=True):
        if not math.isfinite(value):
            raise UserError(f"score {name!r} of {source} is {value}, and must be a finite number: use a sound model")
        row["score"] = float(value)


def out_of_bounds(score: ScoreConfig, value: float | None) -> str | None:
    """`quality below 0.5`; None where it is within its bounds, or where nothing is asked of it."""
    broken = None if value is None else score.bounds.broken(value)
    return broken and f"{score.name} {broken}"


def possible(score: ScoreConfig) -> list[str]:
    """Every reason that `out_of_bounds` may give."""
    return [reason for end in (-math.inf, math.inf) if (reason := out_of_bounds(score, end))]


def spread(values: np.ndarray) -> dict[str, Any]:
    """Of all documents that were scored: 21 quantiles, 0, 0.05, ... 1, each a value that is there, and the mean."""
    if not values.size:
        return {"documents": 0, "mean": None, "quantiles": []}
    at = np.linspace(0, 1, 21)
    quantiles = np.quantile(values, at, method="inverted_cdf")
    return {"documents": len(values), "mean": math.fsum(values) / len(values), "quantiles": quantiles.tolist()}
