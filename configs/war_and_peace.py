"""War and Peace by characters: the ground on which families are compared, here an LSTM.

    jaxlm train war_and_peace --set data.source=warpeace_input.txt

A million parameters and 8.2 million characters (3.2 epochs) for each family, the text and its splits as Karpathy,
Johnson & Fei-Fei 2015 (arXiv:1506.02078) have them. `benchmarks/war_and_peace.py` trains all families, one after
another, and prints the table that stands in benchmarks/RESULTS.md.
"""

from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="war_and_peace",
        data=DataConfig(
            source="warpeace_input.txt",
            tokenizer=SentencePieceConfig(
                model="char", vocab=512
            ),  # the test split has a character that trains nowhere
            split=ContiguousSplit(validation=0.1, test=0.1),
            rows="lanes",
            length=128,
            batch=32,
        ),
        model=RecurrentConfig(cell="lstm", layers=2, width=248, tied=False, dropout=0.1),
        optimizer=AdamWConfig(peak_rate=4e-3, beta2=0.99, decay=0.01, schedule=CosineConfig(warmup=100, final=0.05)),
        loop=LoopConfig(steps=2_000, log_every=50, eval_every=400, save_every=1_000),
    )
