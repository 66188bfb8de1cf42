"""config.json is read to the last key: what would change the numbers is refused by its key and value."""

import copy
import math

import pytest

from jaxlm.errors import UserError
from jaxlm.interop import config_json
from jaxlm.interop.config_json import from_json, to_json
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.models.encoder_decoder import VASWANI, EncoderDecoderConfig
from jaxlm.models.positions import LinearScaling, Llama3Scaling, YarnScaling
from jaxlm.models.transformer import TransformerConfig
from tests.interop.test_layouts import ALL, SIZES

GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 8, "n_layer": 1, "n_head": 2}
LLAMA = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
T5 = {"model_type": "t5", "is_encoder_decoder": True, "d_model": 8, "num_layers": 1, "num_heads": 2}
APERTUS = {**LLAMA, "model_type": "apertus", "hidden_act": "relu2"}
LINEAR = {"rope_type": "linear", "factor": 2.0}
LLAMA3 = {
    "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


def read(config: dict) -> TransformerConfig:
    cfg = from_json(config, "config.json").cfg
    assert isinstance(cfg, TransformerConfig)
    return cfg


def test_what_a_config_does_not_say_is_as_in_the_library():
    cfg = read(GPT2)
    assert (cfg.vocab, cfg.max_length, cfg.dims.F, cfg.norm_eps, cfg.tied) == (50_257, 1_024, 32, 1e-5, True)
    cfg = read(LLAMA)
    assert (cfg.vocab, cfg.dims.G, cfg.dims.K, cfg.norm_eps, cfg.tied) == (32_000, 2, 4, 1e-6, False)
    assert cfg.rope_base == 10_000.0 and cfg.precision == "float32"


@pytest.mark.parametrize(
    "theirs, ours",
    [
        (LINEAR, LinearScaling(factor=2.0)),
        ({"type": "linear", "factor": 2}, LinearScaling(factor=2.0)),
        (
            {
                "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
            Llama3Scaling(factor=32.0),
        ),
        (YARN | {"attention_factor": 0.1 * math.log(4) + 1, "truncate": True}, YarnScaling(factor=4.0, original=64)),
        (YARN | {"beta_fast": 8, "beta_slow": 2.0}, YarnScaling(factor=4.0, original=64, fast=8.0, slow=2.0)),
    ],
    ids=["linear", "as before 4.45", "llama3", "yarn", "yarn told whole"],
)  # fmt: skip
def test_stretched_positions_come_in_and_go_out(theirs, ours):
    old, new = LLAMA | {"rope_scaling": theirs}, LLAMA | {"rope_parameters": theirs | {"rope_theta": 1e4}}
    cfg = read(old)
    assert cfg.rope_scaling == ours == read(new).rope_scaling
    arch, written = to_json(cfg, 13, 7, stacked=False)
    assert arch.model_type == "llama" and written["rope_parameters"]["rope_theta"] == 1e4
    for key in ("rope_scaling", "rope_parameters"):
        assert read({name: value for name, value in written.items() if name != key}).rope_scaling == ours


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    "stretched, more, original",
    [
        ({"rope_type": "yarn", "factor": 2.0}, {}, 2_048),  # the default of max_position_embeddings
        ({"rope_type": "yarn", "factor": 2.0}, {"max_position_embeddings": 96}, 96),
        (YARN, {"max_position_embeddings": 96}, 64),
        ({k: v for k, v in LLAMA3.items() if k != "original_max_position_embeddings"},
         {"max_position_embeddings": 96}, 96),
    ],
    ids=["default", "most", "said", "llama3"],
)  # fmt: skip
def test_the_length_that_positions_were_made_for_is_found(key, stretched, more, original, caplog):
    cfg = read(LLAMA | {key: stretched} | more)
    assert cfg.rope_scaling.original == original and not caplog.records


def test_what_a_two_sided_model_does_not_say_is_as_in_the_library():
    bert, t5 = (from_json(config, "config.json").cfg for config in (BERT, T5))
    assert isinstance(bert, EncoderConfig) and isinstance(t5, EncoderDecoderConfig)
    assert (bert.vocab, bert.max_length, bert.dims.F, bert.kinds) == (30_522, 512, 3_072, 2)
    assert (bert.norm_eps, bert.activation, bert.bias, bert.post_norm) == (1e-12, "gelu_exact", True, True)
    assert (t5.vocab, t5.dims.K, t5.dims.F, t5.buckets, t5.bucket_reach) == (32_128, 64, 2_048, 32, 128)
    assert (t5.norm_eps, t5.activation, t5.tied, t5.scale_scores, t5.decoder_layers) == (
        1e-6,
        "relu",
        True,
        False,
        None,
    )


@pytest.mark.parametrize(
    "keys, tied",
    [
        ({}, True),
        ({"tie_word_embeddings": False}, False),
        ({"scale_decoder_outputs": False, "tie_word_embeddings": True}, False),  # as version 5 writes it
        ({"scale_decoder_outputs": True, "tie_word_embeddings": True}, True),
    ],
    ids=str,
)
def test_whether_t5_scales_before_its_head_is_read_as_every_version_writes_it(keys, tied):
    cfg = from_json({**T5, "feed_forward_proj": "gated-gelu", **keys}, "config.json").cfg
    assert isinstance(cfg, EncoderDecoderConfig) and (cfg.tied, cfg.activation) == (tied, "geglu")


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 500_000.0},
        {"rope_theta": 500_000.0, "rope_scaling": None},
        {"rope_theta": 500_000, "rope_scaling": {"type": "default"}},
        {"rope_parameters": {"rope_theta": 500_000.0, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 500_000.0}, "partial_rotary_factor": 1.0},
    ],
    ids=str,
)
def test_the_base_of_rotary_positions_is_read_as_every_version_writes_it(rope):
    assert read({**LLAMA, **rope}).rope_base == 500_000.0


REFUSED = {
    "no model_type": ({}, "config.json has no model_type; jaxlm reads gpt2, llama"),
    "another model": ({"model_type": "lama"}, r"model_type='lama' \(did you mean 'llama'\?\)"),
    "a model of another name": ({"model_type": "mamba"}, "model_type='mamba'; jaxlm reads"),
    "a name in capitals": ({"model_type": "BERT"}, r"\(did you mean 'bert'\?\)"),
    "a list as model_type": ({"model_type": ["gpt2"]}, r"model_type=\['gpt2'\]"),
    "another head": ({**GPT2, "architectures": ["GPT2ForSequenceClassification"]}, "reads GPT2LMHeadModel and GPT2Mod"),
    "no list of classes": ({**GPT2, "architectures": "GPT2LMHeadModel"}, "architectures='GPT2LMHeadModel'"),
    "exact GELU": ({**GPT2, "activation_function": "gelu"}, "activation_function='gelu'; jaxlm has gelu_new"),
    "no GELU": ({**LLAMA, "hidden_act": "gelu"}, "hidden_act='gelu'; jaxlm has silu"),
    "unscaled attention": ({**GPT2, "scale_attn_weights": False}, "scale_attn_weights=False; of gpt2, .* True only"),
    "scaled by layer": ({**GPT2, "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
    "cross-attention": ({**GPT2, "add_cross_attention": True}, "add_cross_attention=True"),
    "attention biases": ({**LLAMA, "attention_bias": True}, "attention_bias=True; of llama, .* False only"),
    "MLP biases": ({**LLAMA, "mlp_bias": True}, "mlp_bias=True"),
    "a window": ({**LLAMA, "sliding_window": 4}, "sliding_window=4; of llama, .* None only"),
    "a window in some layers": (
        {**LLAMA, "model_type": "qwen3", "use_sliding_window": True},
        "use_sliding_window=True",
    ),
    "layers of two types": ({**LLAMA, "layer_types": ["sliding_attention"]}, "layer_types="),
    "positions that depend on the text": (
        {**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
        "rope_scaling=.*dynamic.*'default', 'linear', 'llama3', 'yarn'",
    ),
    "half of Llama 3's positions": (
        {**LLAMA, "rope_parameters": {"rope_theta": 1e4, "rope_type": "llama3", "factor": 8.0}},
        "rope_parameters=.*lacks low_freq_factor",
    ),
    "positions of two kinds": ({**LLAMA, "rope_scaling": LINEAR | {"type": "yarn"}}, "names two kinds"),
    "positions of no kind": ({**LLAMA, "rope_scaling": {"factor": 2.0}}, "rope_scaling=.*stretches"),
    "positions as list": ({**LLAMA, "rope_scaling": [2.0]}, "should be null or an object"),
    "positions that blend nothing": (
        {**LLAMA, "rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}},
        "slow=4.0 is not under fast=4.0",
    ),
    "an epsilon under 0": ({**LLAMA, "rms_norm_eps": -1}, "rms_norm_eps=-1 should be a number from 0"),
    "a factor that is null": (
        {**LLAMA, "rope_scaling": YARN | {"factor": None, "attention_factor": 1.1}},
        "lacks factor",
    ),
    "positions shrunk": ({**LLAMA, "rope_scaling": LINEAR | {"factor": 0.5}}, "factor=0.5"),
    "a factor as text": ({**LLAMA, "rope_scaling": LINEAR | {"factor": "two"}}, 'factor="two"'),
    "positions with a key too many": ({**LLAMA, "rope_scaling": LINEAR | {"beta_fast": 3}}, "beta_fast=3 of 'linear'"),
    "sharper than YaRN": ({**LLAMA, "rope_scaling": YARN | {"attention_factor": 1.5}}, "attention_factor=1.5"),
    "YaRN of a multimodal model": ({**LLAMA, "rope_scaling": YARN | {"mscale": 0.7}}, "mscale=0.7 of 'yarn'"),
    "part of a head turned": ({**LLAMA, "partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    "positions left to the library": (APERTUS, "has no rope_theta"),
    "quantised": ({**GPT2, "quantization_config": {"bits": 4}}, "quantization_config=.*None only"),
    "pruned": ({**GPT2, "pruned_heads": {"0": [1]}}, "pruned_heads="),
    "a size as text": ({**GPT2, "n_embd": "8"}, "n_embd='8' should be a whole number"),
    "a size as truth": ({**GPT2, "n_layer": True}, "n_layer=True should be a whole number"),
    "no size": ({**GPT2, "n_head": None}, "n_head=None should be a whole number"),
    "a negative size": ({**GPT2, "n_layer": -1}, "n_layer=-1 should be a number from 1"),
    "a monstrous size": ({**GPT2, "vocab_size": 10**30}, "vocab_size=1000000"),
    "an epsilon as list": ({**GPT2, "layer_norm_epsilon": []}, r"layer_norm_epsilon=\[\] should be a number"),
    "a negative epsilon": ({**GPT2, "layer_norm_epsilon": -1.0}, "norm_eps"),
    "a word as number": ({**GPT2, "activation_function": 3}, "activation_function=3 should be a word"),
    "tied as text": ({**GPT2, "tie_word_embeddings": "yes"}, "tie_word_embeddings='yes' should be true or false"),
    "a BERT of distances": (
        {**BERT, "position_embedding_type": "relative_key"},
        "position_embedding_type='relative_key'",
    ),
    "a BERT that writes": ({**BERT, "is_decoder": True}, "is_decoder=True"),
    "a BERT that crosses": ({**BERT, "add_cross_attention": True}, "add_cross_attention=True"),
    "a BERT with a head of its own": ({**BERT, "tie_word_embeddings": False}, "tie_word_embeddings=False; of bert"),
    "a BERT for classes": (
        {**BERT, "architectures": ["BertForSequenceClassification"]},
        "reads BertForMaskedLM and BertForPreTraining and BertModel",
    ),
    "a BERT of another activation": ({**BERT, "hidden_act": "silu"}, "hidden_act='silu'; jaxlm has gelu"),
    "a T5 without a decoder": ({**T5, "is_encoder_decoder": False}, "is_encoder_decoder=False; of t5"),
    "only T5's encoder": ({**T5, "architectures": ["T5EncoderModel"]}, "architectures=.*T5EncoderModel"),
    "a T5 of one stack": ({**T5, "tie_encoder_decoder": True}, "tie_encoder_decoder=True"),
    "another gate in T5": ({**T5, "feed_forward_proj": "gated-relu"}, "feed_forward_proj='gated-relu'"),
    "a T5 that gates against its word": (
        {**T5, "feed_forward_proj": "gated-gelu", "is_gated_act": False},
        "is_gated_act=False does not go with feed_forward_proj, which makes it True",
    ),
    "a T5 of another GELU": (
        {**T5, "feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"},
        "dense_act_fn='gelu' .*makes it 'gelu_new'",
    ),
    "no buckets": ({**T5, "relative_attention_num_buckets": 0}, "relative_attention_num_buckets=0"),
    "heads that do not divide": ({**GPT2, "n_head": 3}, "n_embd=8 is not a multiple of n_head=3: change one$"),
    "heads that have a width": ({**LLAMA, "num_attention_heads": 3}, "num_attention_heads=3: .* or set head_dim$"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_jaxlm_does_not_compute_is_refused_by_its_key(name):
    config, words = REFUSED[name]
    with pytest.raises(UserError, match=words) as error:
        from_json(config, "config.json")
    assert "\n" not in str(error.value)


def test_keys_that_nobody_knows_are_told_and_those_that_change_nothing_are_not(caplog):
    harmless = {"resid_pdrop": 0.1, "torch_dtype": "float16", "bos_token_id": 1, "use_cache": True, "n_ctx": 9}
    read({**GPT2, **harmless, "transformers_version": "4.0", "new_thing": None})
    assert not caplog.records
    read({**GPT2, "new_thing": 3, "alpha": [1]})
    assert "not known to jaxlm, and left out of account: alpha, new_thing" in caplog.text


# --- our key


def test_our_key_brings_back_what_theirs_cannot_say():
    cfg = TransformerConfig(**{**SIZES, "precision": "bfloat16", "dropout": 0.1, "std": 0.01, "residual": "zero"})
    _, config = to_json(cfg, 13, 7, stacked=True)
    found = from_json(config, "config.json")
    assert found.cfg == cfg and found.stacked
    del config["jaxlm"]
    without = from_json(config, "config.json")
    assert without.cfg.bias and not without.stacked and without.cfg.dropout == 0.0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"n_layer": 3}, "edited since.*layers=2, n_layer says 3"),
        ({"jaxlm": {"model": {"kind": "recurrent", "width": 8}, "stacked": False}}, "holds a recurrent, not a gpt2"),
        (
            {"jaxlm": {"model": {"kind": "decoder", "size": "1m"}}},
            "is not as this jaxlm writes it: .*stacked.*remove that key",
        ),
        ({"jaxlm": {}}, "is not as this jaxlm writes it: jaxlm.model.*jaxlm.stacked"),
    ],
    ids=str,
)
def test_our_key_is_believed_only_where_it_agrees(change, words):
    config = copy.deepcopy(to_json(ALL["gpt2"], 13, 7, stacked=False)[1]) | change
    with pytest.raises(UserError, match=words):
        from_json(config, "config.json")


# --- export


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"softcap": 30.0, "bias": True}, r"nearest is gpt2, which does not have model.softcap=30.0 \(it has None\)"),
        ({"position": "rotary", "norm": "layernorm"}, "model.norm='layernorm'"),
        ({"position": "rotary", "norm": "rmsnorm", "window": 4, "activation": "relu2"}, "model.window=4"),
        ({"kv_heads": 2}, "nearest is gpt2, which does not have model.kv_heads=2"),
        ({"head_width": 8}, "model.head_width=8"),
        ({"qk_norm": True}, "model.qk_norm=True"),
        ({"embedding_scale": True, "bias": True}, "nearest is gpt2, which does not have model.embedding_scale=True"),
    ],
    ids=str,
)
def test_a_model_that_no_architecture_computes_is_refused_with_the_nearest(fields, words):
    with pytest.raises(UserError, match=words):
        to_json(TransformerConfig(**SIZES | fields), 13, 7, stacked=False)


@pytest.mark.parametrize(
    "key, value",
    [
        ("rope_scaling", {"rope_type": "linear", "factor": 4.0}),
        ("rope_scaling", -1),
        ("rope_scaling", "x"),
        ("rope_theta", 7.0),
        ("rope_theta", "x"),
        ("partial_rotary_factor", 0.5),
    ],
)
def test_what_two_versions_say_of_rotary_positions_must_agree(key, value):
    new = LLAMA | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}}
    from_json(new | {"rope_theta": 1e4, "rope_scaling": None}, "config.json")
    with pytest.raises(UserError, match=f"{key}=.* is not what rope_parameters="):
        from_json(new | {key: value}, "config.json")


@pytest.mark.parametrize("value", [["relu"], [], {}, {"relu": 1}])
def test_a_word_that_is_a_list_is_refused(value):
    with pytest.raises(UserError, match="feed_forward_proj="):
        from_json(T5 | {"feed_forward_proj": value}, "config.json")


@pytest.mark.parametrize(
    "cfg, words",
    [
        (
            EncoderConfig(**SIZES, **MODERN | {"norm_eps": 1e-12, "kinds": 2}),
            "nearest is bert, which does not have model.position",
        ),
        (EncoderConfig(**SIZES, post_norm=False), "nearest is bert, which does not have model.post_norm=False"),
        (EncoderConfig(**SIZES, kinds=0), "nearest is bert, and it cannot be one: bert: type_vocab_size=0 should be"),
        (EncoderDecoderConfig(**SIZES, **VASWANI), "nearest is t5, which does not have .*model.position='sinusoidal'"),
        (EncoderDecoderConfig(**SIZES, kv_heads=2), "nearest is t5, which does not have model.kv_heads=2"),
    ],
    ids=["modern", "norms first", "one kind of token", "the first Transformer", "shared keys"],
)
def test_a_two_sided_model_that_neither_computes_is_refused_with_the_nearest(cfg, words):
    with pytest.raises(UserError, match=words):
        to_json(cfg, 13, 7, stacked=False)


ROTARY, LOCAL = {"position": "rotary"}, {"window": 3, "global_every": 3}


def test_every_field_of_a_decoder_counts_or_is_known_not_to():
    """Each field changed to something else: export says the same model in config.json, or refuses."""
    other = {
        "vocab": 14, "layers": 3, "heads": 2, "width": 12, "ff_width": 9, "max_length": 8, "kv_heads": 3,
        "head_width": 6, "position": "rotary", "rope_base": 9.0, "norm": "rmsnorm", "norm_eps": 0.1,
        "activation": "relu2", "bias": True, "tied": False, "qk_norm": True, "window": 3, "softcap": 3.0,
        "embedding_scale": True, "embedding_norm": True, "first_norm": False, "post_norm": True, "scale_scores": False,
        "global_every": 2, "global_first": True, "rope_scaling": LinearScaling(factor=2.0), "local_rope_base": 9.0,
        "buckets": 8, "bucket_reach": 99,
    }  # fmt: skip
    assert other.keys() == config_json.facts(TransformerConfig(**SIZES), 13, 7).keys()
    needed = {"rope_base": ROTARY, "rope_scaling": ROTARY, "local_rope_base": ROTARY | LOCAL, "global_every": LOCAL}
    needed["first_norm"] = {"embedding_norm": True}
    needed |= {"global_first": LOCAL, "buckets": {"position": "buckets"}, "bucket_reach": {"position": "buckets"}}
    for name, value in other.items():
        fields = SIZES | needed.get(name, {})
        if name == "global_every":
            del fields["global_every"]
        base, changed = TransformerConfig(**fields), TransformerConfig(**fields | {name: value})
        assert config_json.facts(changed, changed.vocab, 7) != config_json.facts(base, 13, 7), name
    assert config_json.facts(TransformerConfig(**SIZES, rope_base=9.0), 13, 7) == config_json.facts(
        TransformerConfig(**SIZES), 13, 7
    )  # only rotary positions have a base
