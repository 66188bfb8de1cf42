"""corpus.py: a row counts what it says, and a figure of the cases is the one that a hand would count."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import corpus  # noqa: E402
import corpus_annotate  # noqa: E402
import corpus_engines  # noqa: E402
import corpus_extract  # noqa: E402
import harness  # noqa: E402
import planted_keys  # noqa: E402


def test_verdicts_that_differ_are_counted_and_named():
    found = [{"name": name, "text": ""} for name in ("a", "b", "c")]
    row = corpus.decisions(found, {"x": [1, 1, 0], "y": [1, 0, 0]}, {"x": [1, 1, 0], "y": [1, 1, 0]})
    assert (row["ours"], row["peer"], row["ratio"]) == (5, 6, 5 / 6)
    assert row["differ"] == {"y": ["b"]} and row["dropped"] == {"x": 1, "y": 1}
    with pytest.raises(RuntimeError, match=r"one side only: \['y'\]"):
        corpus.decisions(found, {"x": [1, 1, 1]}, {"x": [1, 1, 1], "y": [1, 1, 1]})


def test_strings_are_looked_for_with_their_white_space_squeezed():
    gold = [
        {"file": "a", "with": ["red  tea", "cup"], "without": ["menu"]},
        {"file": "b", "with": ["x"], "without": ["y"]},
    ]
    scores = corpus_extract.string_scores(gold, {"a": "a red\ntea and the menu", "b": "x"})
    assert scores == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert corpus_extract.string_scores(gold, {"a": "", "b": ""}) == (1.0, 0.0, 0.0)


def test_a_case_of_mojibake_is_mended_where_the_encoding_is():
    case = {"original": "voilÃ\xa0 le travail", "fixed": "voilà le travail"}
    assert corpus_extract.mends(lambda text: "voilà le travail", case)
    assert not corpus_extract.mends(lambda text: text, case)
    alone = {**case, "fixed-encoding": "it’s", "fixed": "it's"}
    assert corpus_extract.mends(lambda text: "it’s", alone) and not corpus_extract.mends(lambda text: "it's", alone)


def test_spans_are_right_with_both_ends_and_the_kind():
    record = {"text": "", "spans": [[0, 4, "EMAIL_ADDRESS"], [5, 9, "EMAIL_ADDRESS"], [9, 12, "PERSON"]]}
    counts = corpus_annotate.spans([record], lambda text: [(0, 4, "email"), (5, 8, "email"), (20, 22, "ip")])
    assert counts == {
        ("email", "labelled"): 2, ("email", "found"): 2, ("email", "right"): 1, ("ip", "found"): 1,
    }  # fmt: skip


def test_planted_keys_are_where_they_are_said_to_be_and_near_misses_hold_none():
    told = list(planted_keys.records(seed=0))
    assert told == list(planted_keys.records(seed=0)) and told != list(planted_keys.records(seed=1))
    held = {one["form"] for one in told if one["spans"]}
    assert held == planted_keys.FORMS.keys() | {"AWS secret"} and not held & planted_keys.NEAR_MISSES.keys()
    github = [one for one in told if one["form"] == "GitHub, ghp"]
    assert len(github) == 2 * planted_keys.EACH
    assert all(len(one["text"][start:end]) == 40 for one in github for start, end, _ in one["spans"])
    assert all(one["text"][one["spans"][0][0] :].startswith("ghp_") for one in github)


def test_pieces_are_whole_and_answers_are_compared_in_order():
    assert [len(piece) for piece in corpus_annotate.pieces("a" * 450)] == [200, 200]
    assert corpus_annotate.right(["en", "de", "fr", "fr"], ["en", "en", "fr", "de"]) == 0.5


def test_files_of_engines_are_equal_by_their_bytes_and_none_may_lack():
    made = {"one": {"a": [1, "x"], "b": [1, "y"]}, "two": {"a": [1, "x"], "c": [1, "y"]}, "three": {}}
    two, three = corpus_engines.same_files(made, "one")
    assert (two["ours"], two["peer"], two["differ"]) == (1, 3, ["b", "c"])
    assert (three["ours"], three["peer"], three["ratio"]) == (0, 2, 0.0)


def test_a_goal_is_a_peer_of_each_round_and_a_missing_one_is_said():
    row = harness.against("rate", [{"mb": 4.0}, {"mb": 6.0}, {"mb": 5.0}], "mb", "MB/s", 5.0)
    assert (row["ours"], row["peer"], row["ratio"], row["ratio_min"]) == (5.0, 5.0, 1.0, 0.8)
    assert row["peer_name"] == "the goal"
    assert (
        "no such library" in harness.against("rate", harness.Missing("no such library"), "mb", "MB/s", 5.0)["missing"]
    )
    assert harness.counted("pii", 1, 0, "spans", "labels")["ratio"] is None


def test_each_script_that_a_case_runs_is_there():
    for module in (corpus, corpus_annotate, corpus_extract, corpus_engines):
        for word in Path(module.__file__).read_text().split('"'):
            assert not word.startswith("benchmarks/") or (BENCHMARKS.parent / word).is_file(), word
