"""GPT-2 with 124 million parameters; --set model.size=355m, 774m or 1558m for the larger ones.

    jaxlm train gpt2 --set data.source=texts/

Shapes by Radford et al. 2019, table 2; rows, batch, optimiser and schedule as nanoGPT's reproduction on OpenWebText has
them (Karpathy 2022, config/train_gpt2.py: half a million tokens a step). For accelerators: not run by us at this size.
"""

from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig, StepConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="gpt2",
        data=DataConfig(
            source="texts/",
            tokenizer=SentencePieceConfig(vocab=50_257),
            rows="chunked",
            length=1_024,
            batch=480,
        ),
        model=TransformerConfig(size="124m", bias=True, vocab=50_304),  # a multiple of 128, as matrix units like it
        optimizer=AdamWConfig(peak_rate=6e-4, beta2=0.95, decay=0.1, schedule=CosineConfig(warmup=2_000, final=0.1)),
        step=StepConfig(microbatches=5),
        loop=LoopConfig(steps=600_000, log_every=10, eval_every=1_000, save_every=1_000),
    )
