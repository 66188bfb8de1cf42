"""The interpreter's own library as text: a small decoder, trained and reported in minutes on two CPU cores.

jaxlm train quickstart
"""

from jaxlm.data.dataset import DataConfig, HashSplit
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, MuonConfig, WsdConfig


def config() -> RunConfig:
    return RunConfig(
        name="quickstart",
        data=DataConfig(
            source="stdlib",
            tokenizer=SentencePieceConfig(model="bpe", vocab=4_096, sample_bytes=4_000_000),
            split=HashSplit(validation=0.05, test=0.0),
            length=256,
            batch=16,
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
            peak_rate=0.02, others=AdamWConfig(peak_rate=5e-3, decay=0.0), schedule=WsdConfig(warmup=20, decay=0.4)
        ),
        loop=LoopConfig(steps=1_000, log_every=10, eval_every=500, save_every=500),
    )
