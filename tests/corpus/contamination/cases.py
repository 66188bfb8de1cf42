"""Documents beside evaluation items, in one part."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxlm.corpus import ledger, stages, table
from jaxlm.corpus.contamination import index, judge, search
from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.contamination.items import files
from jaxlm.corpus.cuts import Cut
from jaxlm.corpus.document import Document
from jaxlm.corpus.ledger import Ledger, Removal
from jaxlm.corpus.pii import KINDS


def judged(
    texts: Sequence[str],
    items: Sequence[str],
    gone: Sequence[int] = (),
    cut: Sequence[tuple[int, Cut]] = (),
    **settings: Any,
) -> tuple[list[dict], dict[int, int]]:
    """What a judge writes of `texts`: leaks, with their spans read; {item: documents where it is a common phrase}."""
    with tempfile.TemporaryDirectory() as scratch:
        at = {
            name: Path(scratch) / name for name in ("documents", "index", "search", "common", "judge", "sets", "ledger")
        }
        for folder in at.values():
            folder.mkdir()
        (at["sets"] / "items.jsonl").write_text("".join(json.dumps({"question": item}) + "\n" for item in items))
        one = EvaluationSet(name="test", path=str(at["sets"]))
        cfg = ContaminationConfig(sets=(one,), **settings)
        table.write_documents(at["documents"] / stages.DOCUMENTS, [Document.of(text, "here") for text in texts])
        why = Removal("test", "planted")
        ledger.write(at["ledger"], {row: [why] for row in gone}, {row: [(one, why)] for row, one in cut})
        told = Ledger((at["ledger"],))
        index.index(at["index"], [(one, files(one))], cfg)
        search.search(at["search"], at["documents"], at["index"])
        judge.common(at["common"], [(at["search"], told)], at["index"], cfg.common)
        judge.judge(at["judge"], at["documents"], at["search"], told, at["common"], at["index"], cfg, KINDS)
        rows, phrases = (table.read_rows(at["judge"] / name) for name in (judge.FINDINGS, judge.PHRASES))
    leaks = [{**row, "spans": json.loads(row["spans"])} for row in rows]
    return leaks, {row["item"]: row["documents"] for row in phrases}


def findings(texts: Sequence[str], items: Sequence[str], **settings: Any) -> list[dict]:
    return judged(texts, items, **settings)[0]


def leaked(texts: Sequence[str], items: Sequence[str], **settings: Any) -> list[tuple[int, int]]:
    """(document, item) of each leak."""
    return [(row["row"], row["item"]) for row in findings(texts, items, **settings)]
