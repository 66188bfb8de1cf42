"""Shakespeare by an LSTM: characters, two layers, the state carried from batch to batch.

    jaxlm train shakespeare_lstm --set data.source=input.txt

The text runs in 16 lanes, each going on where it stopped (truncated backpropagation over 64 characters), as in
char-rnn (Karpathy 2015). Any cell will do: --set model.cell=gru, mingru, ...

Expect 1.51 nats a character over the validation split (seed 0, one run), in about a minute on two cores of an AMD EPYC.
"""

from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.tokenizer import SentencePieceConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="shakespeare_lstm",
        data=DataConfig(
            source="input.txt",
            tokenizer=SentencePieceConfig(model="char", vocab=512, byte_fallback=False),
            split=ContiguousSplit(validation=0.1),
            rows="lanes",
            length=64,
            batch=16,
        ),
        model=RecurrentConfig(cell="lstm", layers=2, width=256, tied=False, dropout=0.1),
        optimizer=AdamWConfig(peak_rate=3e-3, beta2=0.99, decay=0.01, schedule=CosineConfig(warmup=100, final=0.1)),
        loop=LoopConfig(steps=2_000, log_every=20, eval_every=500, save_every=1_000),
    )
