"""Same weights, same logits and gradients: the first Transformer beside torch.nn's layers, with sines spelled out."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Source
from jaxlm.models.build import build
from jaxlm.models.encoder_decoder import VASWANI, EncoderDecoderConfig

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    from tests.parity import peers


class Peer(torch.nn.Module):
    """Vaswani et al. 2017: torch's own layers, a shared table, and sines by their definition."""

    def __init__(self, vocab: int, width: int, heads: int, ff: int, layers: int):
        super().__init__()
        rest = dict(dim_feedforward=ff, dropout=0.0, batch_first=True)
        self.table = torch.nn.Embedding(vocab, width, _weight=torch.randn(vocab, width) * width**-0.5)
        self.encoder = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(width, heads, **rest) for _ in range(layers)
        )
        self.decoder = torch.nn.ModuleList(
            torch.nn.TransformerDecoderLayer(width, heads, **rest) for _ in range(layers)
        )

    def embed(self, token):
        width = self.table.embedding_dim
        sines = torch.zeros(token.shape[1], width)
        for position in range(token.shape[1]):
            for i in range(width // 2):
                angle = position / 10_000 ** (2 * i / width)
                sines[position, 2 * i], sines[position, 2 * i + 1] = np.sin(angle), np.cos(angle)
        return self.table(token) * width**0.5 + sines

    def forward(self, source, real, target):
        padding = ~real
        memory, x = self.embed(source), self.embed(target)
        for layer in self.encoder:
            memory = layer(memory, src_key_padding_mask=padding)
        after = torch.triu(torch.ones(target.shape[1], target.shape[1], dtype=torch.bool), 1)
        for layer in self.decoder:
            x = layer(x, memory, tgt_mask=after, memory_key_padding_mask=padding)
        return x @ self.table.weight.T


def ours_of(w, heads: int, K: int, layers: int) -> dict:
    def attention(name):
        parts = zip(
            "qkv", np.split(w[f"{name}.in_proj_weight"], 3), np.split(w[f"{name}.in_proj_bias"], 3), strict=True
        )
        qkv = {
            f"{x}.{field}": array
            for x, *arrays in parts
            for field, array in zip(("weight", "bias"), arrays, strict=True)
        }
        names = {"q": "q", "k": "k", "v": "v", "o": f"{name}.out_proj"}
        return peers.attention(w | qkv, names, heads, 1, K, True)

    def block(stack, n):
        h, crosses = f"{stack}.{n}", stack == "decoder"
        made = {
            "attention": attention(f"{h}.self_attn"),
            "attention_norm": peers.norm(w, f"{h}.norm1", True),
            "mlp": {ours: peers.linear(w, f"{h}.linear{k}", bias=True) for ours, k in (("up", 1), ("down", 2))},
            "mlp_norm": peers.norm(w, f"{h}.norm{3 if crosses else 2}", True),
        }
        if crosses:
            made |= {"cross": attention(f"{h}.multihead_attn"), "cross_norm": peers.norm(w, f"{h}.norm2", True)}
        return made

    stacks = {stack: {f"block_{n}": block(stack, n) for n in range(layers)} for stack in ("encoder", "decoder")}
    return {"embedding": w["table.weight"]} | stacks


@pytest.mark.parametrize("seed", range(4))
def test_the_first_transformer_gives_the_same_logits_and_gradients(seed):
    rng = np.random.default_rng(seed)
    heads, K, layers, ff, vocab = int(rng.integers(1, 4)), 2 * int(rng.integers(1, 5)), 1 + seed % 2, 21, 17
    B, L, M = 3, int(rng.integers(2, 12)), int(rng.integers(2, 12))
    peer = peers.stirred(Peer(vocab, heads * K, heads, ff, layers), seed).train()  # eval takes a path without gradients
    cfg = EncoderDecoderConfig(layers=layers, heads=heads, width=heads * K, ff_width=ff, precision="float32", **VASWANI)
    family = build(cfg, vocab=vocab, length=L, packed=True, platform="cpu", source_length=M)
    params = peers.placed(family, ours_of(peers.weights(peer), heads, K, layers))
    source = peers.real_rows(rng.integers(0, vocab, (B, M)), rng.integers(1, M + 1, B))
    target = peers.real_rows(rng.integers(0, vocab, (B, L)), np.full(B, L))
    batch = target._replace(source=Source(source.token, source.segment, source.position))
    cotangent = rng.normal(size=(B, L, vocab)).astype(np.float32)

    def weighted(params, batch):
        logits = family.hidden(params, batch) @ family.head(params).T
        return (logits * cotangent).sum() / batch.weight.sum(), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(weighted, has_aux=True))(params, jax.tree.map(jnp.asarray, batch))
    out = peer(torch.tensor(source.token), torch.tensor(source.segment > 0), torch.tensor(target.token))
    ((out * torch.tensor(cotangent)).sum() / float(batch.weight.sum())).backward()
    np.testing.assert_allclose(logits, out.detach(), atol=1e-4)
    peers.same_gradients(grads, ours_of(peers.gradients(peer), heads, K, layers))
