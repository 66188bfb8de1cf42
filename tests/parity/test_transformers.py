"""Same weights, same logits: our decoder beside GPT-2 and Llama of Hugging Face transformers.

Models are tiny and random, so nothing is downloaded. Shapes are uneven on purpose: a transposed square
weight would go unnoticed.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.models.build import build
from jaxlm.models.positions import LinearScaling, Llama3Scaling, YarnScaling
from jaxlm.models.transformer import TransformerConfig

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

VOCAB, LENGTH, LAYERS, WIDTH, HEADS, K = 61, 24, 2, 48, 6, 8


def weights_of(model) -> dict[str, np.ndarray]:
    """Its parameters, each moved by noise: fresh biases are all 0 and norms all 1, which tests nothing."""
    noise = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.from_numpy(noise.normal(0, 0.1, parameter.shape).astype(np.float32)))
    return {name: parameter.numpy() for name, parameter in model.state_dict().items()}


def ours(cfg: TransformerConfig, params: dict, token: np.ndarray) -> np.ndarray:
    model = build(cfg, vocab=VOCAB, length=LENGTH, packed=False, platform="cpu")
    expected = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(model.init, jax.random.key(0)))
    assert jax.tree.map(np.shape, params) == expected
    position = np.broadcast_to(np.arange(token.shape[1]), token.shape)
    batch = Batch(*map(jnp.asarray, (token, token, np.ones(token.shape), np.ones_like(token), position)))
    params = jax.tree.map(jnp.asarray, params)
    return np.asarray(model.hidden(params, batch) @ model.head(params).T)


def theirs(model, token: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(torch.from_numpy(token)).logits.numpy()


def some_tokens() -> np.ndarray:
    return np.random.default_rng(1).integers(0, VOCAB, (3, LENGTH))


def test_gpt2_gives_the_same_logits():
    peer = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCAB, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=80
        )
    )
    w = weights_of(peer)
    token = some_tokens()
    cfg = TransformerConfig(layers=LAYERS, heads=HEADS, width=WIDTH, ff_width=80, bias=True, precision="float32")
    np.testing.assert_allclose(ours(cfg, from_gpt2(w), token), theirs(peer, token), atol=1e-4)


def from_gpt2(w: dict[str, np.ndarray]) -> dict:
    norm = lambda name: {"scale": w[f"{name}.weight"], "b": w[f"{name}.bias"]}

    def product(name, weight_shape, bias_shape):  # transformers' Conv1D: (in, out), as ours
        return {"w": w[f"{name}.weight"].reshape(weight_shape), "b": w[f"{name}.bias"].reshape(bias_shape)}

    def block(n):
        h = f"transformer.h.{n}"
        qkv = dict(zip("qkv", np.split(w[f"{h}.attn.c_attn.weight"], 3, axis=1), strict=True))
        qkv_b = dict(zip("qkv", np.split(w[f"{h}.attn.c_attn.bias"], 3), strict=True))
        heads = {"q": (HEADS, 1, K), "k": (HEADS, K), "v": (HEADS, K)}
        attention = {
            name: {"w": qkv[name].reshape(WIDTH, *shape), "b": qkv_b[name].reshape(shape)}
            for name, shape in heads.items()
        }
        attention["o"] = product(f"{h}.attn.c_proj", (HEADS, 1, K, WIDTH), (WIDTH,))
        return {
            "attention_norm": norm(f"{h}.ln_1"),
            "attention": attention,
            "mlp_norm": norm(f"{h}.ln_2"),
            "mlp": {
                "up": product(f"{h}.mlp.c_fc", (WIDTH, 80), (80,)),
                "down": product(f"{h}.mlp.c_proj", (80, WIDTH), (WIDTH,)),
            },
        }

    return {
        "embedding": w["transformer.wte.weight"],
        "position": w["transformer.wpe.weight"],
        "final_norm": norm("transformer.ln_f"),
    } | {f"block_{n}": block(n) for n in range(LAYERS)}


@pytest.mark.parametrize("kv_heads", [6, 2, 1], ids="kv_heads={}".format)
def test_llama_gives_the_same_logits(kv_heads):
    peer = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=WIDTH,
            intermediate_size=80,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=kv_heads,
            max_position_embeddings=LENGTH,
            rms_norm_eps=1e-5,
            tie_word_embeddings=False,
        )
    )
    w = weights_of(peer)
    token = some_tokens()
    cfg = TransformerConfig(
        layers=LAYERS,
        heads=HEADS,
        kv_heads=kv_heads,
        width=WIDTH,
        ff_width=80,
        position="rotary",
        norm="rmsnorm",
        activation="swiglu",
        tied=False,
        precision="float32",
    )
    np.testing.assert_allclose(ours(cfg, from_llama(w, kv_heads), token), theirs(peer, token), atol=1e-4)


SCALINGS = [
    (LinearScaling(factor=4.0), dict(rope_type="linear", factor=4.0)),
    (
        Llama3Scaling(factor=8.0, original=16),
        dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=16,
        ),
    ),
    (
        YarnScaling(factor=4.0, original=64, fast=8.0),
        dict(rope_type="yarn", factor=4.0, beta_fast=8.0, original_max_position_embeddings=64),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("scaling", "theirs_is"), SCALINGS, ids=lambda x: getattr(x, "kind", ""))
def test_llama_with_stretched_positions_gives_the_same_logits(scaling, theirs_is):
    wide = 32  # of heads: enough pairs that each kind has some that are left, blended and divided
    peer = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=80, num_hidden_layers=LAYERS, head_dim=wide,
            num_attention_heads=HEADS, num_key_value_heads=2, max_position_embeddings=256, rms_norm_eps=1e-5,
            tie_word_embeddings=False, rope_parameters=theirs_is | {"rope_theta": 500.0},
        )
    )  # fmt: skip
    w = weights_of(peer)
    cfg = TransformerConfig(
        layers=LAYERS, heads=HEADS, kv_heads=2, width=WIDTH, head_width=wide, ff_width=80, position="rotary",
        rope_base=500.0, rope_scaling=scaling, norm="rmsnorm", activation="swiglu", tied=False, precision="float32",
    )  # fmt: skip
    token = some_tokens()
    got = ours(cfg, from_llama(w, 2, wide), token)
    np.testing.assert_allclose(got, theirs(peer, token), atol=1e-4)
    plain = ours(cfg.model_copy(update={"rope_scaling": None}), from_llama(w, 2, wide), token)
    assert np.abs(got - plain).max() > 1e-2


def from_llama(w: dict[str, np.ndarray], G: int, K: int = K) -> dict:
    R = HEADS // G
    norm = lambda name: {"scale": w[f"{name}.weight"]}
    product = lambda name, *shape: {"w": w[f"{name}.weight"].T.reshape(shape)}  # Linear: (out, in)

    def block(n):
        h = f"model.layers.{n}"
        return {
            "attention_norm": norm(f"{h}.input_layernorm"),
            "attention": {
                "q": product(f"{h}.self_attn.q_proj", WIDTH, G, R, K),
                "k": product(f"{h}.self_attn.k_proj", WIDTH, G, K),
                "v": product(f"{h}.self_attn.v_proj", WIDTH, G, K),
                "o": product(f"{h}.self_attn.o_proj", G, R, K, WIDTH),
            },
            "mlp_norm": norm(f"{h}.post_attention_layernorm"),
            "mlp": {
                "gate": product(f"{h}.mlp.gate_proj", WIDTH, 80),
                "up": product(f"{h}.mlp.up_proj", WIDTH, 80),
                "down": product(f"{h}.mlp.down_proj", 80, WIDTH),
            },
        }

    return {
        "embedding": w["model.embed_tokens.weight"],
        "head": w["lm_head.weight"],
        "final_norm": norm("model.norm"),
    } | {f"block_{n}": block(n) for n in range(LAYERS)}
