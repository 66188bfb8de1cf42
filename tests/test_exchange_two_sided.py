"""BERT and T5 from elsewhere: runs with the objective that they were trained for, and what can be asked of them."""

import json
import shutil

import jax
import numpy as np
import pytest

import jaxlm
from jaxlm import exchange, score
from jaxlm.batch import Source
from jaxlm.data import loader
from jaxlm.data.masking import Masked, Spans
from jaxlm.errors import UserError
from jaxlm.flat import flatten
from jaxlm.generation.sampling import SamplingConfig
from jaxlm.interop import huggingface
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import V1_1, EncoderDecoderConfig
from jaxlm.models.family import tokens
from jaxlm.run_config import load_config
from tests.data.huggingface_kinds import TEXTS, with_sentinels, write
from tests.interop.test_huggingface import change, edit, without
from tests.interop.test_layouts import parameters
from tests.rows import short

SMALL = {"layers": 1, "heads": 2, "width": 16, "ff_width": 24, "vocab": 310, "max_length": 40, "precision": "float32"}
MODELS = {
    "bert": EncoderConfig(**SMALL, sentence_order=True),
    "masked": EncoderConfig(**SMALL),
    "t5": EncoderDecoderConfig(**SMALL, head_width=6, decoder_layers=2),
    "v1.1": EncoderDecoderConfig(**SMALL, **V1_1),
}


def model_folder(folder, name):
    """A Hugging Face model, as somebody else might have written it."""
    cfg, writes = MODELS[name], name in ("t5", "v1.1")
    write("unigram" if writes else "wordpiece", folder, tokenizer_config={"model_max_length": 40})
    if writes:
        with_sentinels(folder)
    params = {path: 0.1 * array for path, array in parameters(cfg).items()}
    generation = {"pad_token_id": 0, "eos_token_id": 1} | ({"decoder_start_token_id": 0} if writes else {})
    huggingface.write(folder, cfg, params, length=40, generation=generation if writes else {"pad_token_id": 0})
    return edit(folder, jaxlm=None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {name: model_folder(tmp_path_factory.mktemp(name) / "model", name) for name in MODELS}
    bare = model_folder(tmp_path_factory.mktemp("bare") / "model", "bert")  # as BertModel is saved
    return made | {"bare": edit(change(bare, without("cls.", "bert.")), architectures=["BertModel"])}


@pytest.fixture(scope="module")
def imports(folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {name: exchange.import_huggingface(folder, root / name) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(TEXTS[:6]), encoding="utf-8")
    return path


def test_a_t5_begins_with_any_id_that_its_config_names(folders, tmp_path):
    folder = edit(shutil.copytree(folders["t5"], tmp_path / "model"), decoder_start_token_id=50)
    assert jaxlm.load(exchange.import_huggingface(folder, tmp_path / "run").run).tokenizer.start == 50


@pytest.mark.parametrize("start", ["x", -1, 10**9, [], 1e300, True])
def test_a_t5_that_begins_with_nothing_is_refused(folders, tmp_path, start):
    folder = edit(shutil.copytree(folders["t5"], tmp_path / "model"), decoder_start_token_id=start)
    with pytest.raises(UserError, match=r"decoder_start_token_id=.* is no id of its tokenizer"):
        exchange.import_huggingface(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["bert", "masked", "bare"])
def test_a_bert_becomes_a_run_that_fills_gaps(name, imports):
    found = imports[name]
    model, params, tokenizer, cfg, _ = jaxlm.load(found.run)
    assert isinstance(cfg.data.objective, Masked) and not cfg.data.objective.sentence_order
    assert isinstance(cfg.model, EncoderConfig) and cfg.model.sentence_order == (name != "masked")
    assert (found.architecture, model.vocab, cfg.data.length, tokenizer.mask) == ("bert", 310, 40, 4)
    flat, wanted = flatten(params), parameters(MODELS["masked" if name == "masked" else "bert"])
    assert flat.keys() == wanted.keys()
    for path in flat.keys() - {*found.fresh}:
        np.testing.assert_array_equal(np.asarray(flat[path]), np.float32(0.1) * wanted[path])


@pytest.mark.parametrize("name", ["t5", "v1.1"])
def test_a_t5_becomes_a_run_that_writes_what_is_hidden(name, imports):
    model, params, tokenizer, cfg, _ = jaxlm.load(imports[name].run)
    assert isinstance(cfg.data.objective, Spans) and cfg.data.rows == "chunked" and not imports[name].fresh
    assert (model.vocab, tokenizer.start, tokenizer.closing) == (310, 0, 1) and len(tokenizer.sentinels) == 20
    flat, wanted = flatten(params), parameters(MODELS[name])
    assert flat.keys() == wanted.keys()
    for path, array in wanted.items():
        np.testing.assert_array_equal(np.asarray(flat[path]), np.float32(0.1) * array)


def test_heads_that_are_missing_are_told_by_name(folders, tmp_path, caplog):
    found = exchange.import_huggingface(folders["bare"], tmp_path / "run")
    assert {*found.fresh} >= {"transform/w", "head_b", "order"} and "pooler/w" not in found.fresh
    assert "drawn at random and worth nothing until they are trained: " + ", ".join(found.fresh) in caplog.text
    assert "\n" not in caplog.records[-1].getMessage()


@pytest.mark.parametrize("name", short(["bert", "t5", "v1.1"], "bert", "t5"))
def test_an_import_is_scored_on_what_it_was_trained_for(name, imports, text, tmp_path):
    """The score spelled out, by plain logits of the batches that the run's objective makes."""
    run = imports[name].run
    found = jaxlm.evaluate(run, text=text)
    model, params, tokenizer, cfg, _ = jaxlm.load(run)
    shards = score.text_shards(tmp_path, cfg, tokenizer, text)
    nats = count = 0.0
    batches, hidden = loader.evaluation_batches(shards, cfg.data, "test"), jax.jit(model.hidden)
    for batch in batches:
        if name == "bert":
            assert (batch.token == 4).any() and (count or batch.token[0, 0] == 2) and batch.kind is None
        else:
            ends = np.take_along_axis(batch.source.token, batch.source.segment.sum(1, keepdims=True) - 1, axis=1)
            assert (batch.token[:, 0] == 0).all() and set(ends[batch.weight.sum(1) > 0].ravel()) == {1}
            assert (batch.target[:, 0][batch.weight[:, 0] > 0] == tokenizer.sentinels[0]).all()
        bias = model.bias(params)
        logits = hidden(params, batch) @ model.head(params).T
        logits = np.asarray(logits, np.float64) + (0 if bias is None else np.asarray(bias))
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nats -= (np.take_along_axis(log_p, batch.target[..., None], axis=-1)[..., 0] * batch.weight).sum()
        count += batch.weight.sum()
    batches.close()
    np.testing.assert_allclose(found["loss"], nats / count, rtol=1e-5)
    assert found["tokens"] == count and found["bits_per_byte"] is None


def test_a_bert_writes_nothing_and_a_t5_answers(imports):
    with pytest.raises(UserError, match="reads a text in both directions, so it cannot write one") as error:
        jaxlm.generate(imports["bert"].run, ["The old"], tokens=5)
    assert "\n" not in str(error.value)
    run = imports["t5"].run
    (ours,) = jaxlm.generate(run, ["The old King"], tokens=6, sampling=SamplingConfig(temperature=0)).completions
    model, params, tokenizer, *_ = jaxlm.load(run)
    source, written = [*tokenizer.encode("The old King").tolist(), 1], [0]
    row = lambda ids: tokens(jax.numpy.array([ids], np.int32), jax.numpy.arange(len(ids))[None])
    read, hidden = row(source), jax.jit(model.hidden)
    for n in range(6):
        batch = row(written + [0] * (5 - n))._replace(source=Source(read.token, read.segment, read.position))
        logits = np.asarray(hidden(params, batch) @ model.head(params).T)[0, n]  # which sees nothing behind it
        written.append(int(logits[: tokenizer.vocab].argmax()))
    new = written[1:]
    assert ours.tokens == (new[: new.index(1)] if 1 in new else new) and len(ours.tokens) > 0


@pytest.mark.parametrize("name", short([*MODELS, "bare"], "bare", "t5", "v1.1"))
def test_an_import_goes_out_as_it_came_and_comes_back(name, folders, imports, tmp_path):
    made = jaxlm.export_huggingface(imports[name].run, tmp_path / "out")
    assert made.architecture == ("t5" if name in ("t5", "v1.1") else "bert")
    theirs, ours = (huggingface.safetensors_file.find(folder) for folder in (folders[name], tmp_path / "out"))
    prefix = "bert." if name == "bare" else ""
    assert ours.keys() >= {prefix + key for key in theirs} and (name == "bare" or ours.keys() == theirs.keys())
    for key, tensor in theirs.items():
        assert tensor.read().tobytes() == ours[prefix + key].read().tobytes()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    wanted = json.loads((folders[name] / "config.json").read_text())
    assert {key: config.get(key) for key in wanted if not key.startswith("arch")} == {
        key: value for key, value in wanted.items() if not key.startswith("arch")
    }
    assert ("decoder_start_token_id" in config) == (made.architecture == "t5")
    again = jaxlm.import_huggingface(tmp_path / "out", tmp_path / "again")
    assert again.parameters_sha256 == imports[name].parameters_sha256 and not again.fresh


def test_what_cannot_be_as_the_model_had_it_is_told(folders, tmp_path, caplog):
    folder = model_folder(tmp_path / "model", "masked")
    data = json.loads((folder / "tokenizer.json").read_text())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] not in ("[MASK]", "[SEP]")]
    names = {"[MASK]": "gap", "[SEP]": "end"}
    data["model"]["vocab"] = {names.get(name, name): i for name, i in data["model"]["vocab"].items()}
    data["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(data))
    edit(folder, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.0, eos_token_id=[10**6], bos_token_id="x")
    with caplog.at_level("INFO", logger="jaxlm"):
        exchange.import_huggingface(folder, tmp_path / "run")
    for words in (
        "eos_token_id=[1000000] is left out of account, as its tokenizer has no such token",
        "bos_token_id='x' is left out of account",
        "dropout (hidden_dropout_prob) is left out: to train on with it, set model.dropout",
        "the tokenizer has no mask token: ids from",
        "the tokenizer names no sep token: a text stands between ids",
    ):
        assert words in caplog.text
    caplog.clear()
    exchange.import_huggingface(folders["masked"], tmp_path / "whole")
    assert "tokenizer" not in caplog.text


def test_a_tokenizer_without_a_mask_needs_an_id_that_the_model_has_not(folders, tmp_path):
    folder = model_folder(tmp_path / "model", "masked")
    data = json.loads((folder / "tokenizer.json").read_text())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] != "[MASK]"]
    vocab = data["model"]["vocab"]
    vocab["gap"] = vocab.pop("[MASK]")
    vocab |= {f"more{n}": len(vocab) + n for n in range(310 - len(vocab))}
    (folder / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(
        UserError, match=r"310 ids, and needs 1 more for .*'masked', as it has no mask token, but .*310"
    ):
        exchange.import_huggingface(folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, more",
    [
        pytest.param("t5", (), marks=pytest.mark.slow),
        ("bert", ("data.objective.sentence_order=True", "data.rows=chunked", "data.length=32")),
    ],
)
def test_a_run_trains_on_from_a_two_sided_import(name, more, imports, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fresh = (f"data.source={text}", "data.split.kind=contiguous", "name=tuned", "loop.steps=1", "data.batch=2")
    cfg = load_config(imports[name].run, *fresh, "optimizer.schedule.warmup=0", "mesh.layout=single", *more)
    jaxlm.train(cfg)
    before, after = (flatten(jaxlm.load(run).params) for run in (imports[name].run, "runs/tuned"))
    moved = max(float(np.abs(np.asarray(before[n]) - np.asarray(after[n])).max()) for n in before)
    assert 0 < moved < 1e-4, "one step of AdamW at a rate of 3e-5, from where the import is"
