"""nanoGPT's smallest Shakespeare run: characters, four layers, a laptop's CPU.

    jaxlm train shakespeare_char --set data.source=input.txt

The numbers are those of nanoGPT (Karpathy 2022), config/train_shakespeare_char.py with the CPU switches of its
README: 12 rows of 64 characters, 4 layers, 4 heads, width 128, no dropout, 2,000 steps. So is the seed.

Expected over the whole validation split: 1.904 nats a character (seeds 0 to 4: 1.894 to 1.919, their mean 1.909;
nanoGPT's own code 1.906), in about 40 seconds on two cores.
"""

from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.tokenizer import SentencePieceConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="shakespeare_char",
        seed=1337,
        data=DataConfig(
            source="input.txt",
            tokenizer=SentencePieceConfig(model="char", vocab=512, byte_fallback=False),
            split=ContiguousSplit(validation=0.1),
            rows="chunked",
            length=64,
            batch=12,
            seed=1337,
        ),
        model=TransformerConfig(layers=4, heads=4, width=128),
        optimizer=AdamWConfig(peak_rate=1e-3, beta2=0.99, decay=0.1, schedule=CosineConfig(warmup=100, final=0.1)),
        loop=LoopConfig(steps=2_000, log_every=20, eval_every=500, save_every=1_000),
    )
