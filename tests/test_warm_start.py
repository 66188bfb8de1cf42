"""`init`: a run begins with another's parameters, with the heads of its own task, or not at all."""

import json
import re
import shlex
import shutil

import jax
import numpy as np
import pytest

from jaxlm import exchange, run, saved, score
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import parse
from jaxlm.errors import UserError
from jaxlm.flat import flatten
from jaxlm.models.build import build
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.family import Head
from jaxlm.models.heads import HEADS
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig, load_config
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("build_once")

SMALL = {"layers": 1, "width": 16, "precision": "float32"}
DECODER, ENCODER = SMALL | {"kind": "decoder", "heads": 2}, SMALL | {"kind": "encoder", "heads": 2}
CLASSES = {"kind": "classification", "classes": ["old", "new"]}


def train(folder, name, model, objective, *, init=None, steps=2, more=(), **data):
    """A run of some steps, on plain text or on labelled lines."""
    if objective["kind"] in ("masked", "next_token", "prefix", "spans"):
        source = tiny_run.write_text(folder)
    else:
        source = folder / "labelled.jsonl"
        lines = [{"text": f"{word} {n}", "label": word} for n in range(40) for word in ("old", "new")]
        source.write_text("".join(json.dumps(line) + "\n" for line in lines))
        data = {"split": {"kind": "hash", "validation": 0.2, "test": 0}} | data
    settings = tiny_run.config(source, "optimizer.peak_rate=1e-9", "optimizer.schedule.warmup=0", *more).model_dump()
    settings["data"] |= {"objective": objective, "length": 16, "batch": 4} | data
    settings |= {"model": model, "init": None if init is None else str(init), "seed": int(init is not None)}
    settings["loop"] |= {"steps": steps}
    run.train(parse(settings, RunConfig), folder / name, shards_dir=folder / "shards")
    return folder / name


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """`begun(model, objective)`: a run to begin with, trained once for all tests that only read it."""
    folder, made = tmp_path_factory.mktemp("begun"), {}

    def of(model, objective):
        key = json.dumps([model, objective])
        if key not in made:
            made[key] = train(folder, f"first_{len(made)}", model, objective)
        return made[key]

    return of


def parameters(path):
    return {name: np.asarray(leaf) for name, leaf in flatten(saved.load(path).params).items()}


def both(path):
    """The embedding of the average and of the last step."""
    with Checkpoints(path / "checkpoints", CheckpointConfig(), read_only=True) as checkpoints:
        flat = checkpoints.read(prefix="")[1]
    return flat["average/embedding"], flat["params/embedding"]


@pytest.mark.parametrize(
    "model, first, then, drawn, left",
    [
        (ENCODER, {"kind": "masked"}, CLASSES, {"classifier", "classifier_b", "pooler"},
         {"head_b", "transform", "transform_norm"}),
        pytest.param(DECODER, {"kind": "next_token"}, CLASSES | {"at": "last"}, {"classifier", "classifier_b"}, set(),
                     marks=pytest.mark.slow),
        pytest.param(DECODER | {"tied": False}, {"kind": "next_token"}, CLASSES | {"at": "last"},
                     {"classifier", "classifier_b"}, {"head"}, marks=pytest.mark.slow),
        (DECODER, {"kind": "next_token"}, {"kind": "prefix"}, set(), set()),
    ],
)  # fmt: skip
def test_the_body_is_kept_and_the_heads_are_those_of_the_task(tmp_path, caplog, begun, model, first, then, drawn, left):
    begun = begun(model, first)
    tuned = train(tmp_path, "tuned", model, then, init=begun)
    before, after = parameters(begun), parameters(tuned)
    top = lambda names: {name.partition("/")[0] for name in names}
    assert top(after.keys() - before.keys()) == drawn and top(before.keys() - after.keys()) == left
    for name in before.keys() & after.keys():
        np.testing.assert_allclose(after[name], before[name], atol=1e-7)
    told = [message.split(": ") for message in caplog.messages if message.startswith("init=")]
    assert {what.split(",")[0]: {*names.split(", ")} for _, what, names in told} == {
        what: names for what, names in (("drawn at random", drawn), ("left behind", left)) if names
    }
    assert np.isfinite(score.evaluate(tuned)["loss"])


@pytest.mark.parametrize(
    "classes",
    [pytest.param(["old", "new", "unknown"], marks=pytest.mark.slow), ["new", "old"], ["old", "new"]],
    ids=str,
)
def test_a_head_is_kept_only_where_it_tells_the_same_apart(tmp_path, begun, classes):
    begun = begun(ENCODER, CLASSES)
    tuned = train(tmp_path, "tuned", ENCODER, CLASSES | {"classes": classes}, init=begun)
    before, after = parameters(begun)["classifier"], parameters(tuned)["classifier"]
    assert len(after) == len(classes)
    kept = before.shape == after.shape and bool(np.allclose(before, after, atol=1e-7))
    assert kept == (classes == CLASSES["classes"])


def test_ids_and_positions_that_a_task_does_not_use_are_kept(tmp_path, begun):
    """Hidden tokens have an id of their own, which classes do not need; shorter rows read fewer positions."""
    begun = begun(ENCODER, {"kind": "masked"})
    tuned = train(tmp_path, "tuned", ENCODER, CLASSES, init=begun, length=8)
    shapes = {name: parameters(tuned)[name].shape for name in ("embedding", "position")}
    assert shapes == {"embedding": (258, 16), "position": (16, 16)}
    assert train(tmp_path, "tuned", ENCODER, CLASSES, init=begun, length=8) == tuned, "and the run is known again"
    train(tmp_path, "on", ENCODER, CLASSES, init=tuned, length=8, steps=4)


def test_a_run_with_more_positions_than_its_rows_goes_out_and_comes_back(tmp_path, begun):
    begun = begun(DECODER | {"bias": True}, {"kind": "next_token"})
    tuned = train(tmp_path, "tuned", DECODER | {"bias": True}, {"kind": "next_token"}, init=begun, length=8)
    exchange.export_huggingface(tuned, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_positions"] == 16
    exchange.import_huggingface(tmp_path / "out", tmp_path / "back")
    np.testing.assert_array_equal(parameters(tmp_path / "back")["position"], parameters(tuned)["position"])


def test_an_encoder_decoder_keeps_the_ids_of_hidden_spans_and_its_positions(tmp_path):
    model = SMALL | {"kind": "encoder_decoder", "heads": 2, "position": "learned", "max_length": 32}
    begun = train(tmp_path, "first", model, {"kind": "spans"}, rows="chunked", length=32)
    then = {"kind": "prefix", "share": 0.5, "source": True}
    tuned = train(tmp_path, "tuned", model | {"max_length": None}, then, init=begun, rows="chunked")
    before, after = parameters(begun), parameters(tuned)
    assert len(before["embedding"]) > 257 and before.keys() == after.keys()
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-7)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"width": 32}, marks=pytest.mark.slow),
        pytest.param({"layers": 2}, marks=pytest.mark.slow),
        {"activation": "relu2", "bias": False},
    ],
    ids=str,
)
def test_another_body_is_refused_before_anything_is_trained_and_the_name_is_free(tmp_path, begun, change):
    begun = begun(DECODER | {"bias": True}, {"kind": "next_token"})
    with pytest.raises(UserError, match=r"is saved|is wanted") as error:
        train(tmp_path, "tuned", DECODER | {"bias": True} | change, {"kind": "next_token"}, init=begun)
    assert not (tmp_path / "tuned").exists()
    command = re.search(r"jaxlm train (.*data\.source=)TEXT", str(error.value))
    model, *options = shlex.split(command[1] + str(tiny_run.write_text(tmp_path)))
    assert (model, options[:2]) == (str(begun), ["--name", "NEW"]) and set(options[2::2]) == {"--set"}
    cfg = load_config(model, "name=NEW", *options[3::2])
    assert np.isfinite(run.train(cfg, tmp_path / "new", shards_dir=tmp_path / "shards").metrics["loss"])


def test_rows_longer_than_the_learned_positions_are_refused(tmp_path, begun):
    begun = begun(ENCODER, {"kind": "masked"})
    with pytest.raises(UserError, match=r"position: float32\[16,16\] is saved, float32\[32,16\] is wanted"):
        train(tmp_path, "tuned", ENCODER, {"kind": "masked"}, init=begun, length=32)


def test_a_moving_average_is_what_another_run_begins_with(tmp_path):
    fast = ("optimizer.peak_rate=0.1", "optimizer.average=0.99")
    begun = train(tmp_path, "first", DECODER, {"kind": "next_token"}, more=fast)
    (average, last), (after, _) = (both(path) for path in (begun, train(
        tmp_path, "tuned", DECODER, {"kind": "next_token"}, init=begun, more=("optimizer.average=0.99",)
    )))  # fmt: skip
    assert np.abs(average - last).max() > 1e-3
    np.testing.assert_allclose(after, average, atol=1e-6)


def test_a_start_from_a_run_that_saved_nothing_whole_is_refused_and_the_name_is_free(tmp_path, begun):
    begun = shutil.copytree(begun(DECODER, {"kind": "next_token"}), tmp_path / "first")
    for manifest in begun.glob("checkpoints/*/manifest.json"):
        manifest.unlink()
    with pytest.raises(UserError, match="has no whole checkpoint to start from: jaxlm verify"):
        train(tmp_path, "tuned", DECODER, {"kind": "next_token"}, init=begun)
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    "cfg",
    [
        EncoderConfig(heads=2, **SMALL, sentence_order=True),
        EncoderConfig(heads=2, **SMALL, tied=False),
        TransformerConfig(heads=2, **SMALL, tied=False),
        RecurrentConfig(**SMALL, tied=False, bias=True),
        RecurrentConfig(**SMALL, bidirectional=True, tied=False),
    ],
    ids=lambda cfg: cfg.kind,
)
def test_heads_are_all_in_which_models_of_one_body_differ(cfg):
    def names(head):
        init = build(cfg, vocab=8, length=8, packed=True, platform="cpu", head=head).init
        return {name.partition("/")[0] for name in jax.eval_shape(init, jax.random.key(0))}

    heads = Head(), Head("classes", 2), Head("tags", 2), Head("span")
    bodies = {frozenset(names(head) - HEADS) for head in heads}
    assert len(bodies) == 1
    assert not any("block" in name or name in ("embedding", "position", "kind") for name in HEADS)
