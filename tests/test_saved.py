"""A run reopened: its parameters, its tokenizer, and what it scores."""

import shutil

import jax
import numpy as np
import pytest

import jaxlm
from jaxlm import saved, score
from jaxlm.data.loader import evaluation_batches
from jaxlm.data.shards import Shards
from jaxlm.errors import Damaged, Diverged, UserError
from jaxlm.flat import flatten, parameters_sha256
from jaxlm.generation.beam import BeamConfig
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.run import train
from jaxlm.run_folder import RunFolder, read_json, write_json
from tests import tiny_run
from tests.faults import injector


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    cfg = tiny_run.config(tiny_run.write_text(folder))
    train(cfg, folder / "run", shards_dir=folder / "shards")
    return folder / "run"


def test_a_run_unpacks_as_model_parameters_and_tokenizer(trained):
    model, params, tokenizer, *_ = jaxlm.load(trained)
    assert model.vocab == tokenizer.vocab == 257
    flat = {name: np.asarray(leaf) for name, leaf in flatten({"params": params}).items()}
    assert parameters_sha256(flat) == tiny_run.parameters(trained)
    assert tokenizer.decode(tokenizer.encode("nobody sees.\n")) == "nobody sees.\n"


def test_a_mesh_that_now_has_too_many_devices_becomes_one(trained, tmp_path, caplog):
    run = RunFolder(shutil.copytree(trained, tmp_path / "run"))
    layout = read_json(run.layout)
    write_json(run.layout, layout | {"mesh": layout["mesh"] | {"layout": "sharded", "devices": 3}})
    found = score.evaluate(run.path)
    np.testing.assert_allclose(found["loss"], score.evaluate(trained)["loss"], rtol=1e-6)
    assert "evaluating on one device" in caplog.text


def test_another_step_can_be_opened(trained):
    newest, before = saved.load(trained), saved.load(trained, step=15)
    assert (newest.step, before.step) == (20, 15)
    same = jax.tree.map(lambda a, b: (np.asarray(a) == np.asarray(b)).all(), newest.params, before.params)
    assert not all(jax.tree.leaves(same))


def test_a_model_that_was_opened_predicts_as_it_scored(trained):
    """The score spelled out: the mean of -log p over the held-out bytes, from plain logits."""
    model, params, _, cfg, _ = saved.load(trained)
    nats, weight, hidden = 0.0, 0.0, jax.jit(model.hidden)
    source = evaluation_batches(Shards.open(read_json(RunFolder(trained).data)["shards"]), cfg.data)
    for batch in map(jax.device_put, source):
        logits = np.asarray(hidden(params, batch) @ model.head(params).T, np.float64)
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        of_target = np.take_along_axis(log_p, np.asarray(batch.target)[..., None], -1)[..., 0]
        nats -= (of_target * batch.weight).sum()
        weight += batch.weight.sum()
    found = score.evaluate(trained)
    assert found["tokens"] == weight
    np.testing.assert_allclose(found["loss"], nats / weight, rtol=1e-5)


def test_a_damaged_newest_step_falls_back_with_a_warning(trained, tmp_path, caplog):
    copy = shutil.copytree(trained, tmp_path / "run")
    injector.flip_byte(copy / "checkpoints" / "20" / "manifest.json", seed=0)
    assert saved.load(copy).step == 15
    assert "is damaged, not used" in caplog.text
    with pytest.raises(Damaged):
        saved.load(copy, step=20)


def test_a_tokenizer_of_another_size_does_not_open_the_run(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    config = (copy / "config.json").read_text().replace('"vocab": null', '"vocab": 100')
    (copy / "config.json").write_text(config)
    with pytest.raises(UserError, match=r"model.vocab=100 is under the 257 ids of the tokenizer"):
        saved.load(copy)


def test_a_run_that_saved_nothing_cannot_be_opened(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(UserError, match="no checkpoint"):
        saved.load(copy)


def test_where_devices_are_too_few_for_the_layout_one_is_used(trained, tmp_path, caplog):
    copy = shutil.copytree(trained, tmp_path / "run")
    layout = (copy / "layout.json").read_text().replace('"devices": 2', '"devices": 64')
    (copy / "layout.json").write_text(layout)
    found = score.evaluate(copy)
    assert "evaluating on one device" in caplog.text
    np.testing.assert_allclose(found["loss"], score.evaluate(trained)["loss"], rtol=1e-5)


def test_an_empty_split_is_named(tmp_path):
    cfg = tiny_run.config(tiny_run.write_text(tmp_path), "data.split.test=0", "loop.steps=5")
    train(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    with pytest.raises(UserError, match=r"split 'test'.*is empty"):
        score.evaluate(tmp_path / "run", split="test")


def test_text_with_characters_never_seen_is_scored_too(trained, tmp_path):
    (tmp_path / "other.txt").write_text("ζ ✓ \t\n" * 20, encoding="utf-8")
    found = score.evaluate(trained, text=tmp_path / "other.txt")
    assert np.isfinite(found["loss"]) and found["bytes"] == (tmp_path / "other.txt").stat().st_size


def test_a_run_without_a_validation_split_trains_and_says_what_it_cannot_score(tmp_path):
    cfg = tiny_run.config(tiny_run.write_text(tmp_path), "data.split.validation=0", "data.split.test=0", "loop.steps=5")
    train(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    assert [sorted(line)[0].startswith("eval") for line in tiny_run.metrics(tmp_path / "run")] == [False]
    with pytest.raises(UserError, match="is empty"):
        score.evaluate(tmp_path / "run")


def test_a_search_by_beams_hands_each_text_over_as_a_whole(trained):
    shown = []
    show = lambda row, text: shown.append((row, text))
    found = jaxlm.generate(trained, ["the ", "my "], beams=BeamConfig(beams=3, best=2), tokens=6, on_text=show)
    assert [text for _, text in sorted(shown)] == [completion.text for completion in found.completions]
    assert found.settings == {"beams": 3, "best": 2, "length_penalty": 1.0, "tokens": 6}


@pytest.mark.parametrize("more", [{"seed": 0}, {"sampling": SamplingConfig()}], ids=["seed", "sampling"])
def test_beams_draw_nothing(trained, more):
    with pytest.raises(UserError, match="leave out sampling and seed"):
        jaxlm.generate(trained, ["the "], beams=BeamConfig(), **more)


def test_a_loaded_run_generates_without_being_loaded_again(trained, monkeypatch):
    loaded = jaxlm.load(trained, step=15)
    wanted = jaxlm.generate(trained, ["the "], tokens=6, step=15)
    monkeypatch.setattr(saved, "load", None)
    assert jaxlm.generate(loaded, ["the "], tokens=6) == wanted
    with pytest.raises(UserError, match="step=20, but step 15 is loaded"):
        jaxlm.generate(loaded, ["the "], step=20)


def test_a_model_that_diverged_has_no_score(trained, monkeypatch):
    original = saved.load

    def diverged(*arguments):
        loaded = original(*arguments)
        return loaded._replace(params=jax.tree.map(lambda x: x * np.nan, loaded.params))

    monkeypatch.setattr(score, "load", diverged)
    with pytest.raises(Diverged, match="step 20: the loss is nan"):
        score.evaluate(trained)


def test_more_lanes_than_tokens_are_refused(trained):
    shards = Shards.open(read_json(RunFolder(trained).data)["shards"])
    tokens = shards.counts("validation")["predicted"]
    assert score.counted(shards, "validation", tokens)["predicted"] == tokens
    with pytest.raises(UserError, match=f"--batch {tokens + 1} lanes of {tokens:,} tokens: ask for fewer"):
        score.counted(shards, "validation", tokens + 1)
