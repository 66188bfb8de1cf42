"""A model's folder is read to the last tensor, and written so that it is read again; no torch is needed."""

import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxlm.errors import UserError
from jaxlm.interop import huggingface, tensors
from tests.interop.test_layouts import ALL, parameters
from tests.rows import short

GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "suppress_tokens": [12]}
ONE = "model.safetensors"


def put(folder, name="gpt2", *, params=None, keep_ours=True, **options):
    """The model ALL[name] in `folder`, with or without our own key in its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    params = parameters(ALL[name]) if params is None else params
    huggingface.write(folder, ALL[name], params, length=7, generation=GENERATION, **options)
    if not keep_ours:
        edit(folder, jaxlm=None)
    return folder


def edit(folder, **keys):
    """Set keys of config.json; None removes one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return folder


def change(folder, change):
    """Change the tensors of the one file there is."""
    held = load_file(folder / ONE)
    change(held)
    save_file(held, folder / ONE)
    return folder


def read(folder):
    return huggingface.look(folder).read()


def same(got, wanted):
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize("name", short(ALL, "gpt2 without biases", "llama 3", "bert", "t5 v1.1"))
def test_what_was_written_is_read_to_the_last_bit(tmp_path, name):
    folder = put(tmp_path, name)
    found = huggingface.look(folder)
    assert found.cfg == ALL[name] and found.arch.model_type == name.split()[0]
    same(found.read(), parameters(ALL[name]))


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_many_files_hold_what_one_does(tmp_path, name):
    folder = put(tmp_path, name, keep_ours=False, shard_bytes=3_000)
    assert len(list(folder.glob("*.safetensors"))) > 2
    same(read(folder), parameters(ALL[name]))


def test_stacked_layers_come_back_stacked_and_without_our_key_one_by_one(tmp_path):
    params = parameters(ALL["llama"])
    folder = put(tmp_path, "llama", params=tensors.stacked(params))
    same(read(folder), tensors.stacked(params))
    same(read(edit(folder, jaxlm=None)), params)


def test_biases_that_we_lack_are_zeros_there_and_come_back_as_none(tmp_path):
    name = "gpt2 without biases"
    folder = put(tmp_path, name)
    assert not load_file(folder / ONE)["transformer.h.0.attn.c_attn.bias"].any()
    same(read(folder), parameters(ALL[name]))
    theirs = read(edit(folder, jaxlm=None))
    assert not theirs["block_1/attention/k/b"].any() and theirs.keys() > parameters(ALL[name]).keys()


def test_biases_that_were_trained_elsewhere_are_not_dropped(tmp_path):
    folder = put(tmp_path, "gpt2 without biases")
    change(folder, lambda held: held["transformer.h.1.ln_1.bias"].__setitem__(0, 0.5))
    with pytest.raises(UserError, match=r"'transformer.h.1.ln_1.bias' is not 0.*remove 'jaxlm'"):
        read(folder)


@pytest.mark.parametrize("name", ["gpt2", "mistral"])
def test_a_model_saved_without_its_head_has_names_without_a_prefix(tmp_path, name):
    folder = put(tmp_path, name, keep_ours=False)
    prefix = {"gpt2": "transformer.", "mistral": "model."}[name]
    held = load_file(folder / ONE)
    save_file({key.removeprefix(prefix): value for key, value in held.items()}, folder / ONE)
    same(read(folder), parameters(ALL[name]))


def test_what_holds_nothing_learned_is_left_out(tmp_path):
    masks = {f"transformer.h.{n}.attn.bias": np.ones((1, 1, 7, 7), np.uint8) for n in range(2)}
    same(read(change(put(tmp_path / "g"), lambda held: held.update(masks))), parameters(ALL["gpt2"]))
    turns = {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(4, np.float32)}
    same(read(change(put(tmp_path / "l", "llama"), lambda held: held.update(turns))), parameters(ALL["llama"]))


def test_a_head_that_is_the_embedding_may_be_there_twice_but_not_differ(tmp_path):
    folder = put(tmp_path)
    change(folder, lambda held: held.update({"lm_head.weight": held["transformer.wte.weight"].copy()}))
    same(read(folder), parameters(ALL["gpt2"]))
    change(folder, lambda held: held["lm_head.weight"].__setitem__((0, 0), 9.0))
    with pytest.raises(UserError, match=r"'lm_head.weight' differs from 'transformer.wte.weight'.*tie_word_embeddings"):
        read(folder)


# --- heads that a model was saved without


def test_the_tensors_of_bert_say_which_heads_it_has(tmp_path):
    whole = put(tmp_path / "whole", "bert", keep_ours=False)
    assert json.loads((whole / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert huggingface.look(whole).cfg == ALL["bert"] and not huggingface.look(whole).fresh
    same(read(whole), parameters(ALL["bert"]))
    name = "bert without a pooler"
    part = put(tmp_path / "part", name, keep_ours=False)
    assert json.loads((part / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    assert huggingface.look(part).cfg == ALL[name] and not huggingface.look(part).fresh
    same(read(part), parameters(ALL[name]))


def without(start: str, prefix: str = ""):
    def change(held):
        for name in [name for name in held if name.startswith(start)]:
            del held[name]
        for name in [name for name in held if prefix and name.startswith(prefix)]:
            held[name.removeprefix(prefix)] = held.pop(name)

    return change


@pytest.mark.parametrize("pooled", [True, False])
def test_heads_that_bert_lacks_are_drawn_at_random_the_same_each_time(tmp_path, pooled):
    folder = put(tmp_path, "bert" if pooled else "bert without a pooler", keep_ours=False)
    change(folder, without("cls.", "bert."))  # as BertModel is saved
    found = huggingface.look(folder)
    of_tokens = {"transform/w", "transform/b", "transform_norm/scale", "transform_norm/b", "head_b"}
    assert {*found.fresh} == of_tokens | ({"order", "order_b"} if pooled else set())
    params, again = found.read(), read(folder)
    same(again, params)
    assert params["transform/w"].std() > 0 and (params["transform_norm/scale"] == 1).all()
    kept = {name: array for name, array in parameters(found.cfg).items() if name not in found.fresh}
    same({name: params[name] for name in kept}, kept)
    assert ("pooler/w" in kept) == pooled


def test_half_a_head_is_a_fault(tmp_path):
    folder = put(tmp_path, "bert", keep_ours=False)
    change(folder, without("cls.predictions.transform.dense.bias"))
    with pytest.raises(UserError, match=r"'cls.predictions.transform.dense.bias' is missing"):
        huggingface.look(folder)


def test_old_names_of_berts_norms_are_read(tmp_path):
    def old(held):
        for name in [name for name in held if "LayerNorm" in name]:
            held[name.replace(".weight", ".gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = held.pop(name)
        held["bert.embeddings.position_ids"] = np.arange(7)[None]

    same(read(change(put(tmp_path, "bert", keep_ours=False), old)), parameters(ALL["bert"]))


@pytest.mark.parametrize(
    "name, other, tensor",
    [
        pytest.param(
            "bert", "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight", marks=pytest.mark.slow
        ),
        ("bert", "cls.predictions.decoder.bias", "cls.predictions.bias"),
        pytest.param("t5", "encoder.embed_tokens.weight", "shared.weight", marks=pytest.mark.slow),
        ("t5 v1.1", "decoder.embed_tokens.weight", "shared.weight"),
    ],
)
def test_another_name_of_a_tensor_may_be_there_but_not_differ(tmp_path, name, other, tensor):
    folder = put(tmp_path, name, keep_ours=False)
    change(folder, lambda held: held.update({other: held[tensor].copy()}))
    same(read(folder), parameters(ALL[name]))
    change(folder, lambda held: held[other].__setitem__(-1, 9.0))
    with pytest.raises(UserError, match=f"'{other}' differs from '{tensor}'"):
        read(folder)


def test_a_head_of_t5_that_is_missing_is_the_embedding(tmp_path):
    """As transformers 5 saves a v1.1 whose head nobody untied: unscaled, and with one table."""
    params = parameters(ALL["t5 v1.1"])
    params["head"] = params["embedding"]
    folder = put(tmp_path, "t5 v1.1", params=params, keep_ours=False)
    edit(folder, tie_word_embeddings=True, scale_decoder_outputs=False)
    same(read(change(folder, without("lm_head"))), params)


def test_layers_of_t5_are_counted_on_both_sides(tmp_path):
    folder = put(tmp_path, "t5", keep_ours=False)
    with pytest.raises(UserError, match="num_decoder_layers=2,000,000,000, but there are only"):
        huggingface.look(edit(folder, num_decoder_layers=2_000_000_000))
    with pytest.raises(UserError, match=r"'decoder.block.2.layer.0.SelfAttention.q.weight' is not one of t5's"):
        huggingface.look(edit(folder, num_decoder_layers=None))


def test_stacked_layers_of_t5_come_back_stacked(tmp_path):
    params = tensors.stacked(parameters(ALL["t5"]))
    assert params["decoder/blocks/cross/q/w"].shape == (3, 24, 6, 1, 5)
    same(read(put(tmp_path, "t5", params=params)), params)


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda t: t.pop("transformer.h.1.mlp.c_fc.weight"), r"'transformer.h.1.mlp.c_fc.weight' is missing"),
        (lambda t: t.update(extra=np.ones(3, np.float32)), "'extra' is not one of gpt2's"),
        (lambda t: t.update({"score.weight": np.ones(3, np.float32)}), r"'score.weight' is not one of gpt2's"),
        (
            lambda t: t.update({"transformer.h.0.ln_1.weight": np.ones(23, np.float32)}),
            r"'transformer.h.0.ln_1.weight' is \[23\], not \[24\]",
        ),
        (
            lambda t: t.update({"transformer.wte.weight": np.ones((16, 24), np.float32)}),  # padded rows
            r"'transformer.wte.weight' is \[16, 24\], not \[13, 24\]",
        ),
        (
            lambda t: t.update({"transformer.ln_f.bias": np.zeros(24, np.float64)}),
            r"'transformer.ln_f.bias' is F64, jaxlm reads F32, F16, BF16",
        ),
        (dict.clear, "there are only 0 tensors"),
    ],
    ids=["missing", "extra", "another head", "shape", "padded", "dtype", "none"],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, harm, words):
    folder = change(put(tmp_path), harm)
    with pytest.raises(UserError, match=words) as error:
        huggingface.look(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"n_embd": 48}, r"'transformer.wte.weight' is \[13, 24\], not \[13, 48\]; .*and \d+ more"),
        ({"n_layer": 3}, r"'transformer.h.2.ln_1.weight' is missing"),
        ({"n_layer": 1}, "is not one of gpt2's"),
        ({"n_layer": 9_000}, "n_layer=9,000, but there are only 28 tensors"),
        ({"n_embd": 2**20, "n_head": 1}, "tensors do not fit"),
        ({"n_layer": 2_000_000_000}, "n_layer=2000000000: must be less than or equal to 10000"),
        ({"tie_word_embeddings": False}, r"'lm_head.weight' is missing"),
        ({"model_type": "llama", "architectures": None}, "num_hidden_layers=32, but there are only 28 tensors"),
    ],
    ids=str,
)
def test_a_config_that_describes_another_model_is_refused(tmp_path, keys, words):
    with pytest.raises(UserError, match=words):
        huggingface.look(edit(put(tmp_path, keep_ours=False), **keys))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a":' * 100_000, b"\xff", b'{"model_type": NaN}'])
def test_a_config_that_is_none_is_one_line(tmp_path, content):
    folder = put(tmp_path)
    (folder / "config.json").write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json") as error:
        huggingface.look(folder)
    assert "\n" not in str(error.value)


def test_what_is_no_folder_of_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        huggingface.look(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no config\.json"):
        huggingface.look(tmp_path)


def test_a_smaller_dtype_is_written_and_said(tmp_path):
    exact = {k: v.astype(np.float16).astype(np.float32) for k, v in parameters(ALL["gpt2"]).items()}
    folder = put(tmp_path / "one", params=exact, dtype="float16")
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float16"
    same(read(folder), exact)
    again = put(tmp_path / "two", params=read(folder), dtype="float16")
    assert (again / ONE).read_bytes() == (folder / ONE).read_bytes()


def test_the_json_beside_the_weights_says_what_opens_and_closes(tmp_path):
    folder = put(tmp_path)
    assert json.loads((folder / "generation_config.json").read_text()) == GENERATION
    config = json.loads((folder / "config.json").read_text())
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2) and "suppress_tokens" not in config


def test_progress_counts_the_tensors(tmp_path):
    seen = []
    folder = put(tmp_path, progress=lambda *told: seen.append(told))
    huggingface.look(folder).read(lambda *told: seen.append(told))
    assert seen == [(n, 28, what) for what in ("writing tensors", "reading tensors") for n in range(1, 29)]


def test_links_to_files_elsewhere_are_followed(tmp_path):
    """A cache of downloads keeps the files of a model as links."""
    folder = put(tmp_path / "blobs")
    shutil.copytree(folder, tmp_path / "model", copy_function=os.symlink)
    same(read(tmp_path / "model"), parameters(ALL["gpt2"]))
