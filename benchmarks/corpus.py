"""Text made into a corpus, in cases: is it as right as its peers and its goals, and how fast?

    JAXLM_PEER_PYTHON=VENV/bin/python python benchmarks/corpus.py FOLDER [--case NAME] [--json] [--record]

FOLDER holds the folders of real text that `real_documents.py` and the cases name. MB are of UTF-8, in one process.

    filters    the same documents through Gopher's repetition and quality, C4 and FineWeb, with published thresholds:
               datatrove drops a document at the first rule that it breaks, jaxlm measures everything for all of them.
               Every rule is then asked alone, and the row `decisions` counts the verdicts that are equal and names the
               documents of the others. The peer needs `pip install "datatrove[processing,multilingual]"`.
    rate       all English rules, language and personal data together, and each step (corpus_annotate.py)
    language   31 languages by file and by piece beside py3langid
    pii        recall and precision of each kind on made-up sentences
    html       main text of web pages beside trafilatura; needs `pip install "jaxlm[quality]"` (corpus_extract.py)
    mojibake   the cases that ftfy mends
    wiki       pages of a dump that are accounted for
    engines    the same files by 1 process, 2 and a Dask cluster, and how much sooner (corpus_engines.py)

Without --case: all of them.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus_annotate
import corpus_engines
import corpus_extract
import harness
import machine
from real_documents import documents

LEAST_DOCUMENTS = 2_000  # fewer would say little of rare rules


def filters(data: Path, rounds: int) -> list[dict[str, Any]]:
    """The row of speed, and the row of decisions with what differs."""
    found = documents(data)
    if len(found) < LEAST_DOCUMENTS:
        raise SystemExit(f"{data} gives {len(found):,} documents, fewer than {LEAST_DOCUMENTS:,}: add folders to it")
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
    dropped = {rule: len(found) - sum(verdict) for rule, verdict in theirs.items()}
    named = {rule: names for rule, names in differ.items() if names}
    return harness.counted(
        "decisions", total - other, total, "verdicts that are equal",
        f"datatrove, {len(ours)} rules, {len(found):,} documents", dropped=dropped, differ=named,
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[Path, int], list[dict[str, Any]]], int]] = {  # and its usual rounds
    "filters": (filters, 3),
    "rate": (corpus_annotate.rate, 3),
    "language": (corpus_annotate.language, 3),
    "pii": (corpus_annotate.pii, 1),
    "html": (corpus_extract.html, 3),
    "mojibake": (corpus_extract.mojibake, 1),
    "wiki": (corpus_extract.wiki, 3),
    "engines": (corpus_engines.engines, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", choices=CASES, action="append", help="all of them without it")
    parser.add_argument("--rounds", type=int, help="instead of a case's own")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in asked.case or CASES:
        case, rounds = CASES[name]
        rows += case(asked.folder, asked.rounds or rounds)
    result = harness.report("corpus", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
