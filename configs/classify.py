"""Say of which class a text is: an encoder the size of BERT-mini, from nothing or from what it learned of plain text.

    jaxlm train classify --set data.source=reviews.jsonl --set 'data.objective.classes=["bad", "good"]'

Each line of the source is one object: {"text": "a fine film", "label": "good"}. With `data.objective.second_field`
two texts are asked about together. To begin with a model of its shape that read plain text, at a lower rate:

    jaxlm train classify --set data.source=reviews.jsonl --set init=runs/bert_mini --set optimizer.peak_rate=1e-4 \\
        --set data.tokenizer.kind=saved --set data.tokenizer.path=runs/bert_mini/tokenizer

On the 9,613 sentences of SST-2 expect 0.77 of the held-out 995 right after 300 steps, 2.3 minutes on 2 CPU cores (AMD
EPYC, family 25; seed 0). They are too few for more: from step 100 on the held-out loss rises. A start from a
`bert_mini` that read five novels ended at 0.74 to 0.75 there. Rows, batch and rates are chosen; fine-tuning by Devlin
et al. 2019 (arXiv:1810.04805), section 4.1.
"""

from jaxlm.data.dataset import DataConfig, HashSplit
from jaxlm.data.examples import Classification
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, LinearConfig


def config() -> RunConfig:
    return RunConfig(
        name="classify",
        data=DataConfig(
            source="reviews.jsonl",
            tokenizer=SentencePieceConfig(vocab=4_096),
            split=HashSplit(validation=0.1, test=0.1),
            length=128,
            batch=16,
            objective=Classification(classes=("negative", "positive")),
        ),
        model=EncoderConfig(size="mini", dropout=0.1, **MODERN),
        optimizer=AdamWConfig(peak_rate=5e-4, beta2=0.999, decay=0.01, schedule=LinearConfig(warmup=50)),
        loop=LoopConfig(steps=300, log_every=25, eval_every=100, save_every=100),
    )
