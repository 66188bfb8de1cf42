"""What became of one document: where it came from, what was noted of it, why it went or what was cut out of it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.corpus import scores, stages, table
from jaxlm.corpus.contamination.report import LEAKS, WHOLE
from jaxlm.corpus.finished import FOLDERS, Corpus
from jaxlm.errors import UserError

_SHOWN = 5  # ids that an error names
_WHY = ("stage", "reason", "evidence")
_CUT = (*_WHY, "start", "end", "sample")
_LEAK = ("set", "place", "share", "spans")


class Story(NamedTuple):
    """Of one document of a corpus."""

    id: str
    source: str
    stays: bool
    reasons: list[dict[str, str]]  # stage, reason, evidence: why it went
    cuts: list[dict[str, Any]]  # of one that stays what was cut out of it: the same, start, end, sample
    # Items of evaluation sets in it, whatever is done about them: set, place, share, spans; common: whether it is a
    # phrase of over `contamination.common` documents, which is no leak.
    leaks: list[dict[str, Any]]
    note: dict[str, Any]  # language, probability, measures, scores, personal data by kind; {} where work/ is gone
    begins: str  # with this text


def stories(corpus: Corpus, beginning: str) -> list[Story]:
    """Of every document whose id begins so: equal texts have one id. UserError where there is none, or several ids."""
    stay, gone, cut = (_rows(corpus.folder / name, beginning) for name in FOLDERS)
    ids = sorted({row["id"] for row in stay + gone})
    if not ids:
        raise UserError(f"no document of {corpus.folder} has an id that begins with {beginning!r}")
    if len(ids) > 1:
        named = ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
        raise UserError(f"{len(ids):,} ids of {corpus.folder} begin with {beginning!r}: {named}: give more of one")
    notes, leaks = _notes(corpus, ids[0]), _leaks(corpus.folder / "contamination", ids[0])
    found = []
    for row in stay:
        cuts = [{name: one[name] for name in _CUT} for one in cut if one["source"] == row["source"]]
        known = leaks.get(row["source"], []), notes.get(row["source"], {})
        found.append(Story(ids[0], row["source"], True, [], cuts, *known, row["text"][:200]))
    for source in sorted({row["source"] for row in gone}):
        own = [row for row in gone if row["source"] == source]
        reasons = [{name: row[name] for name in _WHY} for row in own]
        known = leaks.get(source, []), notes.get(source, {})
        found.append(Story(ids[0], source, False, reasons, [], *known, own[0]["sample"]))
    return found


def _rows(folder: Path, beginning: str) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in table.rows_of(path, beginning)]


def _leaks(folder: Path, id_: str) -> dict[str, list[dict[str, Any]]]:
    """{source: what of evaluation sets is in it} of the documents with this id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in (LEAKS, WHOLE):
        for row in table.rows_of(folder / name, id_) if (folder / name).is_file() else []:
            leak = {name: row[name] for name in _LEAK} | {"spans": json.loads(row["spans"]), "common": name == WHOLE}
            found.setdefault(row["source"], []).append(leak)
    return found


def _notes(corpus: Corpus, id_: str) -> dict[str, dict[str, Any]]:
    """{source: what was noted} of the documents with this id."""
    found = {}
    for part in corpus.manifest["inputs"]:
        noted = {
            name: {row["id"]: row["score"] for row in table.rows_of(file, id_)}
            for name, folder in part["scores"].items()
            if (file := corpus.folder / folder / scores.SCORES).is_file()
        }
        path = corpus.folder / part["notes"] / stages.NOTES
        for row in table.rows_of(path, id_) if path.is_file() else []:
            personal = [kind for _, _, kind in json.loads(row["personal"])]
            found[row["source"]] = {
                "language": row["language"], "probability": row["probability"], "personal": personal,
                "measures": json.loads(row["measures"]), "scores": {name: of.get(id_) for name, of in noted.items()},
            }  # fmt: skip
    return found
