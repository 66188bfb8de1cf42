"""For each evaluation set what of it the corpus holds; and for its owners, item by item, where.

report.json      for each set: items, how many are found and in how many documents, the first of them to look at
leaks.parquet    a row for each item in each document, the documents in order: set, place, beginning, share, document,
                 spans
phrases.parquet  a row for each item that is a common phrase in some documents, which is no leak: in how many, and how
                 many of them hold nearly all of it
whole.parquet    a row for each of the latter: id, source, set, place, share, spans

Findings are read part by part, and no more of them is in memory than those of one part.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlm.corpus import table
from jaxlm.corpus.contamination import judge
from jaxlm.corpus.contamination.index import ITEMS
from jaxlm.hashing import write_atomically

REPORT, LEAKS, PHRASES, WHOLE = "report.json", "leaks.parquet", "phrases.parquet", judge.WHOLE
FILES = (REPORT, LEAKS, PHRASES, WHOLE)
_SAMPLES = 10  # chosen: enough to see a pattern
_LEAK = table.schema(
    set="string", place="string", begins="string", share="double", id="string", source="string", spans="string",
    sample="string",
)  # fmt: skip
_PHRASE = table.schema(set="string", place="string", begins="string", documents="int64", whole="int64")


class _Told:
    """Of one set."""

    def __init__(self) -> None:
        self.items: set[int] = set()  # that are found
        self.documents = self.phrases = 0
        self.whole: list[Mapping[str, Any]] = []  # of phrases.parquet: those that are held nearly whole
        self._first: dict[int, Mapping[str, Any]] = {}  # where the first of the items that are found is found first

    def leaks(self, item: int, row: Mapping[str, Any]) -> None:
        if item not in self.items:
            self.items.add(item)
            self._first[item] = row
            if len(self._first) > _SAMPLES:
                del self._first[max(self._first)]

    def facts(self) -> dict[str, Any]:
        names = ("place", "begins", "share", "id", "source", "sample")
        return {
            "found": len(self.items), "documents": self.documents, "common_phrases": self.phrases,
            "whole": {
                "items": len(self.whole),
                "most": [{key: row[key] for key in ("place", "whole")} for row in self._most()],
            },
            "samples": [{name: row[name] for name in names} for _, row in sorted(self._first.items())],
        }  # fmt: skip

    def _most(self) -> list[Mapping[str, Any]]:
        return sorted(self.whole, key=lambda row: -row["whole"])[:_SAMPLES]


def report(folder: Path, findings: Sequence[Path], index_folder: Path, sets: Mapping[str, Mapping[str, int]]) -> dict:
    """The files, of the findings of all parts; `sets` is what the index tells of each."""
    items = table.read_rows(index_folder / ITEMS)
    told = {name: _Told() for name in sets}
    phrases: Counter[int] = Counter()
    whole: Counter[int] = Counter()
    with table.Writer(folder / LEAKS, _LEAK) as leaks:
        for part in findings:
            rows = table.read_rows(part / judge.FINDINGS)
            for row in rows:
                item = row["item"]
                row["begins"] = items[item]["begins"]
                told[row["set"]].leaks(item, row)
                leaks.add({name: row[name] for name in _LEAK.names})
            for set_, _ in {(row["set"], row["row"]) for row in rows}:
                told[set_].documents += 1
            for row in table.read_rows(part / judge.PHRASES):
                phrases[row["item"]] += row["documents"]
                whole[row["item"]] += row["whole"]
    names = ("set", "place", "begins")
    common = [{**{name: items[n][name] for name in names}, "documents": phrases[n], "whole": whole[n]}
              for n in sorted(phrases)]  # fmt: skip
    for row in common:
        told[row["set"]].phrases += 1
        if row["whole"]:
            told[row["set"]].whole.append(row)
    table.write_rows(folder / PHRASES, common, _PHRASE)
    table.join([part / judge.WHOLE for part in findings], folder / WHOLE, judge.HELD)
    facts = {name: {**counts, **told[name].facts()} for name, counts in sets.items()}
    write_atomically(folder / REPORT, json.dumps(facts, indent=1, ensure_ascii=False).encode())
    return {name: {key: value for key, value in one.items() if key != "samples"} for name, one in facts.items()}
