"""Each size has as many parameters as what it is named after; counted, not made."""

import jax
import pytest

from jaxlm.models.build import build
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.models.encoder_decoder import V1_1, EncoderDecoderConfig
from jaxlm.models.family import Head
from jaxlm.models.positions import Llama3Scaling
from jaxlm.models.transformer import LLAMA_3, TransformerConfig
from jaxlm.run_config import load_config
from tests.rows import short


def parameters(cfg, vocab: int, length: int = 512, **rest) -> int:
    model = build(cfg, vocab=vocab, length=length, packed=False, platform="gpu", **rest)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))))


# Counts of `AutoModel...from_config(...)` of transformers 5.24 on torch's meta device.
GPT_2 = {"124m": 124_439_808, "355m": 354_823_168, "774m": 774_030_080, "1558m": 1_557_611_200}
BERT = {"base": (109_482_240, 110_106_428), "large": (335_141_888, 336_226_108)}
MODERN_BERT = {"modern_base": 149_655_232, "modern_large": 395_881_664}
T5 = {"t5_small": 60_506_624, "t5_base": 222_903_552}
T5_V1_1 = {"t5_v1_1_small": 76_961_152, "t5_v1_1_base": 247_577_856}


@pytest.mark.parametrize("size", GPT_2)
def test_gpt2(size):
    assert parameters(TransformerConfig(size=size, bias=True), 50_257, 1024) == GPT_2[size]


def test_llama():
    small = LLAMA_3 | {"tied": True, "rope_scaling": Llama3Scaling(factor=32.0)}
    assert parameters(TransformerConfig(size="1b", **small), 128_256) == 1_235_814_400
    assert parameters(TransformerConfig(size="8b", **LLAMA_3), 128_256) == 8_030_261_248


@pytest.mark.parametrize("size", BERT)
def test_bert_with_its_pooler_and_with_the_heads_it_was_trained_with(size):
    body, whole = BERT[size]
    classifier = 2 * (EncoderConfig(size=size).dims.D + 1)
    assert parameters(EncoderConfig(size=size), 30_522, head=Head("classes", 2)) - classifier == body
    assert parameters(EncoderConfig(size=size, sentence_order=True), 30_522) == whole


def test_awd_lstm_on_wikitext_2():
    """What PyTorch counts for the published program, less the second bias of each of its gates."""
    of_layer = lambda reads, width: 4 * width * (reads + width + 2)
    theirs = 33_278 * 400 + 33_278 + of_layer(400, 1_150) + of_layer(1_150, 1_150) + of_layer(1_150, 400)
    assert theirs == 33_556_078
    second_biases = 4 * (1_150 + 1_150 + 400)
    assert parameters(load_config("awd_lstm").model, 33_278) == theirs - second_biases


@pytest.mark.parametrize("size", short(MODERN_BERT, "modern_base"))  # layers of two kinds: none is scanned
def test_modern_bert(size):
    assert parameters(EncoderConfig(size=size, **MODERN), 50_368) == MODERN_BERT[size]


@pytest.mark.parametrize("size", T5)
def test_t5(size):
    assert parameters(EncoderDecoderConfig(size=size), 32_128) == T5[size]


@pytest.mark.parametrize("size", T5_V1_1)
def test_t5_v1_1(size):
    assert parameters(EncoderDecoderConfig(size=size, **V1_1), 32_128) == T5_V1_1[size]
