"""BERT-mini: four layers of width 256 learn English from hidden tokens, on books.

    jaxlm train bert_mini --set data.source=books/

Shapes by Turc et al. 2019 (arXiv:1908.08962), the objective by Devlin et al. 2019 (arXiv:1810.04805): 15 % of the
tokens are asked for, and of those 80 % hidden, 10 % random, 10 % kept; here whole words, in packed rows of 128 tokens.
Rotary positions, gates, norms before each part and windows are those of ModernBERT (Warner et al. 2024,
arXiv:2412.13663); BERT's own form, at 1e-3 and with dropout, got no further than counting neighbours (docs/log.md).
The rate, its schedule and beta2 are chosen.

On five novels (5.1 MB) expect 0.315 of the hidden tokens of the held-out text found after 2,000 steps of 0.42 s on 2
CPU cores (AMD EPYC, family 25; seed 0); `benchmarks/bert_mini.py` measures it beside counts of neighbours, 0.11.
"""

from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.masking import Masked
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig


def config() -> RunConfig:
    return RunConfig(
        name="bert_mini",
        data=DataConfig(
            source="books/",
            tokenizer=SentencePieceConfig(vocab=8_192),
            split=ContiguousSplit(validation=0.05),
            length=128,
            batch=32,
            objective=Masked(whole_words=True),
        ),
        model=EncoderConfig(size="mini", **MODERN),
        optimizer=AdamWConfig(peak_rate=2e-3, beta2=0.98, decay=0.01, schedule=CosineConfig(warmup=200, final=0.02)),
        loop=LoopConfig(steps=2_000, log_every=50, eval_every=250, save_every=1_000),
    )
