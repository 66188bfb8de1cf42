"""Do our rules of quality decide as datatrove's do, and how fast beside it?

    JAXLM_PEER_PYTHON=VENV/bin/python python benchmarks/corpus.py FOLDER [--case filters] [--json] [--record]

FOLDER holds the folders of real text that `real_documents.py` names. The case `filters` takes the same documents
through Gopher's repetition and quality, C4 and FineWeb with their published thresholds: datatrove drops a document at
the first rule that it breaks, jaxlm measures everything for all of them. Every rule is then asked alone, and the row
`decisions` counts the verdicts that are equal and names the documents of the others. MB are of UTF-8, in one process.

The peer needs `pip install "datatrove[processing,multilingual]"`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness
import machine
from real_documents import documents

LEAST_DOCUMENTS = 2_000  # fewer would say little of rare rules


def filters(found: list[dict[str, str]], rounds: int) -> list[dict[str, Any]]:
    """The row of speed, and the row of decisions with what differs."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "documents.jsonl"
        source.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
        verdicts = {side: Path(scratch) / f"{side}.json" for side in ("jaxlm", "datatrove")}
        contenders = {
            "jaxlm": harness.Contender(["benchmarks/ours/timed_filters.py", str(source), str(verdicts["jaxlm"])]),
            "datatrove": harness.Contender(
                ["benchmarks/peers/datatrove_filters.py", str(source), str(verdicts["datatrove"])],
                machine.peer_python(), packages=("datatrove", "spacy"),
            ),
        }  # fmt: skip
        results = harness.alternate(contenders, rounds)
        row = harness.compare(
            "filters", results, "jaxlm", "datatrove", figure="mb_per_second", unit="MB/s", more_is_better=True,
            documents=len(found),
        )  # fmt: skip
        if "missing" in row:
            return [row]
        ours, theirs = (json.loads(path.read_text()) for path in verdicts.values())
    return [row, decisions(found, ours, theirs)]


def decisions(found: list[dict[str, str]], ours: dict[str, list[int]], theirs: dict[str, list[int]]) -> dict[str, Any]:
    """How many verdicts there are, and how many are the same; RuntimeError where a rule has no counterpart."""
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"rules of one side only: {sorted(ours.keys() ^ theirs.keys())}")
    differ = {
        rule: [found[n]["name"] for n, (a, b) in enumerate(zip(ours[rule], theirs[rule], strict=True)) if a != b]
        for rule in ours
    }
    total, other = len(found) * len(ours), sum(map(len, differ.values()))
    return {
        "case": "decisions", "ours": total - other, "peer": total, "ratio": (total - other) / total,
        "ratio_min": (total - other) / total, "ratio_max": (total - other) / total, "unit": "verdicts that are equal",
        "peer_name": f"datatrove, {len(ours)} rules, {len(found):,} documents",
        "dropped": {rule: len(found) - sum(verdict) for rule, verdict in theirs.items()},
        "differ": {rule: names for rule, names in differ.items() if names},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", choices=["filters"], default="filters")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    found = documents(asked.folder)
    if len(found) < LEAST_DOCUMENTS:
        sys.exit(f"{asked.folder} gives {len(found):,} documents, fewer than {LEAST_DOCUMENTS:,}: add folders to it")
    result = harness.report("corpus", filters(found, asked.rounds), json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
