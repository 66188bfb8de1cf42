"""Same weights, same logits and gradients: our decoder with ALiBi beside Hugging Face's BLOOM."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.models.build import build
from jaxlm.models.transformer import TransformerConfig

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tests.parity import peers

VOCAB, LENGTH, LAYERS, K = 19, 14, 2, 4


def ours_of(w, heads: int) -> dict:
    def block(n):
        h = f"transformer.h.{n}"
        # Theirs has queries, keys and values of one head side by side.
        weight = w[f"{h}.self_attention.query_key_value.weight"].reshape(heads, 3, K, -1)
        bias = w[f"{h}.self_attention.query_key_value.bias"].reshape(heads, 3, K)
        qkv = {f"{x}.weight": weight[:, i].reshape(heads * K, -1) for i, x in enumerate("qkv")}
        qkv |= {f"{x}.bias": bias[:, i].reshape(-1) for i, x in enumerate("qkv")}
        names = {"q": "q", "k": "k", "v": "v", "o": f"{h}.self_attention.dense"}
        return {
            "attention": peers.attention(w | qkv, names, heads, 1, K, True),
            "attention_norm": peers.norm(w, f"{h}.input_layernorm", True),
            "mlp": {
                "up": peers.linear(w, f"{h}.mlp.dense_h_to_4h", bias=True),
                "down": peers.linear(w, f"{h}.mlp.dense_4h_to_h", bias=True),
            },
            "mlp_norm": peers.norm(w, f"{h}.post_attention_layernorm", True),
        }

    return {
        "embedding": w["transformer.word_embeddings.weight"],
        "embedding_norm": peers.norm(w, "transformer.word_embeddings_layernorm", True),
        "final_norm": peers.norm(w, "transformer.ln_f", True),
    } | {f"block_{n}": block(n) for n in range(LAYERS)}


@pytest.mark.parametrize("heads", [1, 3, 4, 6])
def test_bloom_gives_the_same_logits_and_gradients(heads):
    rng = np.random.default_rng(heads)
    peer = transformers.BloomForCausalLM(
        transformers.BloomConfig(
            vocab_size=VOCAB, hidden_size=heads * K, n_layer=LAYERS, n_head=heads, attn_implementation="eager"
        )
    )
    peers.stirred(peer, heads)
    cfg = TransformerConfig(
        layers=LAYERS, heads=heads, width=heads * K, position="alibi", embedding_norm=True, bias=True,
        precision="float32",
    )  # fmt: skip
    family = build(cfg, vocab=VOCAB, length=LENGTH, packed=False, platform="cpu")
    params = peers.placed(family, ours_of(peers.weights(peer), heads))
    batch = peers.real_rows(rng.integers(0, VOCAB, (2, LENGTH)), np.full(2, LENGTH))
    cotangent = rng.normal(size=(2, LENGTH, VOCAB)).astype(np.float32)

    def weighted(params, batch):
        logits = family.hidden(params, batch) @ family.head(params).T
        return (logits * cotangent).sum() / batch.weight.sum(), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(weighted, has_aux=True))(params, jax.tree.map(jnp.asarray, batch))
    out = peer(torch.tensor(batch.token), attention_mask=torch.tensor(batch.segment))
    ((out.logits * torch.tensor(cotangent)).sum() / float(batch.weight.sum())).backward()
    np.testing.assert_allclose(logits, out.logits.detach(), atol=1e-4)
    peers.same_gradients(grads, ours_of(peers.gradients(peer), heads))
