"""Recurrent models by the names of PyTorch: what goes out comes back bit by bit, what does not fit is told."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import jaxlm
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import dump
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import BytesConfig
from jaxlm.errors import UserError
from jaxlm.flat import flatten, nested
from jaxlm.interop import safetensors_file, torch_folder
from jaxlm.models.build import build
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.run_config import RunConfig
from jaxlm.run_folder import RunFolder, write_json
from jaxlm.training.loop import LoopConfig
from tests.data.huggingface_kinds import TEXTS

VOCAB = 9
SIZES = {"layers": 2, "width": 6, "embedding": 5, "tied": False, "vocab": VOCAB, "precision": "float32"}
MODELS = {
    "tanh": SIZES | {"cell": "tanh", "bias": False},
    "relu": SIZES | {"cell": "relu", "dropout": 0.2},
    "lstm": SIZES | {"weight_drop": 0.5},
    "gru": SIZES | {"cell": "gru"},
    "tied": SIZES | {"embedding": None, "tied": True},
    "projected": SIZES | {"projection": 3},
    "bidirectional": SIZES | {"bidirectional": True},
}


def parameters(cfg: RecurrentConfig) -> dict[str, np.ndarray]:
    family = build(cfg, vocab=VOCAB, length=4, packed=False, platform="cpu")
    rng = np.random.default_rng(0)
    shapes = flatten(jax.eval_shape(family.init, jax.random.key(0)))
    return {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in shapes.items()}


def written(folder, name: str, **options):
    cfg = RecurrentConfig(**MODELS[name])
    params = parameters(cfg)
    torch_folder.write(folder, cfg, params, ids={"bos_token_id": 8, "suppress_tokens": [1]}, **options)
    return cfg, params


def read(folder) -> torch_folder.Found:
    config = json.loads((folder / "config.json").read_text())
    return torch_folder.look(folder, config, str(folder / "config.json"))


def edit(folder, **keys):
    """config.json with other keys; None takes one away."""
    config = json.loads((folder / "config.json").read_text()) | keys
    config = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))


def change(folder, **arrays):
    """Other tensors; None takes one away."""
    held = {name: tensor.read() for name, tensor in safetensors_file.find(folder).items()}
    held |= {name.replace("__", "."): array for name, array in arrays.items()}
    save_file({name: array for name, array in held.items() if array is not None}, folder / "model.safetensors")


@pytest.mark.parametrize("name", MODELS)
def test_what_goes_out_comes_back_bit_by_bit(name, tmp_path):
    cfg, params = written(tmp_path, name)
    found = read(tmp_path)
    assert found.cfg == cfg and found.vocab == VOCAB
    assert found.objective == ("masked" if name == "bidirectional" else "next_token")
    back = found.read()
    assert back.keys() == params.keys()
    for path, array in params.items():
        np.testing.assert_array_equal(back[path], array)
    edit(tmp_path, jaxlm=None)
    assert torch_folder._numbers(read(tmp_path).cfg) == torch_folder._numbers(cfg)


def test_the_keys_are_the_arguments_of_the_module_and_the_names_its_own(tmp_path):
    written(tmp_path, "projected", shard_bytes=500)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["jaxlm"]
    assert config == {
        "model_type": "lstm", "vocab_size": 9, "input_size": 5, "hidden_size": 6, "num_layers": 2, "bias": True,
        "bidirectional": False, "proj_size": 3, "tie_word_embeddings": False, "bos_token_id": 8, "dtype": "float32",
    }  # fmt: skip
    found = read(tmp_path).tensors
    assert len({tensor.file for tensor in found.values()}) > 1, "shards"
    assert {name: tensor.shape for name, tensor in found.items() if "l1" in name} == {
        "rnn.weight_ih_l1": (24, 3), "rnn.weight_hh_l1": (24, 3), "rnn.bias_ih_l1": (24,), "rnn.bias_hh_l1": (24,),
        "rnn.weight_hr_l1": (3, 6),
    }  # fmt: skip


def test_names_of_pytorchs_example_are_known_and_a_missing_bias_is_none(tmp_path):
    _, params = written(tmp_path, "lstm")
    edit(tmp_path, jaxlm=None)
    arrays = {"head__bias": None, "head__weight": None, "embedding__weight": None}
    change(tmp_path, **arrays, decoder__weight=params["head"], encoder__weight=params["embedding"])
    back = read(tmp_path).read()
    np.testing.assert_array_equal(back["head"], params["head"])
    np.testing.assert_array_equal(back["head_b"], np.zeros(VOCAB))


BROKEN = {
    "a tensor too few": ("lstm", {}, {"rnn__bias_hh_l1": None}, "'rnn.bias_hh_l1' is missing"),
    "a tensor too many": ("lstm", {}, {"rnn__bias_hh_l2": np.zeros(24)}, "'rnn.bias_hh_l2' is not one of lstm's"),
    "another shape": ("gru", {}, {"rnn__weight_hh_l0": np.zeros((6, 18))}, r"\[6, 18\], not \[18, 6\]"),
    "double": ("gru", {}, {"head__bias": np.zeros(9, np.float64)}, "'head.bias' is F64, jaxlm reads F32"),
    "not finite": ("gru", {}, {"head__bias": np.full(9, np.nan, np.float32)}, "'head.bias' holds numbers that are not"),
    "two heads": ("tied", {}, {"head__weight": np.ones((9, 6), np.float32)}, "says that they are one"),
    "no size": ("lstm", {"hidden_size": None}, {}, "has no hidden_size"),
    "a size as text": ("lstm", {"hidden_size": "6"}, {}, "hidden_size='6' should be a whole number"),
    "many layers": ("lstm", {"num_layers": 10_000, "jaxlm": None}, {}, "num_layers=10,000, but there are only 11"),
    "another cell": ("lstm", {"model_type": "gru"}, {}, "edited since jaxlm wrote it: .*cell='lstm', .*'gru'"),
    "another function": ("tanh", {"nonlinearity": "selu"}, {}, "nonlinearity='selu'; jaxlm has tanh, relu"),
    "another size": ("lstm", {"hidden_size": 7}, {}, "edited since jaxlm wrote it: .*width=6, .*7"),
    "our key spoilt": ("lstm", {"jaxlm": {"model": {"kind": "decoder"}}}, {}, "is not as this jaxlm writes it"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_told_in_one_line(name, tmp_path):
    model, keys, arrays, words = BROKEN[name]
    written(tmp_path, model)
    edit(tmp_path, **keys)
    change(tmp_path, **arrays)
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path).read()
    assert "\n" not in str(error.value)


def test_keys_that_nobody_knows_are_told(tmp_path, caplog):
    written(tmp_path, "lstm")
    edit(tmp_path, batch_first=True, layer_norm=True)
    read(tmp_path)
    assert "not known to jaxlm, and left out of account: layer_norm" in caplog.text


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"cell": "mingru"}, "model.cell='mingru' is no module of PyTorch's"),
        ({"cell": "gru_before"}, "model.cell='gru_before' is no module"),
        ({"tied": True}, "model.tied=True makes the last layer another width"),
    ],
)
def test_what_no_module_of_pytorchs_computes_is_refused(fields, words, tmp_path):
    cfg = RecurrentConfig(**SIZES | fields)
    with pytest.raises(UserError, match=words):
        torch_folder.write(tmp_path, cfg, {"embedding": np.zeros((9, 5))}, ids={})
    assert not list(tmp_path.iterdir())


def test_a_run_goes_out_and_its_export_comes_in_as_the_same_run(tmp_path):
    tokenizer = tokenizers.train(BytesConfig(), TEXTS, seed=0)
    model = RecurrentConfig(**SIZES | {"vocab": None, "cell": "gru"})
    cfg = RunConfig(
        name="run", data=DataConfig(source="x.txt", length=24, batch=2), model=model, loop=LoopConfig(steps=1_000)
    )
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    write_json(run.config, dump(cfg))
    tokenizer.save(run.tokenizer)
    family = build(model, vocab=tokenizer.vocab, length=24, packed=False, platform="cpu")
    params = {name: np.asarray(x) for name, x in flatten(family.init(jax.random.key(0))).items()}
    with Checkpoints(run.checkpoints, CheckpointConfig(asynchronous=False)) as checkpoints:
        checkpoints.save(1, {"params": nested(params)}, meta={})

    made = jaxlm.export_huggingface(run.path, tmp_path / "out")
    assert (made.architecture, made.step) == ("gru", 1)
    found = jaxlm.import_huggingface(tmp_path / "out", tmp_path / "again")
    assert (found.architecture, found.parameters, found.fresh) == ("gru", made.parameters, [])
    again = jaxlm.load(tmp_path / "again")
    for name, x in flatten(again.params).items():
        np.testing.assert_array_equal(x, params[name])
    of = lambda run: jaxlm.generate(run, ["The old"], tokens=5).completions[0].text
    assert of(run.path) == of(tmp_path / "again")
