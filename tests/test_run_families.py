"""Every family trains by the same loop: eight devices are one, and a run that stopped goes on bit for bit.

One row for each family and what it learns; `tests/models/test_families.py` has what holds for models alone.
"""

import contextlib
import itertools
import json

import jax
import numpy as np
import pytest

from jaxlm import parts, run, session
from jaxlm.config import parse
from jaxlm.data.loader import batches
from jaxlm.data.objectives import vocabulary
from jaxlm.errors import Interrupted, UserError
from jaxlm.mesh import MeshConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.layout import Layout
from tests import tiny_run
from tests.rows import short
from tests.training.tiny import assert_same_bits, relative_distance

pytestmark = pytest.mark.usefixtures("build_once")

SMALL = {"layers": 1, "heads": 2, "width": 16, "precision": "float32", "dropout": 0.1}
CELL = {"kind": "recurrent", "layers": 1, "width": 16, "precision": "float32", "dropout": 0.1}
DECODER = {"kind": "decoder", **SMALL}
ENCODER = {"kind": "encoder", **SMALL}
LINEAR = {"kind": "linear", "width": 16, "ngrams": 3, "buckets": 1024}
T5 = {"kind": "encoder_decoder", **SMALL}
MASKED, CLASSES = {"kind": "masked", "whole_words": True}, {"kind": "classification", "classes": ["old", "new"]}
# name -> model, objective, rows
FAMILIES = {
    "lstm": (CELL, {"kind": "next_token"}, "lanes"),
    "gru": (CELL | {"cell": "gru"}, {"kind": "next_token"}, "packed"),
    "mingru": (CELL | {"cell": "mingru"}, {"kind": "next_token"}, "lanes"),
    "bilstm": (CELL | {"bidirectional": True, "tied": False}, MASKED, "packed"),
    "gpt2": (DECODER | {"bias": True}, {"kind": "next_token"}, "chunked"),
    "llama": (DECODER | {"position": "rotary", "norm": "rmsnorm", "activation": "swiglu", "tied": False, "kv_heads": 1},
              {"kind": "next_token"}, "packed"),
    "prefix": (DECODER | {"position": "alibi"}, {"kind": "prefix"}, "packed"),
    "last": (DECODER, CLASSES | {"at": "last", "texts": 3}, "packed"),
    "bert": (ENCODER | {"sentence_order": True}, {"kind": "masked", "sentence_order": True}, "chunked"),
    "modern": (ENCODER | {"position": "rotary", "activation": "geglu", "post_norm": False, "bias": False, "layers": 2,
                          "window": 4, "global_every": 2}, MASKED | {"rate": 0.3}, "packed"),
    "classes": (ENCODER, CLASSES | {"second_field": "other"}, "packed"),
    "tags": (ENCODER, {"kind": "tagging", "classes": ["old", "new"]}, "packed"),
    "linear": (LINEAR, CLASSES, "packed"),
    "span": (ENCODER, {"kind": "extraction", "question_length": 6, "stride": 4}, "packed"),
    "t5": (T5, {"kind": "spans"}, "chunked"),
    "seq2seq": (T5 | {"position": "sinusoidal", "post_norm": True, "norm": "layernorm", "bias": True},
                {"kind": "seq2seq", "source_length": 24}, "packed"),
    "half": (T5 | {"activation": "geglu", "tied": False}, {"kind": "prefix", "share": 0.5, "source": True}, "chunked"),
}  # fmt: skip
LABELLED = ("classification", "tagging", "extraction", "seq2seq")
SHARED = ("mingru", "linear")  # in the fast suite, as are stacks in tests/models/test_build.py; the others are slow,
RESUMED = ("bert",)  # as all but these are


def record(n: int, kind: str) -> dict:
    words = [f"w{n % 7}", "sees", f"v{n % 5}", f"n{n}"]
    text, new = " ".join(words), ["old", "new"][n % 2]
    if kind == "tagging":
        return {"text": words, "tags": [new, "old", "new", "old"]}
    if kind == "seq2seq":
        return {"source": text, "target": " ".join(words[::-1])}
    if kind == "extraction":
        return {"question": "who?", "text": text, "answers": {"text": ["sees"], "answer_start": [text.index("sees")]}}
    return {"text": text, "label": new, "other": words[0]}


def source_of(kind: str, folder):
    if kind not in LABELLED:
        return tiny_run.write_text(folder)
    path = folder / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(record(n, kind)) + "\n" for n in range(120)))
    return path


def config(name: str, folder, steps=6) -> RunConfig:
    model, objective, rows = FAMILIES[name]
    settings = tiny_run.config(source_of(objective["kind"], folder)).model_dump()
    settings["data"] |= {"objective": objective, "rows": rows, "length": 32, "batch": 8}
    if objective["kind"] in LABELLED:
        settings["data"]["split"] = {"kind": "hash", "validation": 0.1, "test": 0}
    settings["loop"] |= {"steps": steps, "log_every": 1, "eval_every": 3, "save_every": 2}
    return parse(settings | {"model": model}, RunConfig)


@pytest.mark.parametrize("name", short(FAMILIES, *SHARED))
def test_eight_devices_are_one(name, tmp_path):
    """Gradients, seen in the first moments of a step, and the loss: masks and penalties included."""
    cfg = config(name, tmp_path)
    shards = run.prepare(cfg.data, tmp_path / "shards", workers=1)
    loader = batches(shards, cfg.data)
    batch = next(loader)
    loader.close()
    found, vocab = [], vocabulary(cfg.data.objective, cfg.data.length, shards)
    for mesh, way in ((MeshConfig(layout="single"), "jit"), (MeshConfig(layout="replicated", devices=8), "shard_map")):
        built = parts.build(cfg, Layout(mesh, None, way, "", {}), vocab)
        state, metrics = built.compiled.step(built.compiled.enter(built.init()), built.compiled.place(batch))
        found.append((jax.device_get(built.compiled.leave(state)), jax.device_get(metrics)))
    (one, of_one), (eight, of_eight) = found
    assert of_one["grad_norm"] > 0
    np.testing.assert_allclose(of_eight["loss"], of_one["loss"], rtol=1e-5)
    assert of_eight["tokens"] == of_one["tokens"]
    assert relative_distance(eight.opt, one.opt) < 1e-5


@pytest.mark.parametrize("name", short(FAMILIES, *SHARED))
def test_a_strict_step_has_the_same_bits_on_one_two_four_and_eight_devices(name, tmp_path):
    """The whole state after three steps, what the steps say, and the scores of held-out rows."""
    cfg = parse(tiny_run.override(config(name, tmp_path), ["step.deterministic=strict"]).model_dump(), RunConfig)
    shards = run.prepare(cfg.data, tmp_path / "shards", workers=1)
    vocab = vocabulary(cfg.data.objective, cfg.data.length, shards)
    found = [strict_bits(cfg, shards, vocab, devices) for devices in (1, 2, 4, 8)]
    assert found[0][1]["grad_norm"] > 0
    for other in found[1:]:
        assert_same_bits(other, found[0])


def strict_bits(cfg, shards, vocab, devices):
    """(state, metrics of the last step, scores of the rows of the first batch) after three steps."""
    mesh = MeshConfig(layout="single") if devices == 1 else MeshConfig(layout="replicated", devices=devices)
    built = parts.build(cfg, Layout(mesh, None, "strict", "", {}), vocab)
    state, loader = built.compiled.enter(built.init()), batches(shards, cfg.data)
    for batch in itertools.islice(loader, 3):
        state, metrics = built.compiled.step(state, built.compiled.place(batch))
    loader.close()
    state = built.compiled.leave(state)
    scores, _ = built.sums(state.params, built.place(batch), parts.carry(cfg, built.family))
    return jax.device_get((state, metrics, scores))


@pytest.mark.parametrize("name", short(FAMILIES, *RESUMED))
def test_a_run_that_stopped_goes_on_bit_for_bit(name, tmp_path, monkeypatch):
    cfg = config(name, tmp_path)
    run.train(cfg, tmp_path / "whole", shards_dir=tmp_path / "shards")

    @contextlib.contextmanager
    def stopping():
        asked = itertools.count(1)
        yield lambda: next(asked) == 3

    with monkeypatch.context() as patched:
        patched.setattr(session, "stop_on_signals", stopping)
        with pytest.raises(Interrupted):
            run.train(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    run.train(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    assert tiny_run.parameters(tmp_path / "run") == tiny_run.parameters(tmp_path / "whole")
    assert tiny_run.metrics(tmp_path / "run") == tiny_run.metrics(tmp_path / "whole")


def test_rows_that_ask_for_nothing_are_told_before_training(tmp_path):
    cfg = config("half", tmp_path)
    wide = cfg.model_copy(update={"data": cfg.data.model_copy(update={"length": 2**20})})
    with pytest.raises(UserError, match="'prefix' asks for nothing in any row of the train split"):
        run.train(wide, tmp_path / "run", shards_dir=tmp_path / "shards")
    assert not (tmp_path / "run").exists()
