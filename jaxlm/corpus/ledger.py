"""What stages decided about the documents of a part, as files: who goes and why, and what is cut out of the others.

    FOLDER/gone.parquet   row, stage, reason, evidence: a row for each reason of a document that goes
    FOLDER/cuts.parquet   the same, and start, end and replacement: a row for each cut

A stage writes one folder a part. Rows number the documents of the part as they were collected. No process holds more
than one part of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxlm import hashing
from jaxlm.corpus import table, tasks
from jaxlm.corpus.cuts import Cut

GONE, CUTS = "gone.parquet", "cuts.parquet"
_GONE = table.schema(row="int64", stage="string", reason="string", evidence="string")
_CUTS = table.schema(
    row="int64", stage="string", reason="string", evidence="string", start="int64", end="int64", replacement="string"
)

Counts = dict[str, dict[str, int]]  # {stage: {reason: how often}}


class Removal(NamedTuple):
    """Why a document went, or a piece of it."""

    stage: str
    reason: str
    evidence: str = ""  # of a duplicate: the id that stays, and how alike they are


Cuts = Sequence[tuple[Cut, Removal]]  # of one document


class Ledger(NamedTuple):
    """What was decided about a part so far."""

    folders: tuple[Path, ...] = ()  # of stages, in their order

    def gone(self) -> dict[int, list[Removal]]:
        """{row: why it goes}"""
        found: dict[int, list[Removal]] = {}
        for folder in self.folders:
            for row in table.read_rows(folder / GONE):
                found.setdefault(row["row"], []).append(Removal(row["stage"], row["reason"], row["evidence"]))
        return found

    def cuts(self) -> dict[int, Cuts]:
        """{row: what is cut out of it}, in the order of stages; of documents that go later too."""
        found: dict[int, list[tuple[Cut, Removal]]] = {}
        for folder in self.folders:
            for row in table.read_rows(folder / CUTS):
                why = Removal(row["stage"], row["reason"], row["evidence"])
                found.setdefault(row["row"], []).append((Cut(row["start"], row["end"], row["replacement"]), why))
        return dict(found)

    def digest(self) -> str:
        """Of all that was decided, whichever configs decided so."""
        return tasks.key(*(hashing.file_hash(folder / name) for folder in self.folders for name in (GONE, CUTS)))


def write(folder: Path, gone: Mapping[int, Iterable[Removal]], cuts: Mapping[int, Cuts] | None = None) -> Counts:
    """The folder of a stage and a part; how often each reason made a document go."""
    folder.mkdir(exist_ok=True)
    whole = [{"row": row, **one._asdict()} for row in sorted(gone) for one in gone[row]]
    pieces = [
        {"row": row, **cut._asdict(), **why._asdict()}
        for row, some in sorted((cuts or {}).items())
        for cut, why in some
    ]
    table.write_rows(folder / GONE, whole, _GONE)
    table.write_rows(folder / CUTS, pieces, _CUTS)
    return counted((row["stage"], row["reason"]) for row in whole)


def counted(reasons: Iterable[tuple[str, str]]) -> Counts:
    found: Counts = {}
    for (stage, reason), count in Counter(reasons).items():
        found.setdefault(stage, {})[reason] = count
    return found


def together(counts: Iterable[Counts]) -> Counts:
    """Sums, the most frequent reason of a stage first."""
    total: dict[str, Counter[str]] = {}
    for one in counts:
        for stage, reasons in one.items():
            total.setdefault(stage, Counter()).update(reasons)
    return {
        stage: dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))) for stage, reasons in total.items()
    }
