"""A plan on CPU: its parts add up to what XLA says of the same program; too little room is told with what would do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import typer

from jaxlm import parts
from jaxlm.commands import plan as command
from jaxlm.config import dump, override
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
    """One layer, so that it compiles in a second."""
    return tiny_run.config("texts/", "model.layers=1", "model.dropout=0", *overrides)


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


def test_where_a_step_does_not_fit_changes_are_tried_until_one_does(made, monkeypatch):
    """Which step is compiled is told apart above; here what is tried, and when that ends."""
    asked = []

    def plan(cfg, goal, devices):
        asked.append((cfg.model.remat, cfg.step.microbatches, cfg.data.batch))
        return made._replace(fits=cfg.model.remat == "full" and cfg.step.microbatches == 4)

    monkeypatch.setattr(plans, "plan", plan)
    tried = plans.mend(tiny("data.batch=16", *SHARDED), TWO, jax.devices()[:2], lambda _: None)
    assert asked == [("dots", 1, 16), ("full", 1, 16), ("full", 2, 16), ("full", 4, 16)]
    assert [change.fits for change in tried] == [False, False, False, True]
    assert tried[-1].settings == ["model.remat=full", "step.microbatches=4"]
    said = "\n".join(show.changes(made._replace(fits=False), tried))
    assert "fits: --set model.remat=full --set step.microbatches=4" in said


def test_where_nothing_is_enough_that_is_said(made, monkeypatch):
    monkeypatch.setattr(plans, "plan", lambda *_: made._replace(fits=False))
    tried = plans.mend(tiny("model.remat=full", *SHARDED), TWO, jax.devices()[:2], lambda _: None)
    assert [change.settings[-1] for change in tried] == ["step.microbatches=2", "data.batch=2"]  # of 4 rows on two
    assert "none of them is enough" in "\n".join(show.changes(made._replace(fits=False), tried))


def test_a_search_ranks_what_fits_first_and_says_why_the_rest_was_refused(made, monkeypatch):
    peaks = iter([3, 2, 1])
    monkeypatch.setattr(search, "plan", lambda *_: made._replace(peak=(peak := next(peaks)), fits=peak != 1))
    cfg = tiny("data.batch=6", "model.heads=1")
    found = search.search(cfg, TWO, jax.devices()[:2], 3, lambda _: None)
    assert [(one.peak, one.fits) for one in found.ranked] == [(3, True), (2, True), (1, False)]
    assert found.possible > 3
    assert any("does not divide over mesh axis 'tensor'=2" in why for _, why in found.refused)
    lines = list(show.ranked(found))
    assert any(line.startswith("  fits") for line in lines)
    assert sum("refused" in line for line in lines) == len({why for _, why in found.refused})  # each reason once


def test_ids_that_only_files_know_are_asked_for():
    cfg = tiny('data.tokenizer={"kind": "saved", "path": "elsewhere"}')
    with pytest.raises(UserError, match=r"model\.vocab"):
        plans.plan(cfg, TWO, jax.devices()[:2])
    assert vocab_of(override(cfg, ["model.vocab=300"])) == (300, "model.vocab")


def test_the_verb_prints_one_object_and_reads_no_text(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(target, "prepare", lambda _: None)  # jax has started here
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(dump(tiny(*SHARDED))))  # its data.source is nowhere
    with pytest.raises(typer.Exit) as ended:
        command.main(str(config), target="cpu:2", set_=["model.width=16"], json_=True, search=False, at_most=1)
    assert ended.value.exit_code == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fits"] and facts["peak_bytes_per_device"] > facts["memory"]["parameters"] > 0
    assert facts["mesh"]["fsdp"] == 2 and facts["vocab"] == 257 and facts["tried"] == []


def planned(*arguments: str) -> dict:
    """With the wheels, in a process of its own: the environment is set before jax starts."""
    clean = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    line = [sys.executable, "-m", "jaxlm", "plan", *arguments, "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=clean)
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
