"""The table says everything once: each parameter has one place, each place one shape, in every architecture."""

import functools
import re
from collections import Counter

import jax
import numpy as np
import pytest

from jaxlm.flat import flatten
from jaxlm.interop import config_json, huggingface, tensors
from jaxlm.interop.layouts import ARCHITECTURES
from jaxlm.models.build import ModelConfig, build
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import V1_1, EncoderDecoderConfig
from jaxlm.models.positions import Llama3Scaling
from jaxlm.models.transformer import TransformerConfig

SIZES = {"layers": 2, "heads": 6, "width": 24, "ff_width": 20, "vocab": 13, "max_length": 7, "precision": "float32"}
ROTARY = SIZES | {"position": "rotary", "norm": "rmsnorm", "head_width": 8, "kv_heads": 2, "rope_base": 500.0}
# Each architecture by a config of ours that it is the first to compute; what is not said is as by default.
CONFIGS = {
    "gpt2": {**SIZES, "bias": True},
    "llama": {**ROTARY, "activation": "swiglu", "tied": False, "norm_eps": 1e-6},
    "mistral": {**ROTARY, "activation": "swiglu", "window": 3},
    "qwen3": {**ROTARY, "activation": "swiglu", "qk_norm": True},
    "arcee": {**ROTARY, "activation": "relu2"},
    "apertus": {**ROTARY, "activation": "gelu", "qk_norm": True, "tied": False},
    "bert": {**SIZES, "kind": "encoder", "kinds": 3, "sentence_order": True},
    "t5": {**SIZES, "kind": "encoder_decoder", "head_width": 5, "decoder_layers": 3, "buckets": 8, "bucket_reach": 20},
}
MORE = {
    "gpt2 without biases": {**SIZES},
    "gpt2 with a head": {**SIZES, "bias": True, "tied": False},
    "gpt2 of squares": {**SIZES, "bias": True, "activation": "relu2"},
    "llama 3": {**CONFIGS["llama"], "rope_scaling": Llama3Scaling(original=4)},
    "bert without a pooler": {**SIZES, "kind": "encoder", "activation": "gelu"},
    "t5 v1.1": {**CONFIGS["t5"], **V1_1},
    "t5 in one": {**SIZES, "kind": "encoder_decoder", "activation": "swiglu"},
}
KINDS = {"decoder": TransformerConfig, "encoder": EncoderConfig, "encoder_decoder": EncoderDecoderConfig}
ALL = {name: KINDS[fields.get("kind", "decoder")](**fields) for name, fields in (CONFIGS | MORE).items()}


def parameters(cfg: ModelConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Parameters of `cfg` by name, every number another."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in shapes(cfg).items()}


@functools.cache
def shapes(cfg: ModelConfig) -> dict[str, jax.ShapeDtypeStruct]:
    assert cfg.vocab is not None
    family = build(cfg, vocab=cfg.vocab, length=7, packed=True, platform="cpu")
    return flatten(jax.eval_shape(family.init, jax.random.key(0)))


def test_every_architecture_has_its_row_of_this_test():
    assert CONFIGS.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_config_finds_its_architecture_and_comes_back(name):
    arch, config = config_json.to_json(ALL[name], 13, 7, stacked=False)
    assert arch.model_type == name.split()[0]
    again = config_json.from_json(config, "config.json")
    assert arch.rows == ARCHITECTURES[arch.model_type].of(ALL[name]).rows
    assert again.cfg == ALL[name] and again.facts == config_json.facts(ALL[name], 13, 7)
    del config["jaxlm"]
    theirs = config_json.from_json(config, "config.json")
    assert not config_json.difference(arch, config_json.facts(ALL[name], 13, 7), theirs.facts)


@pytest.mark.parametrize("name", ALL)
def test_each_parameter_has_one_place_and_is_the_same_when_it_comes_back(name):
    cfg, arch = ALL[name], ARCHITECTURES[name.split()[0]].of(ALL[name])
    params, sizes = parameters(cfg), tensors.sizes(config_json.facts(cfg, 13, 7))
    used = Counter()
    for place in tensors.places(arch, sizes):
        if huggingface.has(params, place):
            tensor = place.join(params, sizes)
            assert tensor.shape == place.shape(sizes) and tensor.flags.c_contiguous
            assert place.shapes(sizes) == {path: params[path].shape for path in place.ours}
            back = place.split(tensor, sizes)
            used.update(back.keys())
            for path, array in back.items():
                np.testing.assert_array_equal(array, params[path])
    assert used == Counter(params.keys())


def test_a_fused_tensor_is_its_parts_side_by_side():
    """GPT-2's queries, keys and values, spelled out."""
    cfg = ALL["gpt2"]
    params, sizes = parameters(cfg), tensors.sizes(config_json.facts(cfg, 13, 7))
    places = {place.theirs: place for place in tensors.places(ARCHITECTURES["gpt2"], sizes)}
    fused = places["transformer.h.1.attn.c_attn.weight"].join(params, sizes)
    for part, name in enumerate("qkv"):
        w = params[f"block_1/attention/{name}/w"]
        for d, head, k in np.ndindex(24, 6, 4):
            ours = w[d, head, 0, k] if name == "q" else w[d, head, k]
            assert fused[d, part * 24 + head * 4 + k] == ours


def test_a_turned_tensor_has_heads_where_they_belong():
    """Llama's queries of shape (out, in), with three heads for each pair of keys and values."""
    params, sizes = parameters(ALL["llama"]), tensors.sizes(config_json.facts(ALL["llama"], 13, 7))
    places = {place.theirs: place for place in tensors.places(ARCHITECTURES["llama"], sizes)}
    q = places["model.layers.0.self_attn.q_proj.weight"].join(params, sizes)
    for d, g, r, k in np.ndindex(24, 2, 3, 8):
        assert q[(g * 3 + r) * 8 + k, d] == params["block_0/attention/q/w"][d, g, r, k]


def test_a_table_of_distances_has_heads_where_they_belong():
    """T5's biases of scores: a row for each bucket, a column for each head."""
    params, sizes = parameters(ALL["t5"]), tensors.sizes(config_json.facts(ALL["t5"], 13, 7))
    places = {place.theirs: place for place in tensors.places(ARCHITECTURES["t5"].of(ALL["t5"]), sizes)}
    table = places["decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].join(params, sizes)
    np.testing.assert_array_equal(table, params["decoder/bucket_b"][:, :, 0])
    assert "decoder.block.2.layer.2.DenseReluDense.wi.weight" in places and "encoder.block.2.layer_norm" not in places
    q = places["decoder.block.2.layer.1.EncDecAttention.q.weight"].join(params, sizes)
    for d, g, k in np.ndindex(24, 6, 5):
        assert q[g * 5 + k, d] == params["decoder/block_2/cross/q/w"][d, g, 0, k]


def test_letters_of_a_row_are_the_same_on_both_sides():
    for arch in ARCHITECTURES.values():
        for row in arch.rows:
            parts = [tensors._words(row.shape, number) for number in range(len(row.ours))]
            for words, letters in zip(parts, row.ours.values(), strict=True):
                assert sorted("".join(words)) == sorted(letters.replace(" ", "")), row
        assert len({row.theirs for row in arch.rows}) == len(arch.rows)
        assert not any(re.fullmatch(arch.ignored, row.theirs.replace("{N}", "0")) for row in arch.rows)


def test_layers_are_stacked_and_taken_apart():
    params = parameters(ALL["llama"])
    whole = tensors.stacked(params)
    assert whole["blocks/attention/q/w"].shape == (2, 24, 2, 3, 8) and "embedding" in whole
    back = tensors.one_by_one(whole)
    assert back.keys() == params.keys() and all((back[name] == params[name]).all() for name in params)
    assert tensors.one_by_one(params).keys() == params.keys()
