"""A model from elsewhere is a run like any other, and goes out again as it came."""

import json
import shutil

import jax
import numpy as np
import pytest

import jaxlm
from jaxlm import exchange, run, saved, score
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import dump
from jaxlm.errors import JaxlmError, UserError
from jaxlm.flat import flatten, nested, parameters_sha256
from jaxlm.interop import config_json, huggingface
from jaxlm.models.family import tokens
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import load_config
from jaxlm.run_folder import RunFolder, read_json, write_json
from tests.data.huggingface_kinds import TEXTS, write
from tests.interop.test_huggingface import change, edit
from tests.interop.test_layouts import parameters

SMALL = {"layers": 1, "heads": 2, "width": 16, "ff_width": 24, "vocab": 512, "max_length": 48, "precision": "float32"}
MODELS = {
    "byte_level": TransformerConfig(**SMALL, bias=True),
    "llama": TransformerConfig(**SMALL, position="rotary", norm="rmsnorm", activation="swiglu", tied=False),
}


def model_folder(folder, kind, keep_ours=False):
    """A Hugging Face model with a tokenizer of `kind`, as somebody else might have written it."""
    write(kind, folder, tokenizer_config={"model_max_length": 48})
    cfg = MODELS[kind]
    params = {name: 0.1 * array for name, array in parameters(cfg).items()}
    generation = {"bos_token_id": 1, "eos_token_id": 2}
    huggingface.write(folder, cfg, params, length=48, generation=generation)
    return folder if keep_ours else edit(folder, jaxlm=None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: model_folder(tmp_path_factory.mktemp(kind) / "model", kind) for kind in MODELS}


@pytest.fixture(scope="module")
def runs(folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for kind, folder in folders.items():
        exchange.import_huggingface(folder, root / kind)
    return {kind: root / kind for kind in folders}


@pytest.fixture(params=MODELS)
def kind(request):
    return request.param


def tensors(folder):
    found = huggingface.safetensors_file.find(folder)
    return {name: tensor.read() for name, tensor in found.items()}


def test_an_import_is_a_run_that_opens(kind, runs):
    model, params, tokenizer, cfg, step = jaxlm.load(runs[kind])
    flat, wanted = flatten(params), parameters(MODELS[kind])
    assert step == 0 and flat.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(np.asarray(flat[name]), np.float32(0.1) * array)
    assert (model.vocab, cfg.data.length, cfg.model.precision) == (512, 48, "float32")
    assert config_json.facts(cfg.model, 512, 48) == config_json.facts(MODELS[kind], 512, 48)
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]


def test_what_an_import_answers_is_what_inspect_finds(folders, tmp_path):
    found = jaxlm.import_huggingface(str(folders["llama"]), str(tmp_path / "run"))
    with Checkpoints(tmp_path / "run" / "checkpoints", CheckpointConfig(), read_only=True) as saved:
        _, flat, meta = saved.read()
    assert found.parameters == sum(array.size for array in flat.values())
    assert found.parameters_sha256 == parameters_sha256(flat) and meta["imported"] == str(folders["llama"])
    assert (found.architecture, found.vocab, found.lossless) == ("llama", 420, False)
    assert read_json(RunFolder(tmp_path / "run").environment)["parameters"] == found.parameters


def test_an_import_is_scored_on_a_text(kind, runs, tmp_path):
    """The score spelled out: the text's tokens between what opens and what closes it, by plain logits."""
    (tmp_path / "text.txt").write_text(TEXTS[3], encoding="utf-8")
    found = jaxlm.evaluate(runs[kind], text=tmp_path / "text.txt")
    model, params, tokenizer, *_ = jaxlm.load(runs[kind])
    ids = [tokenizer.separator, *tokenizer.encode(TEXTS[3]).tolist(), tokenizer.closing]
    assert tokenizer.closing == {"byte_level": 0, "llama": 2}[kind] and len(ids) < 48 * 4
    nats = 0.0
    for start in range(0, len(ids) - 1, 48):  # rows of 48, each from nowhere
        row = np.array([ids[start : start + 49]], np.int32)
        position = np.arange(row.shape[1] - 1, dtype=np.int32)[None]
        batch = tokens(jax.numpy.asarray(row[:, :-1]), jax.numpy.asarray(position))
        logits = np.asarray(model.hidden(params, batch) @ model.head(params).T, np.float64)[0]
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nats -= log_p[np.arange(len(log_p)), row[0, 1:]].sum()
    np.testing.assert_allclose(found["loss"], nats / (len(ids) - 1), rtol=1e-5)
    assert found["tokens"] == len(ids) - 1 and found["bytes"] == len(TEXTS[3].encode())


def test_a_text_that_a_tokenizer_does_not_keep_is_told(runs, tmp_path, caplog):
    (tmp_path / "text.txt").write_text("a \u2581 b", encoding="utf-8")
    found = jaxlm.evaluate(runs["llama"], text=tmp_path / "text.txt")
    assert "does not keep all of a text (in 1 of 1 documents)" in caplog.text and found["bytes"] == 7


def test_an_import_goes_on_writing(kind, runs):
    (completion,) = jaxlm.generate(runs[kind], ["The old"], tokens=5).completions
    assert completion.prompt == "The old" and len(completion.tokens) + completion.stopped >= 1


def test_an_import_goes_out_as_it_came(kind, folders, runs, tmp_path):
    made = jaxlm.export_huggingface(runs[kind], tmp_path / "out")
    assert (made.step, made.architecture) == (0, {"byte_level": "gpt2", "llama": "llama"}[kind])
    theirs, ours = tensors(folders[kind]), tensors(tmp_path / "out")
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        assert tensor.tobytes() == ours[name].tobytes()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folders[kind] / name).read_bytes()
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (folders[kind], tmp_path / "out"))
    assert {key: after[key] for key in before if not key.endswith("_token_id")} == {
        key: value for key, value in before.items() if not key.endswith("_token_id")
    }


def test_what_goes_out_comes_back_as_it_was(kind, runs, tmp_path):
    jaxlm.export_huggingface(runs[kind], tmp_path / "out")
    again = jaxlm.import_huggingface(tmp_path / "out", tmp_path / "again")
    with Checkpoints(runs[kind] / "checkpoints", CheckpointConfig(), read_only=True) as saved:
        assert again.parameters_sha256 == parameters_sha256(saved.read()[1])
    assert jaxlm.load(tmp_path / "again").config.model == jaxlm.load(runs[kind]).config.model


def test_half_the_bits_go_out_as_they_came(folders, tmp_path):
    half = tmp_path / "half"
    jaxlm.import_huggingface(folders["llama"], tmp_path / "run")
    jaxlm.export_huggingface(tmp_path / "run", half, dtype="bfloat16")
    jaxlm.import_huggingface(half, tmp_path / "again")
    jaxlm.export_huggingface(tmp_path / "again", tmp_path / "out", dtype="bfloat16")
    assert (half / "model.safetensors").read_bytes() == (tmp_path / "out" / "model.safetensors").read_bytes()


def test_ids_that_no_tokenizer_has_are_never_written(runs, tmp_path):
    jaxlm.export_huggingface(runs["byte_level"], tmp_path / "out")
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert generation == {
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "suppress_tokens": list(range(400, 512)),
    }  # fmt: skip


def test_where_there_is_a_moving_average_it_goes_out(runs, tmp_path):
    """It is what `jaxlm eval` scores."""
    run = RunFolder(shutil.copytree(runs["llama"], tmp_path / "run"))
    saved = {name: 2 * array for name, array in parameters(MODELS["llama"]).items()}
    with Checkpoints(run.checkpoints, CheckpointConfig(asynchronous=False)) as checkpoints:
        zeros = jax.tree.map(np.zeros_like, saved)
        checkpoints.save(9, {"params": nested(zeros), "average": nested(saved)}, meta={})
    config = read_json(run.config)
    write_json(run.config, config | {"optimizer": config["optimizer"] | {"average": 0.9}})
    assert jaxlm.export_huggingface(run.path, tmp_path / "out").step == 9
    np.testing.assert_array_equal(tensors(tmp_path / "out")["model.embed_tokens.weight"], saved["embedding"])


def test_a_run_trains_on_from_an_import(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    fresh = ("data.source=text.txt", "data.split.kind=contiguous", "name=tuned", "loop.steps=1", "data.batch=2")
    cfg = load_config(runs["byte_level"], *fresh, "optimizer.schedule.warmup=0", "mesh.layout=single")
    jaxlm.train(cfg)
    before, after = (flatten(jaxlm.load(run).params) for run in (runs["byte_level"], "runs/tuned"))
    moved = max(float(np.abs(np.asarray(before[n]) - np.asarray(after[n])).max()) for n in before)
    assert 0 < moved < 1e-4, "one step of AdamW at a rate of 3e-5, from where the import is"


def test_an_import_does_not_train_in_its_own_folder(runs):
    before = read_json(RunFolder(runs["llama"]).config)
    with pytest.raises(UserError, match=r"imported model without a text.*--set data.source=TEXT --name NEW"):
        jaxlm.train(load_config(runs["llama"]), runs["llama"])
    assert read_json(RunFolder(runs["llama"]).config) == before == dump(load_config(runs["llama"]))


def test_a_model_where_a_run_is_asked_for_is_told(folders):
    with pytest.raises(UserError, match="is a Hugging Face model: `jaxlm import"):
        jaxlm.load(folders["llama"])


# --- what is refused leaves nothing behind


def refused(folder, tmp_path, words, **options):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=words) as error:
        exchange.import_huggingface(folder, tmp_path / "new" / "run", **options)
    assert "\n" not in str(error.value) and error.value.exit_code == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tokenizer_of_another_vocabulary_is_refused(folders, tmp_path):
    many = write("byte_level", tmp_path / "many")
    data = json.loads((many / "tokenizer.json").read_text())
    data["added_tokens"] += [data["added_tokens"][0] | {"id": 400 + n, "content": f"<extra {n}>"} for n in range(113)]
    (many / "tokenizer.json").write_text(json.dumps(data))
    refused(folders["llama"], tmp_path, r"has 513 ids, but the model in .* only 512.*--tokenizer", tokenizer=many)


HARM = {
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "a broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "is no tokenizer"),
    "no config": (lambda f: (f / "config.json").unlink(), r"has no config\.json"),
    "an unknown architecture": (lambda f: edit(f, model_type="mamba"), "model_type='mamba'"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "a pickle": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "safe_serialization=True"),
    "half the weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:9_000]),
        "truncated",
    ),
    "another size": (lambda f: edit(f, hidden_size=32), "tensors do not fit"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_folder_that_is_not_whole_is_refused(name, folders, tmp_path):
    harm, words = HARM[name]
    folder = shutil.copytree(folders["llama"], tmp_path / "model")
    harm(folder)
    refused(folder, tmp_path, words)


def test_a_fault_found_while_numbers_are_read_leaves_nothing(folders, tmp_path):
    folder = shutil.copytree(folders["byte_level"], tmp_path / "model")
    change(folder, lambda held: held.update({"lm_head.weight": held["transformer.wte.weight"] + 1}))
    refused(folder, tmp_path, "differs from 'transformer.wte.weight'")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_diverged_is_refused_by_its_tensor(folders, tmp_path, value):
    folder = shutil.copytree(folders["byte_level"], tmp_path / "model")
    change(folder, lambda held: held.update({"transformer.ln_f.weight": held["transformer.ln_f.weight"] * value}))
    refused(folder, tmp_path, "'transformer.ln_f.weight' holds numbers that are not finite")


def test_a_tokenizer_is_looked_for_in_a_folder(folders, tmp_path):
    for path in (tmp_path / "nowhere", folders["llama"] / "config.json"):
        refused(folders["llama"], tmp_path, "is no folder: name the one that holds tokenizer.json", tokenizer=path)


def test_an_import_has_no_text_of_its_own(runs):
    with pytest.raises(UserError, match="imported model, without a text of its own: give --text"):
        score.evaluate(runs["llama"])
    with pytest.raises(UserError, match="--split 'foo': name one of train, validation, test"):
        score.evaluate(runs["llama"], split="foo")


def test_an_import_trains_under_another_name_only_with_a_text(runs, tmp_path):
    cfg = load_config(runs["llama"]).model_copy(update={"name": "tuned"})
    with pytest.raises(UserError, match=r"--set data\.source=TEXT"):
        run.train(cfg, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_a_head_that_has_no_layout_does_not_go_out(runs, tmp_path):
    folder = RunFolder(shutil.copytree(runs["llama"], tmp_path / "run"))
    cfg = read_json(folder.config)
    cfg["data"] |= {"rows": "packed", "objective": {"kind": "tagging", "classes": ["a", "b"]}}
    write_json(folder.config, cfg)
    with pytest.raises(UserError, match=r"data\.objective\.kind='tagging', whose head has no place"):
        exchange.export_huggingface(folder.path, tmp_path / "out")
    with pytest.raises(UserError, match="answers about a text, and writes none"):
        loaded = jaxlm.load(runs["llama"])
        saved.generate(loaded._replace(config=load_config(folder.path)), ["a"])
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_never_written_to(folders, runs, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        exchange.import_huggingface(folders["llama"], tmp_path / "taken")
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        exchange.export_huggingface(runs["llama"], tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["file"]


def test_a_step_that_is_not_there_is_refused(runs, tmp_path):
    with pytest.raises(JaxlmError, match="no checkpoint step 7"):
        exchange.export_huggingface(runs["llama"], tmp_path / "out", step=7)
    assert list(tmp_path.iterdir()) == []
