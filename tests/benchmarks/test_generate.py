"""generate.py: which rows come out, that both sides are told the same sizes, and that every token asked for is made."""

import sys
from pathlib import Path

import jax
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import generate  # noqa: E402
import harness  # noqa: E402
from cases import WRITING, Writing  # noqa: E402
from ours import timed_generate  # noqa: E402

TINY = Writing(batch=2, prompt=5, new=18, layers=1, heads=2, width=16, vocab=31, length=32, calls=1)


def printed(tokens_per_second: float, **more) -> list[dict]:
    return [{"tokens_per_second": tokens_per_second, "median_ms": 1e6 / tokens_per_second, "parameters": 9, **more}]


RESULTS = {
    "jaxlm": printed(60.0),
    "jaxlm in float32": printed(30.0),
    "float32": printed(20.0),
    "bfloat16": printed(40.0),
    "jaxlm's settings": printed(48.0),
    "tcmalloc": harness.Missing("none is installed"),
}


def test_a_case_has_a_row_for_the_better_for_float32_and_for_each_allocator():
    rows = generate.rows("124m_8", RESULTS, "bfloat16")
    assert [row["ratio"] for row in rows] == [1.5, 1.5, 1.25, None]  # more tokens a second are better
    assert "the better of 2: bfloat16" in rows[0]["peer_name"]
    assert (rows[1]["ours"], rows[1]["peer"]) == (30.0, 20.0)
    assert "none is installed" in rows[3]["missing"]
    assert {row["unit"] for row in rows} == {"tokens/s"}


def test_another_model_is_no_peer():
    with pytest.raises(RuntimeError, match="not the same model"):
        generate.rows("124m_8", RESULTS | {"bfloat16": printed(40.0, parameters=10)}, "bfloat16")


def test_without_transformers_every_row_says_so():
    gone = harness.Missing("package transformers is missing")
    results = dict.fromkeys(RESULTS, gone) | {name: RESULTS[name] for name in generate.OURS}
    rows = generate.rows("124m_1", results, "float32")
    assert all("transformers is missing" in row["missing"] and row["ours"] for row in rows)


def test_the_peer_is_told_every_size_of_the_case():
    words = list(generate.theirs(TINY, "bfloat16").arguments)
    for name, value in TINY._asdict().items():
        assert words[words.index(f"--{name}") + 1] == str(value)
    assert words[-2:] == ["bf16", "--json"]


def test_the_cases_are_gpt2_and_fit_its_context():
    for case in WRITING.values():
        assert (case.layers, case.width, case.vocab) == (12, 768, 50_257)
        assert case.prompt + case.new <= case.length


def test_every_token_asked_for_is_made_and_counted():
    jax.devices()  # started with the tests' devices
    result = timed_generate.time_calls(TINY, "float32")
    assert result["tokens_per_second"] == pytest.approx(2 * 18 / (result["median_ms"] / 1e3))
    # Embedding and position; four products of attention and two of the MLP with biases; three norms.
    blocks = 4 * (16 * 16 + 16) + 2 * 16 * 64 + 64 + 16
    assert result["parameters"] == (31 + 32) * 16 + blocks + 3 * 2 * 16
    assert result["precision"] == "float32"
