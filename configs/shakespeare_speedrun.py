"""The fewest seconds to 1.88 nats a character on tiny Shakespeare, with nanoGPT's width, layers and length.

    jaxlm train shakespeare_speedrun --set data.source=input.txt

Expected: 1.88 after 210 of its 230 steps, some 12 seconds of training on two cores. `benchmarks/speedrun.py` measures
it beside PyTorch.
"""

from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamConfig, MuonConfig, WsdConfig


def config() -> RunConfig:
    return RunConfig(
        name="shakespeare_speedrun",
        data=DataConfig(
            source="input.txt",
            tokenizer=SentencePieceConfig(model="char", vocab=512, byte_fallback=False),
            split=ContiguousSplit(validation=0.1),
            rows="chunked",
            length=64,
            batch=24,
        ),
        model=TransformerConfig(
            layers=4,
            heads=4,
            width=128,
            position="rotary",
            norm="rmsnorm",
            activation="relu2",
            qk_norm=True,
            residual="zero",
        ),
        optimizer=MuonConfig(
            peak_rate=0.03,
            others=AdamConfig(peak_rate=1e-2, decay=0.0),
            schedule=WsdConfig(warmup=20, decay=0.7),
        ),
        loop=LoopConfig(steps=230, log_every=10, eval_every=10, save_every=230),
    )
