"""Leaks of evaluation sets: are they found, is nothing else, and how fast?

    python benchmarks/contamination.py [--case leaks|speed] [--json] [--record]

Reads below $JAXLM_DATA the documents of real_documents.py and four evaluation sets: questions of SQuADShifts (dev),
HateCheck, summaries of SciTLDR (dev), questions of CMRC 2018 (trial).

    leaks       100 items planted into 100 of the documents, 20 each verbatim, in capitals, with other punctuation and
                line breaks, amid a sentence, and half of an item; the share found, and the share of all the other
                documents in which something is found, named
    speed       MB of UTF-8 a second through the search of a part, one process, from its Parquet on; and through words
"""

import argparse
import json
import os
import random
import re
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
from real_documents import documents, opened

from jaxlm.corpus import stages, table
from jaxlm.corpus.contamination import index, judge, search
from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.contamination.grams import words_of
from jaxlm.corpus.contamination.items import Item, files, items
from jaxlm.corpus.document import Document
from jaxlm.corpus.ledger import Ledger

VARIANTS = ("verbatim", "case", "punctuation", "embedded", "half")
Rows = list[dict[str, Any]]


def evaluation_sets(data: Path, scratch: Path) -> tuple[EvaluationSet, ...]:
    for name, path in (
        ("squad", "squadshifts-newwiki/dev.json.xz"),
        ("cmrc", "cmrc2018/cmrc2018_trial.json.xz"),
    ):
        every = [q for a in json.loads(opened(data / path))["data"] for p in a["paragraphs"] for q in p["qas"]]
        (scratch / f"{name}.jsonl").write_text("".join(json.dumps({"question": q["question"]}) + "\n" for q in every))
    return (
        EvaluationSet(name="squad", path=str(scratch / "squad.jsonl")),
        EvaluationSet(name="hatecheck", path=str(data / "hatecheck"), fields=("test_case",)),
        EvaluationSet(name="scitldr", path=str(data / "scitldr-a" / "dev.jsonl.xz"), fields=("target",)),
        EvaluationSet(name="cmrc", path=str(scratch / "cmrc.jsonl")),
    )


class Leak:
    """An item, planted: in which document, how."""

    def __init__(self, set_: str, item: Item, variant: str, document: int):
        self.set, self.item, self.variant, self.document = set_, item, variant, document


def planted(texts: list[str], cfg: ContaminationConfig, leaks: int, seed: int) -> list[Leak]:
    """Put `leaks` items into as many of `texts`; sets and variants take turns."""
    rng, found = random.Random(seed), []
    pools = {one.name: list(_fit(one, cfg)) for one in cfg.sets}
    hosts = rng.sample([n for n, text in enumerate(texts) if len(text) > 500], leaks)
    for number, host in enumerate(hosts):
        variant = VARIANTS[number % len(VARIANTS)]
        halves = [name for name, pool in pools.items() if any(long for _, long in pool)]
        of = (halves if variant == "half" else list(pools))[number // len(VARIANTS) % (
            len(halves) if variant == "half" else len(pools)
        )]  # fmt: skip
        item, _ = rng.choice([one for one in pools[of] if one[1] or variant != "half"])
        texts[host] = _host(texts[host], changed(item.text, variant, rng), variant, rng)
        found.append(Leak(of, item, variant, host))
    return found


def _fit(one: EvaluationSet, cfg: ContaminationConfig) -> Iterator[tuple[Item, bool]]:
    """Items that can be looked for, and whether a half of them still can."""
    from collections import Counter

    for item in items(one, files(one), Counter()):
        found = words_of([item.text])
        (length,) = index.lengths_of(found.hashes.counts, found.unspaced, cfg)
        if length:
            full = cfg.characters if found.unspaced[0] else cfg.words
            yield item, bool(found.hashes.counts[0] >= 2 * full + 2)


def changed(text: str, variant: str, rng: random.Random) -> str:
    if variant == "case":
        return text.upper()
    if variant == "punctuation":
        without = re.sub(r"[^\w\s]", "", re.sub(r"[-/–—]", " ", text))
        spaced = re.sub(
            r"\s+", lambda _: rng.choice((" ", "  ", "\n", ", ", " (", ") ", "; ", " \u201c", "\u201d ")), without
        )
        return spaced if " " in without else "、".join(re.findall(".{1,7}", without))
    if variant == "half":
        if " " not in text:
            return text[: len(text) // 2]
        words = text.split()
        return " ".join(words[: len(words) // 2])
    return text


def _host(text: str, leak: str, variant: str, rng: random.Random) -> str:
    if variant != "embedded":
        lines = text.split("\n")
        lines.insert(rng.randrange(len(lines) + 1), leak)
        return "\n".join(lines)
    spaces = [match.start() for match in re.finditer(" ", text)] or [len(text) // 2]
    place = rng.choice(spaces)
    return f"{text[:place]} {leak} {text[place:]}"


def leaks(rounds: int) -> Rows:
    """`rounds` are seeds of other leaks."""
    data, found, false, clean = _data(), [], [], 0
    real = documents(data)
    for seed in range(rounds):
        texts = [one["text"] for one in real]
        with tempfile.TemporaryDirectory() as scratch:
            cfg = ContaminationConfig(sets=evaluation_sets(data, Path(scratch)))
            planted_ = planted(texts, cfg, 100, seed)
            rows = findings(texts, cfg, Path(scratch))
        leaked = {(row["row"], row["set"], row["begins"]) for row in rows}
        found += [(leak.variant, (leak.document, leak.set, leak.item.text[:200]) in leaked) for leak in planted_]
        hosts = {leak.document for leak in planted_}
        clean += len(texts) - len(hosts)
        false += [(real[row["row"]]["name"], row["place"], row["begins"]) for row in rows if row["row"] not in hosts]
    share = statistics.fmean(hit for _, hit in found)
    told = [harness.alone(f"leaks: found of {len(found)}", share, "share")]
    for variant in VARIANTS:
        hits = [hit for name, hit in found if name == variant]
        told.append(harness.alone(f"leaks: {variant}, found of {len(hits)}", statistics.fmean(hits), "share"))
    case = f"leaks: {clean:,} other documents, found in"
    return [
        *told,
        harness.alone(case, len({(name) for name, *_ in false}) / clean, "share", found=sorted(set(false))[:20]),
    ]


def findings(texts: list[str], cfg: ContaminationConfig, scratch: Path) -> Rows:
    """What is found in one part, phrases that are common left out."""
    folders = {name: scratch / name for name in ("documents", "index", "search", "common", "judge")}
    for folder in folders.values():
        folder.mkdir()
    every = [Document(str(n), text, str(n), {}) for n, text in enumerate(texts)]
    table.write_documents(folders["documents"] / stages.DOCUMENTS, every)
    index.index(folders["index"], [(one, files(one)) for one in cfg.sets], cfg)
    search.search(folders["search"], folders["documents"], folders["index"])
    judge.common(folders["common"], [(folders["search"], Ledger())], folders["index"], cfg.common)
    judge.judge(
        folders["judge"], folders["documents"], folders["search"], Ledger(), folders["common"], folders["index"], cfg
    )
    told = table.read_rows(folders["index"] / index.ITEMS)
    rows = table.read_rows(folders["judge"] / judge.FINDINGS)
    return [{**row, "begins": told[row["item"]]["begins"]} for row in rows]


def speed(rounds: int) -> Rows:
    data = _data()
    texts = [one["text"] for one in documents(data)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        cfg = ContaminationConfig(sets=evaluation_sets(data, scratch))
        findings(texts, cfg, scratch)
        again = [Path(folder) / f"again-{n}" for n in range(rounds)]
        for one in again:
            one.mkdir()
        searches = [
            harness.seconds(lambda at=one: search.search(at, scratch / "documents", scratch / "index")) for one in again
        ]
        steps = {
            "search of a part": statistics.median(searches),
            "words alone": statistics.median(harness.seconds(lambda: _words(texts)) for _ in range(rounds)),
        }
    return [harness.alone(f"speed: {name}, {size:.0f} MB", size / seconds, "MB/s") for name, seconds in steps.items()]


def _words(texts: list[str]) -> None:
    for start in range(0, len(texts), 64):
        words_of(texts[start : start + 64])


def _data() -> Path:
    data = os.environ.get("JAXLM_DATA")
    if not data:
        raise SystemExit("JAXLM_DATA is not set: it names the folder that holds squadshifts-newwiki")
    return Path(data)


CASES: dict[str, tuple[Callable[[int], Rows], int]] = {"leaks": (leaks, 1), "speed": (speed, 3)}  # and usual rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, action="append", help="both without it")
    parser.add_argument("--rounds", type=int, help="instead of a case's own")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    rows: Rows = []
    for name in asked.case or CASES:
        case, rounds = CASES[name]
        rows += case(asked.rounds or rounds)
    result = harness.report("contamination", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
