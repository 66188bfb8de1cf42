"""A plan on CPU: its parts add up to what XLA says of the same program; too little room is told with what would do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxlm import parts
from jaxlm.config import override
from jaxlm.errors import UserError
from jaxlm.plan import plan as plans
from jaxlm.plan import search, show, target
from jaxlm.plan.compilation import lay_out, vocab_of
from jaxlm.room import need
from tests import tiny_run

ROOT = Path(__file__).resolve().parents[2]
TWO = target.parse("cpu:2")
SHARDED = ("mesh.layout=sharded", "loss.chunk=4")


def tiny(*overrides):
    return tiny_run.config("texts/", *overrides)


@pytest.fixture(scope="module")
def made():
    return plans.plan(tiny(*SHARDED), TWO, jax.devices()[:2])


def test_a_plan_counts_the_very_program_that_training_compiles(made):
    cfg = tiny(*SHARDED)
    built = parts.build(cfg, lay_out(cfg, TWO), vocab_of(cfg)[0])
    of = built.compiled.executable.memory_analysis()
    assert made.memory.arguments == of.argument_size_in_bytes
    assert made.memory.temporaries == of.temp_size_in_bytes
    assert made.peak == need(built.compiled.executable)
    assert made.parameters == sum(leaf.size for leaf in jax.tree.leaves(built.abstract.params))


def test_the_categories_explain_arguments_and_temporaries(made):
    assert made.memory.explained == pytest.approx(1, abs=0.1)
    weights = 4 * made.parameters
    assert made.memory.parameters == pytest.approx(weights / 2, rel=0.1)  # split over two; norms are on both
    assert made.memory.optimizer == pytest.approx(weights, rel=0.1)  # Adam's two moments
    assert made.memory.logits > 0 and made.memory.activations > 0 and made.memory.batch > 0


def test_what_devices_say_is_counted_against_the_least(made):
    assert made.collectives.keys() >= {"all-gather", "all-reduce"}
    assert made.collective_bytes == sum(traffic.bytes for traffic in made.collectives.values())
    assert made.least_collective_bytes == round(3 * 4 * made.parameters / 2)  # float32, half of it from the other
    assert made.bound.flops > 0 and made.bound.seconds is None  # nothing is published of a CPU


def test_the_largest_buffers_say_where_in_the_model_they_are(made):
    assert [one.bytes for one in made.largest] == sorted((one.bytes for one in made.largest), reverse=True)
    assert any(one.place.startswith("block_") for one in made.largest)


def test_a_plan_as_lines_and_as_json_holds_the_same(made):
    lines = "\n".join([*show.plan(made), *show.changes(made, [])])
    assert "fits" in lines and "all-reduce" in lines and f"{made.parameters:,} parameters" in lines
    facts = json.loads(json.dumps(made.dump()))
    assert facts["peak_bytes_per_device"] == made.peak and facts["fits"] is True
    assert facts["memory"]["parameters"] == made.memory.parameters


def test_where_a_step_does_not_fit_changes_are_tried_until_one_does(monkeypatch):
    cfg = tiny("mesh.layout=single", "data.batch=64", "model.dropout=0")
    alone = target.parse("cpu:1")
    whole = plans.plan(cfg, alone, jax.devices()[:1]).peak
    monkeypatch.setattr(target, "memory", lambda _: int(0.75 * whole))
    tried = plans.mend(cfg, alone, jax.devices()[:1], lambda _: None)
    assert tried and tried[-1].fits and not any(change.fits for change in tried[:-1])
    assert all(change.peak for change in tried)
    changed = override(cfg, tried[-1].settings)
    assert plans.plan(changed, alone, jax.devices()[:1]).peak == tried[-1].peak < 0.75 * whole


def test_a_search_ranks_what_fits_first_and_says_why_the_rest_was_refused():
    found = search.search(tiny("data.batch=6", "model.heads=1"), TWO, jax.devices()[:2], 2, lambda _: None)
    assert len(found.ranked) == 2 and found.possible > 2
    assert all(one.fits for one in found.ranked)
    assert any("does not divide over mesh axis 'tensor'=2" in why for _, why in found.refused)
    assert any(line.startswith("  fits") for line in show.ranked(found))


def test_ids_that_only_files_know_are_asked_for():
    cfg = tiny('data.tokenizer={"kind": "saved", "path": "elsewhere"}')
    with pytest.raises(UserError, match=r"model\.vocab"):
        plans.plan(cfg, TWO, jax.devices()[:2])
    assert vocab_of(override(cfg, ["model.vocab=300"])) == (300, "model.vocab")


def test_the_verb_prints_one_object_and_reads_no_text(tmp_path):
    command = [sys.executable, "-m", "jaxlm", "plan", "shakespeare_char", "--target", "cpu:2", "--json"]
    settings = ["mesh.layout=replicated", "mesh.devices=2", "model.layers=1", f"data.source={tmp_path / 'absent'}"]
    command += [x for one in settings for x in ("--set", one)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["fits"] and facts["peak_bytes_per_device"] > facts["memory"]["parameters"] > 0
    assert facts["mesh"]["data"] == 2 and facts["vocab"] == 512


def planned(*arguments: str) -> dict:
    """With the wheels, in a process of its own: the environment is set before jax starts."""
    clean = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-m", "jaxlm", "plan", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean)
    if "is not installed" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


SMALL = [x for one in ("model.layers=2", "data.length=1024", "data.batch=8") for x in ("--set", one)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v5e:2x4", "h100x8"])
def test_a_step_is_planned_for_devices_that_are_not_there(name):
    facts = planned("llama", "--target", name, *SMALL)
    assert facts["fits"] and facts["memory"]["explained"] == pytest.approx(1, abs=0.1)
    assert facts["collective_bytes"] <= 1.1 * facts["least_collective_bytes"]
    assert 0 < facts["bound"]["mfu"] <= 1 and facts["bound"]["by"] in ("arithmetic", "memory", "network")
    kernels = [note for note in facts["substitutions"] if "triton" in note]
    assert bool(kernels) == (name == "h100x8")  # for want of cuDNN


@pytest.mark.slow
def test_a_step_too_large_for_a_tpu_is_taken_apart_all_the_same():
    larger = [x for one in ("model.remat=none", "data.batch=64") for x in ("--set", one)]
    facts = planned("llama", "--target", "v5e:2x2", *SMALL[:4], *larger)
    assert facts["memory"]["explained"] == pytest.approx(1, abs=0.1)
    if not facts["fits"]:
        assert facts["tried"] and facts["tried"][-1]["fits"]
