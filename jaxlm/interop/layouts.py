"""Which tensor of a Hugging Face model is which parameter of ours, and which key of its config.json which field.

One table, read forwards by import and backwards by export. A new architecture is a new row of ARCHITECTURES; what
a row can say is in table.py, and those of models that see both ways are in layouts_two_sided.py. Names,
keys and defaults are those of the library transformers 5.24 (`modeling_*.py` and `configuration_*.py`).

What an architecture cannot say is not here: import refuses it, by its key and value, and export finds another
architecture or refuses. Dropout is a matter of training and comes along in neither direction.
"""

from jaxlm.interop import rope
from jaxlm.interop.layouts_two_sided import BERT, T5
from jaxlm.interop.table import NEEDED, Codec, Field, Row, affine, layernorm
from jaxlm.interop.table import Architecture as Architecture
from jaxlm.models.transformer import TransformerConfig

# --- GPT-2

_H = "transformer.h.{N}"

_GPT2_ROWS = (
    Row("transformer.wte.weight", "V D", {"embedding": "V D"}),
    Row("transformer.wpe.weight", "P D", {"position": "P D"}),
    *layernorm(f"{_H}.ln_1", "block_{N}/attention_norm"),
    *affine(
        f"{_H}.attn.c_attn",  # transformers' Conv1D has (in, out), as ours
        "D GRK|GK|GK",
        "GRK|GK|GK",
        {
            "block_{N}/attention/q": ("D G R K", "G R K"),
            "block_{N}/attention/k": ("D G K", "G K"),
            "block_{N}/attention/v": ("D G K", "G K"),
        },
    ),
    *affine(f"{_H}.attn.c_proj", "GRK D", "D", {"block_{N}/attention/o": ("G R K D", "D")}),
    *layernorm(f"{_H}.ln_2", "block_{N}/mlp_norm"),
    *affine(f"{_H}.mlp.c_fc", "D F", "F", {"block_{N}/mlp/up": ("D F", "F")}),
    *affine(f"{_H}.mlp.c_proj", "F D", "D", {"block_{N}/mlp/down": ("F D", "D")}),
    *layernorm("transformer.ln_f", "final_norm"),
    Row("lm_head.weight", "V D", {"head": "V D"}, copy_of="transformer.wte.weight"),
)

GPT2 = Architecture(
    model_type="gpt2",
    classes=("GPT2LMHeadModel", "GPT2Model"),
    prefix="transformer.",
    config=TransformerConfig,
    constant={"position": "learned", "norm": "layernorm", "bias": True},
    fields=(
        Field("vocab_size", "vocab", 50_257),
        Field("n_positions", "max_length", 1_024),
        Field("n_embd", "width", 768),
        Field("n_layer", "layers", 12),
        Field("n_head", "heads", 12),
        Field("n_inner", "ff_width", None),
        Field("layer_norm_epsilon", "norm_eps", 1e-5, float),
        Field(
            "activation_function",
            "activation",
            "gelu_new",
            str,
            {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu2": "relu2"},
        ),
        Field("tie_word_embeddings", "tied", True, bool),
    ),
    only={
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    rows=_GPT2_ROWS,
    ignored=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",  # the causal mask, in old files
)

# --- Llama and those that changed one thing

_LAYER = "model.layers.{N}"
_linear = lambda theirs, shape, ours, letters: Row(f"{_LAYER}.{theirs}.weight", shape, {f"block_{{N}}/{ours}": letters})
_EMBEDDING = Row("model.embed_tokens.weight", "V D", {"embedding": "V D"})
_HEAD = Row("lm_head.weight", "V D", {"head": "V D"}, copy_of="model.embed_tokens.weight")
_FINAL_NORM = Row("model.norm.weight", "D", {"final_norm/scale": "D"})
_ATTENTION = (  # torch's Linear has (out, in)
    _linear("self_attn.q_proj", "GRK D", "attention/q/w", "D G R K"),
    _linear("self_attn.k_proj", "GK D", "attention/k/w", "D G K"),
    _linear("self_attn.v_proj", "GK D", "attention/v/w", "D G K"),
    _linear("self_attn.o_proj", "D GRK", "attention/o/w", "G R K D"),
)
_QK_NORM = (
    _linear("self_attn.q_norm", "K", "attention/q_norm/scale", "K"),
    _linear("self_attn.k_norm", "K", "attention/k_norm/scale", "K"),
)
_NORMS = (
    _linear("input_layernorm", "D", "attention_norm/scale", "D"),
    _linear("post_attention_layernorm", "D", "mlp_norm/scale", "D"),
)
_UNGATED = (_linear("mlp.up_proj", "F D", "mlp/up/w", "D F"), _linear("mlp.down_proj", "D F", "mlp/down/w", "F D"))
_GATED = (_linear("mlp.gate_proj", "F D", "mlp/gate/w", "D F"), *_UNGATED)
_SILU = {"silu": "swiglu", "swish": "swiglu"}


def _fields(*others: Field, act: Field, vocab: int, width: int, ff: int, length: int, eps: float) -> tuple[Field, ...]:
    """The fields that Llama and its kin have in common, with the defaults of each; 32 layers and heads in all."""
    return (
        Field("vocab_size", "vocab", vocab),
        Field("hidden_size", "width", width),
        Field("intermediate_size", "ff_width", ff),
        Field("num_hidden_layers", "layers", 32),
        Field("num_attention_heads", "heads", 32),
        Field("max_position_embeddings", "max_length", length),
        Field("rms_norm_eps", "norm_eps", eps, float),
        Field("tie_word_embeddings", "tied", False, bool),
        Field("rope_scaling", "rope_scaling", None, codec=Codec(rope.read, rope.write)),
        act,
        *others,
    )


_ROPE = Field("rope_theta", "rope_base", 10_000.0, float)
_KV_HEADS = Field("num_key_value_heads", "kv_heads", None)
_HEAD_DIM = Field("head_dim", "head_width", None)
_ROTARY = {"position": "rotary", "norm": "rmsnorm", "bias": False}

LLAMA = Architecture(
    model_type="llama",
    classes=("LlamaForCausalLM", "LlamaModel"),
    prefix="model.",
    config=TransformerConfig,
    constant=_ROTARY,
    fields=_fields(
        _ROPE, _KV_HEADS, _HEAD_DIM, act=Field("hidden_act", "activation", "silu", str, _SILU),
        vocab=32_000, width=4_096, ff=11_008, length=2_048, eps=1e-6,
    ),
    only={
        "attention_bias": (False,),
        "mlp_bias": (False,),
        "sliding_window": (None,),
        "rope_interleaved": (None, False),
        "partial_rotary_factor": (None, 1.0),
        "layer_types": (None,),
    },
    rows=(_EMBEDDING, *_ATTENTION, *_NORMS, *_GATED, _FINAL_NORM, _HEAD),
    ignored=r"(model\.)?(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq",  # in old files
)  # fmt: skip

MISTRAL = LLAMA._replace(  # Jiang et al. 2023, arXiv:2310.06825: a window
    model_type="mistral",
    classes=("MistralForCausalLM", "MistralModel"),
    fields=_fields(
        _ROPE, Field("num_key_value_heads", "kv_heads", 8), _HEAD_DIM,
        Field("sliding_window", "window", 4_096, optional=True),
        act=Field("hidden_act", "activation", "silu", str, _SILU),
        vocab=32_000, width=4_096, ff=14_336, length=131_072, eps=1e-6,
    ),
    only={key: values for key, values in LLAMA.only.items() if key != "sliding_window"},
)  # fmt: skip

QWEN3 = LLAMA._replace(  # Yang et al. 2025, arXiv:2505.09388: queries and keys are normed
    model_type="qwen3",
    classes=("Qwen3ForCausalLM", "Qwen3Model"),
    constant=_ROTARY | {"qk_norm": True},
    fields=_fields(
        _ROPE, Field("num_key_value_heads", "kv_heads", 32), Field("head_dim", "head_width", 128),
        act=Field("hidden_act", "activation", "silu", str, _SILU),
        vocab=151_936, width=4_096, ff=22_016, length=32_768, eps=1e-6,
    ),
    only={key: values for key, values in LLAMA.only.items() if key != "sliding_window"}
    | {"use_sliding_window": (False,)},
    rows=(_EMBEDDING, *_ATTENTION, *_QK_NORM, *_NORMS, *_GATED, _FINAL_NORM, _HEAD),
)  # fmt: skip

_NO_GATE = {"relu2": "relu2", "gelu_pytorch_tanh": "gelu", "gelu_new": "gelu"}

ARCEE = LLAMA._replace(  # AFM (Arcee 2025): no gate, squared ReLU
    model_type="arcee",
    classes=("ArceeForCausalLM", "ArceeModel"),
    fields=_fields(
        _ROPE, _KV_HEADS, _HEAD_DIM, act=Field("hidden_act", "activation", "relu2", str, _NO_GATE),
        vocab=32_000, width=2_560, ff=18_432, length=4_096, eps=1e-5,
    ),
    rows=(_EMBEDDING, *_ATTENTION, *_NORMS, *_UNGATED, _FINAL_NORM, _HEAD),
)  # fmt: skip

APERTUS = LLAMA._replace(  # Apertus 2025, arXiv:2509.14233: no gate, and queries and keys are normed
    model_type="apertus",
    classes=("ApertusForCausalLM", "ApertusModel"),
    constant=_ROTARY | {"qk_norm": True},
    fields=_fields(
        Field("rope_theta", "rope_base", NEEDED, float),  # silent, it scales positions in Llama 3's way
        _KV_HEADS, _HEAD_DIM, act=Field("hidden_act", "activation", "xielu", str, _NO_GATE),
        vocab=131_072, width=4_096, ff=14_336, length=65_536, eps=1e-5,
    ),
    rows=(
        _EMBEDDING,
        *_ATTENTION,
        *_QK_NORM,
        _linear("attention_layernorm", "D", "attention_norm/scale", "D"),
        _linear("feedforward_layernorm", "D", "mlp_norm/scale", "D"),
        *_UNGATED,
        _FINAL_NORM,
        _HEAD,
    ),
)  # fmt: skip

# Export takes the first that computes what the model does.
ARCHITECTURES = {one.model_type: one for one in (GPT2, LLAMA, MISTRAL, QWEN3, ARCEE, APERTUS, BERT, T5)}

# Keys that change no number that jaxlm computes: they are not read. Others are not known, and import says so.
FREE = (
    r".*_token_id|.*_pdrop|.*dropout.*|summary_.*|output_.*|return_dict.*|transformers.*|architectures|model_type"
    r"|dtype|torch_dtype|torchscript|use_cache|initializer_range|task_specific_params|id2label|label2id|num_labels"
    r"|_?name_or_path|tokenizer_class|problem_type|finetuning_task|gradient_checkpointing|n_ctx|prefix|jaxlm"
    r"|reorder_and_upcast_attn|pretraining_tp|use_bfloat16|chunk_size_feed_forward|max_window_layers"
    r"|_attn_implementation.*|attn_implementation|is_decoder|is_llama_config|initializer_factor|sliding_window"
)
ONLY = {  # of every architecture
    "quantization_config": (None,),
    "is_encoder_decoder": (False, None),
    "pruned_heads": ({}, None),
}
