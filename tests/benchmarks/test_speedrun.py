"""speedrun.py: the peer's recipe is the config, time is read where it is known, a late run is no time."""

import json
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import figure  # noqa: E402
import harness  # noqa: E402
import speedrun  # noqa: E402
from ours import timed_run  # noqa: E402
from ours.recipe import recipe  # noqa: E402

from jaxlm.run_config import load_config  # noqa: E402


def point(step: int, loss: float) -> dict:
    return {"step": step, "seconds": step / 10, "validation_loss": loss}


def ran(*losses: float, target: float = 1.88) -> dict:
    points = [point(50 * n, loss) for n, loss in enumerate(losses, 1)]
    return {**timed_run.reached(points, target), "curve": points, "compile_s": 2.0}


def test_nanogpts_config_is_the_peers_default_recipe():
    found = recipe(load_config("shakespeare_char"))
    assert found == {
        "seed": 1337, "length": 64, "batch": 12, "steps": 2_000, "layers": 4, "heads": 4, "width": 128,
        "feed_forward": 512, "position": "learned", "rotary_base": 10_000.0, "norm": "layer", "qk_norm": False,
        "mlp": "gelu", "tied": True, "softcap": 0.0, "init": 0.02, "zero_output": False, "zero_head": False,
        "optimizer": "adamw", "rate": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1, "clip": 1.0,
        "schedule": "cosine", "warmup": 100, "final": 0.1, "muon_scale": "spectral",
    }  # fmt: skip


def test_the_shipped_speedrun_has_a_counterpart_in_every_field():
    found = recipe(load_config("shakespeare_speedrun"))
    fields = (BENCHMARKS / "peers" / "torch_train.py").read_text() + (BENCHMARKS / "peers" / "torch_gpt.py").read_text()
    assert all(f"    {name}: " in fields for name in found)


def test_muon_brings_both_rates():
    overrides = (
        "optimizer.kind=muon",
        "optimizer.peak_rate=0.03",
        "optimizer.others.peak_rate=0.004",
        "model.residual=zero",
    )
    found = recipe(load_config("shakespeare_char", *overrides))
    assert (found["optimizer"], found["muon_rate"], found["rate"], found["zero_output"]) == ("muon", 0.03, 0.004, True)


@pytest.mark.parametrize(
    "override",
    [
        "model.bias=true", "model.kv_heads=2", "model.residual=plain", "model.std=none", "model.dropout=0.1",
        "model.window=8", "loss.z_loss=1e-4", "optimizer.average=0.99", "optimizer.kind=sgd", "data.rows=packed",
        "data.split.validation=0.2", "init=runs/other", "optimizer.eps=1e-6",
    ],
)  # fmt: skip
def test_what_the_peer_cannot_do_is_refused_by_name(override):
    with pytest.raises(ValueError, match="no counterpart") as error:
        recipe(load_config("shakespeare_char", override))
    field = override.partition("=")[0]
    assert field in str(error.value) or "heads" in str(error.value)


def test_a_decay_that_reaches_into_the_warm_up_is_refused():
    with pytest.raises(ValueError, match="within the warm-up"):
        recipe(load_config("shakespeare_char", "optimizer.schedule.kind=wsd", "optimizer.schedule.decay=1.0"))


def test_a_field_that_nobody_has_thought_of_is_refused(monkeypatch):
    monkeypatch.setitem(speedrun.recipe.__globals__, "FIXED", {})
    with pytest.raises(ValueError, match=r"model\.bias=False"):
        recipe(load_config("shakespeare_char"))


def test_the_curve_has_the_seconds_of_the_evaluated_step():
    lines = [
        {"step": 10, "loss": 3.0, "seconds": 1.0},
        {"step": 20, "loss": 2.5, "seconds": 2.0},
        {"step": 20, "eval/loss": 2.6},
    ]
    metrics = "\n".join(map(json.dumps, lines))
    assert timed_run.curve(metrics) == [{"step": 20, "seconds": 2.0, "validation_loss": 2.6}]
    with pytest.raises(SystemExit, match="log_every"):
        timed_run.curve(metrics + '\n{"step": 25, "eval/loss": 2.4}')


def test_intervals_that_do_not_fit_are_refused_before_anything_runs():
    with pytest.raises(SystemExit, match=r"loop\.log_every=20 does not divide loop\.eval_every=50"):
        speedrun.checked(load_config("shakespeare_char", "loop.log_every=20", "loop.eval_every=50"))


def test_the_first_evaluation_under_the_target_counts():
    run = ran(2.0, 1.88, 1.9, 1.8)
    assert (run["step_at_target"], run["seconds_at_target"]) == (100, 10.0)


def test_a_run_that_misses_the_target_has_no_time_and_says_so():
    results = {"jaxlm": [ran(1.9, 1.87)], "same": [ran(2.0, 1.9, 1.85)], "nanogpt": [ran(2.0, 1.9, 1.91)]}
    same, nanogpt = speedrun.rows(results, {"same": "the same", "nanogpt": "nanoGPT's"})
    assert (same["case"], same["unit"], same["ratio"]) == ("speedrun", "s", 1.5)
    assert nanogpt["ratio"] is None
    assert "did not reach 1.88 nats in 150 steps, its best was 1.9000" in nanogpt["missing"]


def test_switches_become_flags():
    assert speedrun.flag("qk_norm", True) == ["--qk-norm"]
    assert speedrun.flag("tied", False) == ["--no-tied"]
    assert speedrun.flag("rotary_base", 1e4) == ["--rotary-base", "10000.0"]


def test_curves_are_kept_as_json_and_as_a_picture(tmp_path, capsys):
    results = {"jaxlm": [ran(3.0, 1.9, 1.8)], "same": harness.Missing("no torch")}
    result = harness.report("speedrun", speedrun.rows(results, {"same": "the same"}), json=True)
    speedrun.save_curves(result, results, {"jaxlm": "jaxlm <ours>", "same": "the same"}, tmp_path)
    kept = json.loads((tmp_path / "speedrun.json").read_text())
    assert list(kept["curves"]) == ["jaxlm <ours>"] and kept["target"] == 1.88
    picture = xml.etree.ElementTree.parse(tmp_path / "speedrun.svg").getroot()
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 1
    assert "jaxlm <ours>" in "".join(picture.itertext())


def test_the_picture_puts_later_seconds_to_the_right_and_lower_losses_below():
    text = figure.svg("losses", {"a": [(1.0, 2.5), (2.0, 1.9)]}, target=1.88)
    points = text.split('points="')[1].split('"')[0]
    (x1, y1), (x2, y2) = (tuple(map(float, p.split(","))) for p in points.split())
    assert x1 < x2 and y1 < y2
