"""Same weights, same logits, loss and gradients: our encoder beside Hugging Face's BERT and ModernBERT."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.losses import cross_entropy
from jaxlm.models.build import build
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.models.family import Head

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tests.parity import peers


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Each shape compiles its own; those of all modules at once are more than a process may map."""
    yield
    jax.clear_caches()


def shapes(seed: int):
    """A config of theirs, uneven on purpose: a transposed square weight would go unnoticed."""
    rng = np.random.default_rng(seed)
    heads, K, layers = int(rng.integers(1, 5)), int(rng.integers(2, 9)), 1 + (seed % 4 == 0)
    width, ff, vocab, longest = heads * K, int(rng.integers(5, 40)), int(rng.integers(9, 40)), int(rng.integers(8, 20))
    theirs = transformers.BertConfig(
        vocab_size=vocab, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=ff,
        max_position_embeddings=longest + 3, type_vocab_size=3, pad_token_id=None, attn_implementation="eager",
    )  # fmt: skip
    return rng, theirs, vocab, longest


@pytest.mark.parametrize("seed", range(20))
def test_pretraining_gives_the_same_logits_loss_and_gradients(seed):
    rng, peer_cfg, vocab, L = shapes(seed)
    B, P = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    peer = peers.stirred(transformers.BertForPreTraining(peer_cfg), seed)
    found, params = peers.imported(peer)
    family = build(found.cfg, vocab=vocab, length=L, packed=True, platform="cpu")
    params = peers.placed(family, params)

    lengths = rng.integers(P + 1, L + 1, B)
    where = np.stack([np.sort(rng.permutation(length)[:P]) for length in lengths])
    batch = peers.real_rows(rng.integers(0, vocab, (B, L)), lengths)._replace(
        kind=rng.integers(0, 3, (B, L)), where=where, target=rng.integers(0, vocab, (B, P)),
        weight=np.ones((B, P), np.float32), label=rng.integers(0, 2, (B, 1)),
    )  # fmt: skip

    def loss(params, batch):
        hidden, head, bias = family.apply(params, batch), family.head(params), family.bias(params)
        nats = cross_entropy(hidden.array, head, batch.target, batch.weight, precision="float32", bias_V=bias)[0]
        logits = hidden.array @ head.T + bias[None, None]
        return (nats + hidden.penalty.sum()) / batch.weight.sum(), logits

    (got, logits), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, jax.tree.map(jnp.asarray, batch))
    labels = np.full((B, L), -100)
    np.put_along_axis(labels, where, batch.target, axis=1)
    tensor = lambda x: torch.tensor(np.asarray(x), dtype=torch.long)
    out = peer(
        input_ids=tensor(batch.token), attention_mask=tensor(batch.segment), token_type_ids=tensor(batch.kind),
        labels=tensor(labels), next_sentence_label=tensor(batch.label[:, 0]),
    )  # fmt: skip
    out.loss.backward()
    theirs = np.take_along_axis(out.prediction_logits.detach().numpy(), where[..., None], axis=1)
    np.testing.assert_allclose(logits, theirs, atol=1e-4)
    np.testing.assert_allclose(got, out.loss.item(), atol=1e-5)
    peers.same_gradients(grads, peers.by_table(found, peers.gradients(peer)))


@pytest.mark.parametrize("seed", range(3))
def test_hidden_states_and_the_pooled_one_are_the_same(seed):
    rng, peer_cfg, vocab, L = shapes(100 + seed)
    peer = peers.stirred(transformers.BertModel(peer_cfg), seed)
    found, read = peers.imported(peer)
    cfg = found.cfg.model_copy(update={"sentence_order": False})
    kept = {name: part for name, part in read.items() if not name.startswith(("order", "transform", "head_b"))}
    batch = peers.real_rows(rng.integers(0, vocab, (3, L)), rng.integers(2, L + 1, 3))
    with torch.no_grad():
        out = peer(torch.tensor(batch.token), attention_mask=torch.tensor(batch.segment))
    real = batch.segment[..., None]
    for kind, wanted in (
        ("tags", out.last_hidden_state.numpy() * real),
        ("classes", out.pooler_output.numpy()[:, None]),
    ):
        family = build(cfg, vocab=vocab, length=L, packed=True, platform="cpu", head=Head(kind, 2))
        head = {"classifier": np.zeros((2, cfg.width), np.float32), "classifier_b": np.zeros(2, np.float32)}
        unused = {"pooler"} if kind == "tags" else set()
        params = peers.placed(family, {name: part for name, part in kept.items() if name not in unused} | head)
        got = jax.jit(family.apply)(params, batch).array
        np.testing.assert_allclose(got * real if kind == "tags" else got, wanted, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_modern_bert_gives_the_same_logits_and_gradients(seed):
    rng = np.random.default_rng(200 + seed)
    heads, K, layers, ff, vocab = int(rng.integers(1, 4)), 4, 4 + seed % 2, int(rng.integers(5, 30)), 23
    L, window = int(rng.integers(12, 20)), int(rng.integers(2, 5))
    peer = transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(
            vocab_size=vocab, hidden_size=heads * K, intermediate_size=ff, num_hidden_layers=layers,
            num_attention_heads=heads, local_attention=2 * window, pad_token_id=None, bos_token_id=None,
            eos_token_id=None, cls_token_id=None, sep_token_id=None, attn_implementation="eager",
        )
    )  # fmt: skip
    peers.stirred(peer, seed)
    switches = MODERN | {"window": window + 1}  # ours counts the token itself
    cfg = EncoderConfig(layers=layers, heads=heads, width=heads * K, ff_width=ff, precision="float32", **switches)
    family = build(cfg, vocab=vocab, length=L, packed=True, platform="cpu")
    params = peers.placed(family, peers.from_modern_bert(peers.weights(peer), layers, heads, K))
    batch = peers.real_rows(rng.integers(0, vocab, (2, L)), rng.integers(5, L + 1, 2))
    cotangent = rng.normal(size=(2, L, vocab)).astype(np.float32) * batch.weight[..., None]

    def weighted(params, batch):
        logits = family.hidden(params, batch) @ family.head(params).T + family.bias(params)[None, None]
        return (logits * cotangent).sum() / batch.weight.sum(), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(weighted, has_aux=True))(params, jax.tree.map(jnp.asarray, batch))
    out = peer(input_ids=torch.tensor(batch.token), attention_mask=torch.tensor(batch.segment))
    ((out.logits * torch.tensor(cotangent)).sum() / float(batch.weight.sum())).backward()
    real = batch.weight[..., None]
    np.testing.assert_allclose(logits * real, out.logits.detach().numpy() * real, atol=1e-4)
    peers.same_gradients(grads, peers.from_modern_bert(peers.gradients(peer), layers, heads, K))
