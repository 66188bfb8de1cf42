"""Translate captions by a small encoder-decoder: pairs of sentences, packed.

    jaxlm train translate --set data.source=pairs.jsonl
    jaxlm generate runs/translate --prompt "A man sleeps." --beams 4

Each line of the source is one object: {"source": "A man sleeps.", "target": "Ein Mann schläft."}.
The model is Vaswani et al. 2017 (arXiv:1706.03762) made small: post-norm, sinusoidal positions, label smoothing 0.1.
"""

from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import SequenceToSequence
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.losses import LossConfig
from jaxlm.models.encoder_decoder import VASWANI, EncoderDecoderConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="translate",
        data=DataConfig(
            source="pairs.jsonl",
            tokenizer=SentencePieceConfig(vocab=4_096),
            length=128,
            batch=32,
            objective=SequenceToSequence(source_length=128),
        ),
        model=EncoderDecoderConfig(layers=4, heads=4, width=128, ff_width=256, **VASWANI, dropout=0.3),
        optimizer=AdamWConfig(peak_rate=2e-3, beta2=0.98, decay=0.0, schedule=CosineConfig(warmup=400, final=0.02)),
        loss=LossConfig(label_smoothing=0.1),
        loop=LoopConfig(steps=4_000, log_every=50, eval_every=500, save_every=1_000),
    )
