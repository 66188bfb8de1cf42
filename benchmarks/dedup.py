"""Near duplicates: are they found, is nothing else removed, and how fast?

    python benchmarks/dedup.py [--case curve|sketch|million|peer] [--json] [--record]

Reads gutenberg-en and near-duplicates-gutenberg below $JAXLM_DATA.

    curve       texts of 150 words, each with one copy of planted edits, true Jaccard spread over 0.5 to 1, among four
                editions of one book; the share proposed in each bin beside 1 - (1 - s^r)^b, the share removed from
                0.8 on, the lowest true Jaccard removed
    sketch      documents of 500 words a second through the first pass, one process, and its steps
    million     a million documents of 6 real sentences, 3 in 10 an edited copy; 2 processes: minutes, memory, disk
    peer        the same in small beside datasketch's MinHashLSH as text-dedup sets it up, one process each
"""

import argparse
import os
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import machine
import planted

from jaxlm.corpus.duplicates import near
from jaxlm.corpus.duplicates.candidates import of_part
from jaxlm.corpus.duplicates.config import CapConfig, NearConfig
from jaxlm.corpus.duplicates.part import Documents, Row
from jaxlm.corpus.duplicates.shingles import shingles
from jaxlm.corpus.duplicates.sketch import bands
from jaxlm.corpus.duplicates.words import words

HERE = Path(__file__).resolve().parent
OURS, PEER = "ours/timed_dedup.py", "peers/datasketch_lsh.py"
Rows = list[dict[str, Any]]


def texts(folder: str) -> list[str]:
    data = os.environ.get("JAXLM_DATA")
    if not data:
        raise SystemExit("JAXLM_DATA is not set: it names the folder that holds gutenberg-en")
    return [planted.book(path) for path in sorted((Path(data) / folder).glob("*.xz"))]


def curve(rounds: int, documents: int | None) -> Rows:
    """`rounds` are seeds of other edits; `documents` bounds the originals."""
    cfg = NearConfig(cap=CapConfig(share=1))
    originals = [one for text in texts("gutenberg-en") for one in planted.documents_of(text, 150)][:documents]
    editions = [" ".join(o) for text in texts("near-duplicates-gutenberg") for o in planted.documents_of(text, 150)]
    found, lowest = [], 1.0
    for seed in range(rounds):
        pairs = planted.pairs(originals, seed)
        text_of = {row.id: row.text for row in pairs} | {f"edition-{n}": text for n, text in enumerate(editions)}
        with tempfile.TemporaryDirectory() as folder:
            removals = near.find([[Row(*one, "planted") for one in text_of.items()]], Path(folder), cfg)
            evidence = removals.evidence(0)
            both = Documents(Path(folder), 1)
            sides = [both.ids(side) for side in of_part(0, 1, Path(folder))]  # one part, one range of keys
            proposed = set(map(frozenset, zip(*sides, strict=True)))
        lowest = min(lowest, *(planted.jaccard(text_of[e.id].split(), text_of[e.kept_id].split()) for e in evidence))
        gone = {one.id for one in evidence}
        found += [
            (row.jaccard, frozenset((row.id, row.original)) in proposed, bool(gone & {row.id, row.original}))
            for row in pairs
            if row.original
        ]
    return curve_rows(found, lowest, cfg)


def curve_rows(found: list[tuple[float, bool, bool]], lowest: float, cfg: NearConfig) -> Rows:
    """`found`: (true Jaccard, was it proposed, was one of the pair removed)."""
    rows: Rows = []
    for low in (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
        inside = [(s, hit) for s, hit, _ in found if low <= s < low + 0.05 or (low == 0.95 and s == 1.0)]
        if inside:
            hits = statistics.fmean(hit for _, hit in inside)
            law = statistics.fmean(1 - (1 - s**cfg.rows) ** cfg.bands for s, _ in inside)
            case = f"proposed at {low:.2f} to {low + 0.05:.2f}, {len(inside):,} pairs"
            rows.append(harness.alone(case, hits, "share", peer=law, peer_name="1 - (1 - s^r)^b"))
    high = [removed for s, _, removed in found if s >= 0.8]
    rows.append(harness.alone(f"removed at 0.8 to 1, {len(high):,} pairs", statistics.fmean(high), "share"))
    rows.append(harness.alone("lowest true Jaccard removed", lowest, "Jaccard"))
    return rows


def sketch(rounds: int, documents: int | None) -> Rows:
    every = " ".join(texts("gutenberg-en")).split()
    count = documents or 10_000
    rng = random.Random(0)
    starts = [rng.randrange(len(every) - 500) for _ in range(count)]
    some = [" ".join(every[start : start + 500]) for start in starts]
    cfg = NearConfig()
    blocks = [some[i : i + 80] for i in range(0, count, 80)]
    sets = shingles(some, cfg)
    steps: dict[str, Callable[[], Any]] = {
        "words": lambda: [words(block) for block in blocks],
        "words and shingles": lambda: shingles(some, cfg),
        "signatures and band keys": lambda: bands(sets, cfg),
        "first pass without its files": lambda: bands(shingles(some, cfg), cfg),
    }
    took = {name: statistics.median(harness.seconds(step) for _ in range(rounds)) for name, step in steps.items()}
    return [
        harness.alone(f"sketch: {name}, 500 words", count / seconds, "documents/s") for name, seconds in took.items()
    ]


def sentences() -> list[str]:
    return [line for text in texts("gutenberg-en") for line in text.splitlines() if 8 <= len(line.split()) <= 40]


def million(rounds: int, documents: int | None) -> Rows:
    total, size = documents or 1_000_000, 25_000
    with tempfile.TemporaryDirectory() as folder:
        block: list[tuple[str, str]] = []
        for number, (id, text, _) in enumerate(planted.of_sentences(sentences(), total, 6, 0.3, seed=0)):
            block.append((id, text))
            if len(block) == size or number + 1 == total:
                planted.write(Path(folder) / f"{number // size:06}.jsonl", block)
                block = []
        command = harness.Contender([str(HERE / OURS), folder, "--processes", "2"], timeout=3_600)
        done = harness.alternate({"jaxlm": command}, rounds)["jaxlm"]
    assert not isinstance(done, harness.Missing)
    name = f"million: {total:,} documents, 2 processes"
    rows = [harness.alone(f"{name}, in all", harness.median(done, "seconds") / 60, "minutes")]
    rows += [
        harness.alone(f"{name}, {step}", harness.median(done, f"{step}_s"), "s")
        for step in ("sketch", "candidates", "verify")
    ]
    for what, figure, unit in (("peak memory", "peak_gb", "GB"), ("files", "stored_gb", "GB")):
        rows.append(harness.alone(f"{name}, {what}", harness.median(done, figure), unit))
    return [*rows, harness.alone(f"{name}, removed", harness.median(done, "removed"), "documents")]


def peer(rounds: int, documents: int | None) -> Rows:
    made = list(planted.of_sentences(sentences(), documents or 20_000, 6, 0.3, seed=0))
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder) / "parts"
        parts.mkdir()
        planted.write(parts / "0.jsonl", [(id, text) for id, text, _ in made])
        lists = {"jaxlm": Path(folder) / "ours", "datasketch": Path(folder) / "theirs"}
        commands = {name: [str(parts), "--removed", str(path)] for name, path in lists.items()}
        contenders = {
            "jaxlm": harness.Contender([str(HERE / OURS), *commands["jaxlm"]]),
            "datasketch": harness.Contender(
                [str(HERE / PEER), *commands["datasketch"]], machine.peer_python(), packages=["datasketch"]
            ),
        }
        results = harness.alternate(contenders, rounds)
        gone = {name: set(path.read_text().split()) if path.exists() else None for name, path in lists.items()}
    case = f"peer: {len(made):,} documents"
    rows = [
        harness.compare(
            case, results, "jaxlm", "datasketch", figure="documents_per_second", unit="documents/s", more_is_better=True
        )
    ]
    for what, index in (("pairs at 0.8 to 1 of which one goes", 0), ("of what goes, with a pair at 0.7 or more", 1)):
        ours, theirs = (None if one is None else found_and_right(made, one)[index] for one in gone.values())
        rows.append(harness.alone(f"{case}, {what}", ours, "share", peer=theirs, peer_name="datasketch"))
    return rows


def found_and_right(made: list[tuple[str, str, str]], gone: set[str]) -> tuple[float, float]:
    """Recall over planted pairs of true Jaccard 0.8 or more; precision: what goes has a relative at 0.7 or more."""
    words_of = {id: text.split() for id, text, _ in made}
    family: dict[str, list[str]] = {}
    for id, _, original in made:
        family.setdefault(original or id, []).append(id)
    pairs = [(id, o) for id, _, o in made if o and planted.jaccard(words_of[id], words_of[o]) >= 0.8]
    recall = statistics.fmean(bool({*pair} & gone) for pair in pairs)
    relatives = {id: [other for other in ids if other != id] for ids in family.values() for id in ids}
    alike = [any(planted.jaccard(words_of[id], words_of[o]) >= 0.7 for o in relatives[id]) for id in gone]
    return recall, statistics.fmean(alike) if alike else 1.0


CASES: dict[str, tuple[Callable[[int, int | None], Rows], int]] = {  # and its usual rounds
    "curve": (curve, 5),
    "sketch": (sketch, 3),
    "million": (million, 1),
    "peer": (peer, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append", help="all of them without it")
    parser.add_argument("--rounds", type=int, help="instead of a case's own")
    parser.add_argument("--documents", type=int, help="instead of a case's own")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    rows: Rows = []
    for name in asked.case or CASES:
        case, rounds = CASES[name]
        rows += case(asked.rounds or rounds, asked.documents)
    result = harness.report("dedup", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
