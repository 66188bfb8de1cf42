"""dedup.py: what is planted is what it is said to be, and the rows say what was found of it."""

import json
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import dedup  # noqa: E402
import planted  # noqa: E402

from jaxlm.corpus.duplicates.config import NearConfig  # noqa: E402

WORDS = [f"{a}{b}{c}" for a in "bdfghjkp" for b in "aeiou" for c in "lmnrstvx"]


def originals(count: int) -> list[list[str]]:
    rng = random.Random(1)
    return [rng.choices(WORDS, k=150) for _ in range(count)]


def test_planted_pairs_have_the_jaccard_they_carry_and_spread_over_the_range():
    made = planted.pairs(originals(200), seed=0)
    text_of = {one.id: one.text.split() for one in made}
    copies = [one for one in made if one.original]
    assert all(one.jaccard == planted.jaccard(text_of[one.id], text_of[one.original]) for one in copies)
    assert min(one.jaccard for one in copies) < 0.6 and max(one.jaccard for one in copies) > 0.95
    assert statistics.fmean(0.7 < one.jaccard < 0.85 for one in copies) > 0.2


def test_documents_of_sentences_are_the_same_each_time_and_copies_resemble_their_original():
    sentences = [" ".join(words[:12]) for words in originals(50)]
    made = list(planted.of_sentences(sentences, 100, 6, 0.3, seed=0))
    assert made == list(planted.of_sentences(sentences, 100, 6, 0.3, seed=0))
    text_of = {id: text.split() for id, text, _ in made}
    copies = [(id, original) for id, _, original in made if original]
    assert len(copies) > 10
    assert all(planted.jaccard(text_of[id], text_of[original]) > 0.4 for id, original in copies)


def test_the_rows_of_the_curve_are_shares_of_their_bin():
    found = [(0.52, False, False), (0.53, True, False), (0.81, True, True), (0.99, True, True), (1.0, False, False)]
    rows = {row["case"]: row["ours"] for row in dedup.curve_rows(found, 0.76, NearConfig())}
    assert rows["proposed at 0.50 to 0.55, 2 pairs"] == 0.5
    assert rows["proposed at 0.95 to 1.00, 2 pairs"] == 0.5
    assert rows["removed at 0.8 to 1, 3 pairs"] == pytest.approx(2 / 3)
    assert rows["lowest true Jaccard removed"] == 0.76


def test_recall_and_precision_are_of_pairs_and_of_what_goes():
    (a, b, c) = (" ".join(words) for words in originals(3))
    made = [("a", a, ""), ("a2", a + " more", "a"), ("b", b, ""), ("b2", b, "b"), ("c", c, "")]
    assert dedup.found_and_right(made, {"a", "c"}) == (0.5, 0.5)
    assert dedup.found_and_right(made, {"a2", "b2"}) == (1.0, 1.0)


def test_our_side_says_what_goes_and_how_long_it_took(tmp_path):
    parts, text = tmp_path / "parts", " ".join(WORDS[:60])
    parts.mkdir()
    planted.write(parts / "0.jsonl", [("a", text), ("b", f"{text} more")])
    planted.write(parts / "1.jsonl", [("c", " ".join(WORDS[100:160]))])
    command = [sys.executable, BENCHMARKS / "ours" / "timed_dedup.py", parts, "--removed", tmp_path / "gone"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=BENCHMARKS.parent,
                         env={"PYTHONPATH": str(BENCHMARKS.parent)})  # fmt: skip
    printed = json.loads(ran.stdout)
    assert (printed["documents"], printed["removed"]) == (3, 1)
    assert {"sketch_s", "candidates_s", "verify_s", "peak_gb", "stored_gb"} <= printed.keys()
    assert (tmp_path / "gone").read_text() == "a\n"
