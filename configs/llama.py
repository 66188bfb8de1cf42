"""Llama 3.2 with a billion parameters; the 8 billion of 3.1 by three more --set, below.

    jaxlm train llama --set data.source=texts/
    jaxlm train llama --set data.source=texts/ --set model.size=8b --set model.tied=false \\
        --set model.rope_scaling.factor=8 --name llama_8b

Shapes, rotary base and scaling by Grattafiori et al. 2024 (arXiv:2407.21783, table 3) and the models' own config.json;
rate, warm-up and decay are those of their 8B (section 3.4.1). For accelerators: not run by us at this size.
"""

from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.positions import Llama3Scaling
from jaxlm.models.transformer import LLAMA_3, TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    one_billion = LLAMA_3 | {"tied": True, "rope_scaling": Llama3Scaling(factor=32.0)}
    return RunConfig(
        name="llama",
        data=DataConfig(source="texts/", tokenizer=SentencePieceConfig(vocab=128_256), length=8_192, batch=128),
        model=TransformerConfig(size="1b", **one_billion, vocab=128_256, remat="dots"),
        optimizer=AdamWConfig(peak_rate=3e-4, beta2=0.95, decay=0.1, schedule=CosineConfig(warmup=8_000, final=0.01)),
        loop=LoopConfig(steps=100_000, log_every=10, eval_every=1_000, save_every=1_000),
    )
