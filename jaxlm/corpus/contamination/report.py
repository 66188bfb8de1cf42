"""For each evaluation set what of it the corpus holds; and for its owners, item by item, where.

report.json      for each set: items, how many are found and in how many documents, the first of them to look at
leaks.parquet    a row for each item in each document, the items in order: set, place, beginning, share, document,
                 spans; `common` are phrases of many documents that were not counted as leaks
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlm.corpus import table
from jaxlm.corpus.contamination.index import ITEMS
from jaxlm.corpus.contamination.judge import FINDINGS
from jaxlm.hashing import write_atomically

REPORT, LEAKS = "report.json", "leaks.parquet"
_SAMPLES = 10  # chosen: enough to see a pattern
_LEAK = table.schema(
    set="string", place="string", begins="string", share="double", common="bool", id="string", source="string",
    spans="string", sample="string",
)  # fmt: skip


def report(folder: Path, findings: Sequence[Path], index_folder: Path, sets: Mapping[str, Mapping[str, int]]) -> dict:
    """Both files, of the findings of all parts; `sets` is what the index tells of each."""
    items = table.read_rows(index_folder / ITEMS)
    rows = [
        (row["item"], part, row["row"], {**row, "begins": items[row["item"]]["begins"]})
        for part, one in enumerate(findings)
        for row in table.read_rows(one / FINDINGS)
    ]
    leaks = [row for *_, row in sorted(rows, key=lambda row: row[:3])]
    told = {name: _told(counts, [row for row in leaks if row["set"] == name]) for name, counts in sets.items()}
    table.write_rows(folder / LEAKS, [{name: row[name] for name in _LEAK.names} for row in leaks], _LEAK)
    write_atomically(folder / REPORT, json.dumps(told, indent=1, ensure_ascii=False).encode())
    return {name: {key: value for key, value in one.items() if key != "samples"} for name, one in told.items()}


def _told(counts: Mapping[str, int], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    leaks, phrases = ([row for row in rows if row["common"] is common] for common in (False, True))
    first: dict[int, Mapping[str, Any]] = {}
    for row in leaks:
        first.setdefault(row["item"], row)
    names = ("place", "begins", "share", "id", "source", "sample")
    return {
        **counts,
        "found": len(first),
        "documents": len({(row["id"], row["source"]) for row in leaks}),
        "common_phrases": len({row["item"] for row in phrases}),
        "samples": [{name: row[name] for name in names} for row in list(first.values())[:_SAMPLES]],
    }
