"""Find the words of a text that answer a question, as SQuAD asks (Rajpurkar et al. 2016, arXiv:1606.05250).

    jaxlm train answer --set data.source=questions.jsonl

Each line of the source is one object, with characters counted from 0:
{"question": "Who?", "text": "Ada slept.", "answers": {"text": ["Ada"], "answer_start": [0]}}

The model has the size of BERT-mini and begins from nothing, so it needs many questions: the 6,489 of SQuADShifts' new
Wikipedia are too few, after 400 of the 500 steps 0.06 of the held-out ends are found (7 minutes on 2 CPU cores, AMD
EPYC, family 25; seed 0). `accuracy` counts ends one by one, a first and a last token in each row; rows of a long text
without the answer ask for their first token. With fewer questions, begin with a BERT that `jaxlm import` made a run of;
its own config brings its shape, tokenizer and parameters:

    jaxlm train runs/bert --name answer --set data.source=questions.jsonl --set data.objective.kind=extraction

Rows and questions are as long as in `run_squad.py` of Devlin et al. 2019 (arXiv:1810.04805); that script moves on by
128 tokens in a long text, here two rows share as many. Batch and rates are chosen.
"""

from jaxlm.data.dataset import DataConfig, HashSplit
from jaxlm.data.examples import Extraction
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, LinearConfig


def config() -> RunConfig:
    return RunConfig(
        name="answer",
        data=DataConfig(
            source="questions.jsonl",
            tokenizer=SentencePieceConfig(vocab=4_096),
            split=HashSplit(validation=0.1, test=0.1),
            length=384,
            batch=16,
            objective=Extraction(question_length=64, stride=128),
        ),
        model=EncoderConfig(size="mini", dropout=0.1, **MODERN),
        optimizer=AdamWConfig(peak_rate=3e-4, beta2=0.999, decay=0.01, schedule=LinearConfig(warmup=50)),
        loop=LoopConfig(steps=500, log_every=25, eval_every=100, save_every=250),
    )
