"""Rows of the table of layouts.py for models that see both ways: BERT, which fills gaps, and T5, which answers.

BERT is saved with the heads that its user had. Which of them a folder holds is seen by its tensors; the one for hidden
tokens, which every encoder of ours has, is drawn at random where it is missing.
"""

from collections.abc import Mapping

from jaxlm.interop.table import Architecture, Field, Row, affine, layernorm
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import EncoderDecoderConfig
from jaxlm.models.stack_config import GATED

# --- BERT

_L = "bert.encoder.layer.{N}"
_B = "block_{N}"
_ORDER = ("sentence_order", (True,))
_TOKENS = "bert.embeddings.word_embeddings.weight"
_PREDICTIONS = "cls.predictions"


def _product(theirs: str, shape: str, bias: str, ours: str, letters: str, of_bias: str, **more) -> tuple[Row, Row]:
    return affine(theirs, shape, bias, {ours: (letters, of_bias)}, zeros=False, **more)


_BERT_ROWS = (
    Row(_TOKENS, "V D", {"embedding": "V D"}),
    Row("bert.embeddings.position_embeddings.weight", "P D", {"position": "P D"}),
    Row("bert.embeddings.token_type_embeddings.weight", "J D", {"kind": "J D"}),
    *layernorm("bert.embeddings.LayerNorm", "embedding_norm", zeros=False),
    *_product(f"{_L}.attention.self.query", "GRK D", "GRK", f"{_B}/attention/q", "D G R K", "G R K"),
    *_product(f"{_L}.attention.self.key", "GK D", "GK", f"{_B}/attention/k", "D G K", "G K"),
    *_product(f"{_L}.attention.self.value", "GK D", "GK", f"{_B}/attention/v", "D G K", "G K"),
    *_product(f"{_L}.attention.output.dense", "D GRK", "D", f"{_B}/attention/o", "G R K D", "D"),
    *layernorm(f"{_L}.attention.output.LayerNorm", f"{_B}/attention_norm", zeros=False),
    *_product(f"{_L}.intermediate.dense", "F D", "F", f"{_B}/mlp/up", "D F", "F"),
    *_product(f"{_L}.output.dense", "D F", "D", f"{_B}/mlp/down", "F D", "D"),
    *layernorm(f"{_L}.output.LayerNorm", f"{_B}/mlp_norm", zeros=False),
    *_product("bert.pooler.dense", "E D", "E", "pooler", "D E", "E", head="pooler", when=_ORDER),
    Row("cls.seq_relationship.weight", "C D", {"order": "C D"}, head="order", when=_ORDER),
    Row("cls.seq_relationship.bias", "C", {"order_b": "C"}, head="order", when=_ORDER),
    *_product(f"{_PREDICTIONS}.transform.dense", "E D", "E", "transform", "D E", "E", head="tokens"),
    *layernorm(f"{_PREDICTIONS}.transform.LayerNorm", "transform_norm", zeros=False, head="tokens"),
    Row(f"{_PREDICTIONS}.bias", "V", {"head_b": "V"}, head="tokens"),
    Row(f"{_PREDICTIONS}.decoder.weight", "V D", {}, copy_of=_TOKENS),
    Row(f"{_PREDICTIONS}.decoder.bias", "V", {}, copy_of=f"{_PREDICTIONS}.bias"),
)

BERT = Architecture(  # Devlin et al. 2019, arXiv:1810.04805
    model_type="bert",
    classes=("BertForMaskedLM", "BertForPreTraining", "BertModel"),
    prefix="bert.",
    config=EncoderConfig,
    constant={"position": "learned", "norm": "layernorm", "bias": True, "post_norm": True, "embedding_norm": True},
    fields=(
        Field("vocab_size", "vocab", 30_522),
        Field("hidden_size", "width", 768),
        Field("num_hidden_layers", "layers", 12),
        Field("num_attention_heads", "heads", 12),
        Field("intermediate_size", "ff_width", 3_072),
        Field("max_position_embeddings", "max_length", 512),
        Field("type_vocab_size", "kinds", 2),
        Field("layer_norm_eps", "norm_eps", 1e-12, float),
        Field(
            "hidden_act",
            "activation",
            "gelu",
            str,
            {"gelu": "gelu_exact", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu", "relu2": "relu2"},
        ),
    ),
    only={
        "position_embedding_type": ("absolute", None),
        "tie_word_embeddings": (True,),  # untied, the head has a bias of its own
        "is_decoder": (False, None),
        "add_cross_attention": (False, None),
    },
    rows=_BERT_ROWS,
    ignored=r"(bert\.)?embeddings\.position_ids",  # 0, 1, 2, ... in old files
    renamed={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},  # from TensorFlow's
    shown={"sentence_order": (r"bert\.pooler\.|cls\.seq_relationship\.", "BertForPreTraining")},
    objective="masked",
)

# --- T5


def _attention(theirs: str, ours: str) -> tuple[Row, ...]:
    made = {"q": ("GRK D", "D G R K"), "k": ("GK D", "D G K"), "v": ("GK D", "D G K"), "o": ("D GRK", "G R K D")}
    return tuple(
        Row(f"{theirs}.{name}.weight", shape, {f"{ours}/{name}/w": letters}) for name, (shape, letters) in made.items()
    )


def _norm(theirs: str, ours: str) -> Row:
    return Row(f"{theirs}.weight", "D", {f"{ours}/scale": "D"})


_FEED_FORWARD: Mapping[str, str] = {  # with a gate, as v1.1 has it, and without
    "relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu", "gelu": "gelu_exact", "gelu_new": "gelu",
    "gated-gelu_new": "geglu",
}  # fmt: skip
_HAS_GATE = ("activation", GATED)
_NO_GATE = ("activation", tuple({*_FEED_FORWARD.values()} - {*GATED}))


def _t5_stack(name: str, n: str, crosses: bool) -> tuple[Row, ...]:
    """Rows of the encoder or of the decoder, whose layers `n` counts."""
    layer, block = f"{name}.block.{n}.layer", f"{name}/block_{n}"
    last = 1 + crosses
    cross = (
        *_attention(f"{layer}.1.EncDecAttention", f"{block}/cross"),
        _norm(f"{layer}.1.layer_norm", f"{block}/cross_norm"),
    )
    mlp, first = f"{layer}.{last}.DenseReluDense", f"{name}.block.0.layer.0.SelfAttention"
    return (
        Row(f"{first}.relative_attention_bias.weight", "T GR", {f"{name}/bucket_b": "T G R"}),
        *_attention(f"{layer}.0.SelfAttention", f"{block}/attention"),
        _norm(f"{layer}.0.layer_norm", f"{block}/attention_norm"),
        *(cross if crosses else ()),
        Row(f"{mlp}.wi.weight", "F D", {f"{block}/mlp/up/w": "D F"}, when=_NO_GATE),
        Row(f"{mlp}.wi_0.weight", "F D", {f"{block}/mlp/gate/w": "D F"}, when=_HAS_GATE),
        Row(f"{mlp}.wi_1.weight", "F D", {f"{block}/mlp/up/w": "D F"}, when=_HAS_GATE),
        Row(f"{mlp}.wo.weight", "D F", {f"{block}/mlp/down/w": "F D"}),
        _norm(f"{layer}.{last}.layer_norm", f"{block}/mlp_norm"),
        _norm(f"{name}.final_layer_norm", f"{name}/final_norm"),
    )  # fmt: skip


T5 = Architecture(  # Raffel et al. 2020, arXiv:1910.10683; v1.1: Shazeer 2020, arXiv:2002.05202
    model_type="t5",
    classes=("T5ForConditionalGeneration", "T5WithLMHeadModel"),
    prefix="",
    config=EncoderDecoderConfig,
    constant={"position": "buckets", "norm": "rmsnorm", "bias": False, "scale_scores": False},
    fields=(
        Field("vocab_size", "vocab", 32_128),
        Field("d_model", "width", 512),
        Field("num_layers", "layers", 6),
        Field("num_decoder_layers", "decoder_layers", None),
        Field("num_heads", "heads", 8),
        Field("d_kv", "head_width", 64),
        Field("d_ff", "ff_width", 2_048),
        Field("n_positions", "max_length", 512),  # no limit, but what it was trained on
        Field("relative_attention_num_buckets", "buckets", 32),
        Field("relative_attention_max_distance", "bucket_reach", 128),
        Field("layer_norm_epsilon", "norm_eps", 1e-6, float),
        Field("feed_forward_proj", "activation", "relu", str, _FEED_FORWARD),
        Field("tie_word_embeddings", "tied", True, bool),
    ),
    only={"is_encoder_decoder": (True,), "is_decoder": (False, None), "tie_encoder_decoder": (False, None)},
    rows=(
        Row("shared.weight", "V D", {"embedding": "V D"}),
        Row("encoder.embed_tokens.weight", "V D", {}, copy_of="shared.weight"),
        Row("decoder.embed_tokens.weight", "V D", {}, copy_of="shared.weight"),
        *_t5_stack("encoder", "{N}", crosses=False),
        *_t5_stack("decoder", "{M}", crosses=True),
        Row("lm_head.weight", "V D", {"head": "V D"}, copy_of="shared.weight", fills=True),
    ),
    ignored=r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",  # in old files; unused
    implied={
        "is_gated_act": ("feed_forward_proj", {word: word.startswith("gated-") for word in _FEED_FORWARD}),
        "dense_act_fn": (
            "feed_forward_proj",
            {word: word.removeprefix("gated-") for word in _FEED_FORWARD} | {"gated-gelu": "gelu_new"},
        ),
    },
    objective="spans",
)  # fmt: skip
