"""Same weights, same beams: our search beside `generate` of Hugging Face transformers, on tiny random models."""

import functools
import warnings

import numpy as np
import pytest

from jaxlm.generation.beam import BeamConfig, search
from jaxlm.models.build import build

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]  # torch warns about itself

with warnings.catch_warnings():
    warnings.simplefilter("default")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

    from tests.parity import peers

VOCAB, LENGTH, LAYERS, WIDTH, HEADS, K = 61, 24, 2, 48, 6, 8
BEAMS, TOKENS, SEPARATOR = 4, 12, 12  # this model likes to say 12, so some texts end early
PROMPTS = [[], [7], [60, 3, 3, 8], [1, 2, 9, 11, 13, 17, 19]]


class Ids:
    """A prompt is its ids, spelled as characters."""

    vocab, separator, closing, start = VOCAB, SEPARATOR, SEPARATOR, SEPARATOR

    def encode(self, text: str) -> np.ndarray:
        return np.array(list(map(ord, text)), np.int32)

    def decode_bytes(self, ids) -> bytes:
        return "".join(map(chr, ids)).encode()


@functools.cache
def gpt2():
    torch.manual_seed(0)
    peer = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=VOCAB, n_positions=LENGTH, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=80,
            bos_token_id=SEPARATOR, eos_token_id=SEPARATOR,
        )
    ).eval()  # fmt: skip
    return peer, *ours(peers.stirred(peer))


@functools.cache
def t5():
    torch.manual_seed(0)
    peer = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=VOCAB, d_model=WIDTH, d_kv=K, d_ff=80, num_layers=LAYERS, num_heads=HEADS,
            decoder_start_token_id=SEPARATOR, eos_token_id=SEPARATOR, pad_token_id=SEPARATOR,
        )
    ).eval()  # fmt: skip
    peers.stirred(peer, seed=3)  # with this one, too, some texts end early
    return peer, *ours(peer)


def ours(peer):
    found, params = peers.imported(peer)
    family = build(found.cfg, vocab=VOCAB, length=LENGTH, packed=False, platform="cpu")
    return family, peers.placed(family, params)


def theirs(peer, ids: list[int], penalty: float) -> tuple[list[list[int]], list[float]]:
    """(new ids up to and with the separator, scores), the best first."""
    with torch.no_grad():
        out = peer.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), num_beams=BEAMS, num_return_sequences=BEAMS,
            length_penalty=penalty, early_stopping="never", do_sample=False, max_new_tokens=TOKENS,
            pad_token_id=SEPARATOR, return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
    old = 1 if peer.config.is_encoder_decoder else len(ids)
    rows = [row[old:] for row in out.sequences.tolist()]
    ends = [row.index(SEPARATOR) + 1 if SEPARATOR in row else len(row) for row in rows]
    return [row[:end] for row, end in zip(rows, ends, strict=True)], out.sequences_scores.tolist()


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0], ids="penalty={}".format)
@pytest.mark.parametrize("models", [gpt2, t5], ids=["gpt2", "t5"])
def test_both_find_the_same_beams(models, penalty):
    peer, model, params = models()
    cfg = BeamConfig(beams=BEAMS, best=BEAMS, length_penalty=penalty)
    prompts = ["".join(map(chr, prompt)) for prompt in PROMPTS]
    found = search(model, params, Ids(), prompts, cfg, tokens=TOKENS)
    for n, prompt in enumerate(PROMPTS):
        ours = found[BEAMS * n : BEAMS * n + BEAMS]
        ids, scores = theirs(peer, [SEPARATOR, *prompt, *([SEPARATOR] if model.read else [])], penalty)
        assert [c.tokens + [SEPARATOR] * c.stopped for c in ours] == ids
        np.testing.assert_allclose([c.score for c in ours], scores, atol=1e-4)
    assert {c.stopped for c in found} == {True, False}
