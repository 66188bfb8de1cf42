"""BERT base with 110 million parameters; --set model.size=large for the one with 335 million.

    jaxlm train bert --set data.source=texts/

Shapes, objective, rate, warm-up, batch and steps by Devlin et al. 2019 (arXiv:1810.04805, sections 3.1 and A.2); the
order of two pieces is asked as ALBERT does (Lan et al. 2020, arXiv:1909.11942, section 3.1), not the next sentence.
For accelerators: not run by us at this size. `bert_mini` learns on a CPU.
"""

from jaxlm.data.dataset import DataConfig
from jaxlm.data.masking import Masked
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.encoder import EncoderConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, LinearConfig


def config() -> RunConfig:
    return RunConfig(
        name="bert",
        data=DataConfig(
            source="texts/",
            tokenizer=SentencePieceConfig(vocab=30_521),  # and the id that hides
            rows="chunked",
            length=512,
            batch=256,
            objective=Masked(sentence_order=True),
        ),
        model=EncoderConfig(size="base", sentence_order=True, dropout=0.1),
        optimizer=AdamWConfig(peak_rate=1e-4, beta2=0.999, decay=0.01, schedule=LinearConfig(warmup=10_000)),
        loop=LoopConfig(steps=1_000_000, log_every=10, eval_every=1_000, save_every=1_000),
    )
