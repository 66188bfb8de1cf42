"""train_step.py: who takes turns, which rows come out, and that the steps timed are those of the loop."""

import sys
from pathlib import Path

import jax
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import harness  # noqa: E402
import train_step  # noqa: E402
from cases import CASES  # noqa: E402
from ours import timed_step  # noqa: E402

TINY = CASES["nanogpt"]._replace(batch=2, length=8, layers=1, heads=2, width=16, vocab=11, steps=3)


def printed(milliseconds: float, **more) -> list[dict]:
    return [{"median_ms": milliseconds, "compile_s": 1.0, "loss": 4.0, "parameters": 100, **more}]


RESULTS = {
    "jaxlm": printed(10.0),
    "compiled bfloat16": printed(20.0),
    "eager bfloat16": printed(19.0),
    "eager float32": printed(30.0),
    "jaxlm's settings": printed(15.0),
    "tcmalloc": harness.Missing("none is installed"),
}


def test_a_case_has_a_row_for_the_best_for_eager_and_for_each_allocator():
    rows = train_step.rows("nanogpt", RESULTS, ["compiled bfloat16", "eager bfloat16", "eager float32"])
    assert [row["case"] for row in rows] == ["nanogpt"] * 4
    assert [row["ratio"] for row in rows] == [1.9, 3.0, 1.5, None]  # the rounds, not the first look, say who is best
    assert "best of 4: eager bfloat16" in rows[0]["peer_name"]
    assert "none is installed" in rows[3]["missing"]
    assert {row["unit"] for row in rows} == {"ms"}


def test_without_torch_every_row_says_so():
    gone = harness.Missing("package torch is missing")
    results = dict.fromkeys(RESULTS, gone) | {"jaxlm": printed(10.0)}
    look = dict.fromkeys(train_step.WAYS, gone)
    fastest = train_step.fastest_ways(look)
    assert train_step.close(look, fastest) == ["eager float32"]
    rows = train_step.rows("124m", results, fastest)
    assert all("torch is missing" in row["missing"] and row["ours"] == 10.0 for row in rows)


def test_another_model_is_no_peer():
    results = RESULTS | {"eager float32": printed(30.0, parameters=101)}
    with pytest.raises(RuntimeError, match="not the same model"):
        train_step.rows("nanogpt", results, ["compiled bfloat16", "eager float32"])


def test_what_may_yet_be_the_best_takes_turns_too():
    look = {way: printed(ms) for way, ms in zip(train_step.WAYS, (40.0, 21.0, 30.0, 20.0), strict=True)}
    fastest = train_step.fastest_ways(look)
    assert fastest[0] == "compiled bfloat16"
    assert train_step.close(look, fastest) == ["compiled bfloat16", "eager bfloat16"]


def test_the_peer_is_told_every_size_of_the_case():
    words = list(train_step.torch_step(TINY, "compiled bfloat16").arguments)
    for name, value in TINY._asdict().items():
        assert words[words.index(f"--{name}") + 1] == str(value)
    assert {"--compile", "bf16", "--json"} <= set(words)


def test_jaxlm_gets_no_setting_of_this_shell(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=2")
    environment = train_step.ours("nanogpt").environment
    assert environment["GLIBC_TUNABLES"] == environment["LD_PRELOAD"] == environment["JAXLM_ALLOCATOR"] == ""
    assert environment["JAX_PLATFORMS"] == "cpu"


def test_every_step_after_the_warm_up_is_timed():
    from jaxlm.mesh import MeshConfig
    from jaxlm.training.layout import told

    jax.devices()  # started with the tests' devices; the script would start it with one
    layout = told(MeshConfig(layout="single"), "auto", cores=1)
    result = timed_step.time_steps(TINY, layout.dump())
    assert result["devices"] == 1 and result["median_ms"] > 0 and 0 < result["loss"] < 5
    # embedding and position, four products of attention, two of the MLP, three scales
    assert result["parameters"] == (11 + 8) * 16 + 4 * 16 * 16 + 2 * 16 * 64 + 3 * 16


def test_the_config_is_the_case_with_nanogpts_optimiser():
    cfg = timed_step.config(CASES["124m"])
    assert (cfg.model.dims.N, cfg.model.dims.D, cfg.model.vocab, cfg.data.batch) == (12, 768, 50_257, 4)
    optimizer = cfg.optimizer
    assert (optimizer.beta1, optimizer.beta2, optimizer.decay, optimizer.clip) == (0.9, 0.99, 0.1, 1.0)
