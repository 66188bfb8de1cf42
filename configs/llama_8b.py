"""Llama 3.1 with 8 billion parameters, trained from nothing on 256 TPU v5e, 64 TPU v5p or 64 H100.

    jaxlm plan llama_8b --target v5e:16x16
    jaxlm plan llama_8b --target v5e:16x16 --set mesh.layout=axes --set mesh.data=16 --set mesh.fsdp=16
    jaxlm train llama_8b --set data.source=texts/

Shapes, rotary base and scaling by Grattafiori et al. 2024 (arXiv:2407.21783, table 3), rate, warm-up and decay by their
section 3.4.1. A row for each of 256 devices, 2.1 million tokens a step: chosen, so that all three targets divide it.
On a TPU split the parameters over one side of its torus and copy them over the rest, as above: devices then send less
(docs/plan.md). Planned, not run by us at this size.
"""

from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.transformer import LLAMA_3, TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="llama_8b",
        data=DataConfig(source="texts/", tokenizer=SentencePieceConfig(vocab=128_256), length=8_192, batch=256),
        model=TransformerConfig(size="8b", **LLAMA_3, vocab=128_256, remat="full"),
        optimizer=AdamWConfig(peak_rate=3e-4, beta2=0.95, decay=0.1, schedule=CosineConfig(warmup=8_000, final=0.01)),
        loop=LoopConfig(steps=1_200_000, log_every=10, eval_every=1_000, save_every=1_000),
    )
