"""T5 v1.1 small with 77 million parameters; --set model.size=t5_v1_1_base for the one with 248 million.

    jaxlm train t5 --set data.source=texts/

Shapes by the T5 authors' v1.1 checkpoints (Shazeer 2020, arXiv:2002.05202); spans of three tokens, 15 % of the text,
batch and steps by Raffel et al. 2020 (arXiv:1910.10683, section 3.1). Their optimiser is Adafactor; AdamW stands here.
For accelerators: not run by us at this size.
"""

from jaxlm.data.dataset import DataConfig
from jaxlm.data.masking import Spans
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.encoder_decoder import V1_1, EncoderDecoderConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="t5",
        data=DataConfig(
            source="texts/",
            tokenizer=SentencePieceConfig(vocab=32_000),
            rows="chunked",
            length=568,  # of text, which make sources of 512 tokens and targets of 114, as there
            batch=128,
            objective=Spans(),
        ),
        model=EncoderDecoderConfig(size="t5_v1_1_small", **V1_1, vocab=32_128),
        optimizer=AdamWConfig(peak_rate=1e-3, beta2=0.98, decay=0.1, schedule=CosineConfig(warmup=10_000, final=0.01)),
        loop=LoopConfig(steps=524_288, log_every=10, eval_every=1_000, save_every=1_000),
    )
