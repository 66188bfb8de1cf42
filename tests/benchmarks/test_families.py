"""families.py: who takes turns, what is the same work, and that the steps timed are the loop's on each family."""

import argparse
import math
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # the scripts are run by path

import families  # noqa: E402
import generate  # noqa: E402
import harness  # noqa: E402
from cases import WRITING  # noqa: E402
from family_cases import CASES, Ours  # noqa: E402
from ours import timed_family  # noqa: E402

from jaxlm.models.build import build  # noqa: E402
from tests.rows import short  # noqa: E402

TINY = {
    "lstm": ["model.width=8", "data.batch=2", "data.length=6"],
    "bert": ["model.size=null", "model.layers=1", "model.heads=2", "model.width=8", "data.batch=2"],
    "t5": ["model.layers=1", "model.heads=2", "model.width=8", "data.batch=2"],
    "mingru": ["model.width=8", "model.embedding=8", "data.batch=2", "data.length=6"],
}
TINY["mingru8"] = TINY["mingru"]


def row(**facts) -> dict:
    return {"ours_parameters": 1000, "peer_parameters": 1000, "ours_loss": 5.0, "peer_loss": 5.0} | facts


@pytest.mark.parametrize("facts", [{"peer_parameters": 1011}, {"peer_loss": 5.3}, {"ours_loss": math.nan}])
def test_what_does_less_is_no_peer(facts):
    assert families.same("lstm", row()) == row()
    with pytest.raises(RuntimeError, match="not the same work"):
        families.same("lstm", row(**facts))


def test_a_peer_that_is_missing_leaves_the_row():
    alone = {"ours_parameters": 1000, "ours_loss": 5.0}
    assert families.same("lstm", alone) == alone


def test_two_families_of_ours_take_turns_each_in_its_own_layout(monkeypatch):
    ran = []

    def alternate(contenders, rounds):
        ran.append({side: list(contender.arguments) for side, contender in contenders.items()})
        rate = {"jaxlm": 30.0, "peer": 10.0}
        layout = {side: {"mesh": {"layout": f"the best of {side}"}} for side in contenders}
        about = {"compile_s": 1.0, "loss": 5.0, "parameters": 1000}
        return {s: [{"layout": layout[s], "tokens_per_second": rate[s], **about}] * rounds for s in contenders}

    monkeypatch.setattr(harness, "alternate", alternate)
    (found,) = families.case_rows("mingru", CASES["mingru"], 1, math.inf)
    assert found["ratio"] == 3.0 and found["unit"] == "tokens/s"
    assert found["layout"] == "the best of jaxlm, the peer's the best of peer"
    chosen, timed = ran
    assert all(words[-1] == "--choose" for words in chosen.values())
    assert "--peer" in timed["peer"] and "--peer" not in timed["jaxlm"]
    assert all(f"the best of {side}" in words[-1] for side, words in timed.items())


def test_generate_is_a_case_of_two_and_shares_the_time(monkeypatch):
    asked = argparse.Namespace(steps=2, rounds=3)
    calls = []
    monkeypatch.setattr(generate, "measure", lambda *given: calls.append(given) or [{"case": given[0]}])
    assert families.measured("generate", asked, math.inf) == [{"case": name} for name in WRITING]
    assert [(name, case.calls, rounds) for name, case, rounds, _ in calls] == [(name, 2, 3) for name in WRITING]


@pytest.mark.parametrize("name", short(CASES, "mingru", "mingru8"))
def test_every_step_after_the_warm_up_is_timed(name):
    jax.devices()  # started with the tests' devices; the script would start it with one
    from jaxlm.mesh import MeshConfig
    from jaxlm.training.layout import told

    cfg = timed_family.config(CASES[name].ours, 2, *TINY[name])
    layout = told(MeshConfig(layout="single"), "auto", cores=1)
    found = timed_family.time_family(cfg, CASES[name].ours.vocab, layout.dump())
    assert found["median_ms"] > 0 and 0 < found["loss"] < 12 and found["parameters"] > 0
    assert found["tokens_per_second"] == pytest.approx(1e3 * cfg.data.batch * cfg.data.length / found["median_ms"])


def test_random_batches_are_no_two_alike_and_lanes_go_on():
    cfg = timed_family.config(CASES["lstm"].ours, 2, *TINY["lstm"])
    batches = timed_family.random_batches(cfg, 33_278, count=3)
    assert all(batch.position.min() > 0 for batch in batches), "nothing begins: the state is carried"
    assert not np.array_equal(batches[0].token, batches[1].token)


def test_the_models_of_a_case_have_as_many_parameters():
    def parameters(ours: Ours) -> int:
        cfg = timed_family.config(ours, 2)
        model = build(cfg.model, vocab=ours.vocab, length=cfg.data.length, packed=False, platform="cpu")
        made = jax.eval_shape(model.init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(made))

    case = CASES["mingru"]
    ours, theirs = parameters(case.ours), parameters(case.peer)
    assert abs(ours - theirs) <= families.PARAMETERS * theirs
