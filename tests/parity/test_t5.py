"""Same weights, same logits and gradients: our encoder-decoder beside Hugging Face's T5, v1.0 and v1.1."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Source
from jaxlm.models.build import build
from jaxlm.models.positions import buckets_of_distances

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from transformers.models.t5.modeling_t5 import T5Attention

    from tests.parity import peers


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """Each shape compiles its own; those of all modules at once are more than a process may map."""
    yield
    jax.clear_caches()


def random_t5(rng, gated: bool):
    """Their model; shapes are uneven on purpose."""
    heads, K, width, ff = (int(rng.integers(*between)) for between in ((1, 5), (2, 9), (5, 25), (5, 40)))
    layers, vocab = [(1, 1), (1, 1), (1, 2), (2, 1)][int(rng.integers(4))], int(rng.integers(9, 40))
    buckets, reach = int(rng.choice([8, 16, 32])), int(rng.integers(17, 40))
    peer = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=vocab, d_model=width, d_kv=K, d_ff=ff, num_layers=layers[0], num_decoder_layers=layers[1],
            num_heads=heads, relative_attention_num_buckets=buckets, relative_attention_max_distance=reach,
            feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=not gated,
            attn_implementation="eager",
        )
    )  # fmt: skip
    if gated:  # transformers 5 ties v1.1's head as well, which its weights are not
        peer.lm_head.weight = torch.nn.Parameter(peer.lm_head.weight.detach().clone())
    return peer, vocab


@pytest.mark.parametrize(("seed", "version"), [(seed, ("v1.0", "v1.1")[seed % 2]) for seed in range(24)])
def test_t5_gives_the_same_logits_and_gradients(seed, version):
    rng = np.random.default_rng(seed)
    peer, vocab = random_t5(rng, version == "v1.1")
    peers.stirred(peer, seed)
    B, L, M = int(rng.integers(1, 4)), int(rng.integers(2, 30)), int(rng.integers(2, 45))
    found, params = peers.imported(peer)
    assert found.cfg.tied == (version == "v1.0")
    family = build(found.cfg, vocab=vocab, length=L, packed=True, platform="cpu", source_length=M)
    params = peers.placed(family, params)
    source = peers.real_rows(rng.integers(0, vocab, (B, M)), rng.integers(1, M + 1, B))
    target = peers.real_rows(rng.integers(0, vocab, (B, L)), rng.integers(1, L + 1, B))
    batch = target._replace(source=Source(source.token, source.segment, source.position))
    cotangent = rng.normal(size=(B, L, vocab)).astype(np.float32) * target.weight[..., None]

    def weighted(params, batch):
        logits = family.hidden(params, batch) @ family.head(params).T
        return (logits * cotangent).sum() / batch.weight.sum(), logits

    (_, logits), grads = jax.jit(jax.value_and_grad(weighted, has_aux=True))(params, jax.tree.map(jnp.asarray, batch))
    out = peer(
        input_ids=torch.tensor(source.token), attention_mask=torch.tensor(source.segment),
        decoder_input_ids=torch.tensor(target.token), decoder_attention_mask=torch.tensor(target.segment),
    )  # fmt: skip
    ((out.logits * torch.tensor(cotangent)).sum() / float(target.weight.sum())).backward()
    real = target.weight[..., None]
    np.testing.assert_allclose(logits * real, out.logits.detach().numpy() * real, atol=1e-4)
    peers.same_gradients(grads, peers.by_table(found, peers.gradients(peer)))


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("count", "reach"), [(32, 128), (16, 64), (8, 20), (32, 100)])
def test_buckets_are_theirs_at_every_distance(count, reach, both):
    distance = torch.arange(reach + 1)
    theirs = T5Attention._relative_position_bucket(-distance, both, count, reach)
    np.testing.assert_array_equal(buckets_of_distances(count, reach, both), theirs)
