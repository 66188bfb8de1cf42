"""AWD-LSTM on WikiText-2: three layers, every regulariser, averaged descent.

    jaxlm train awd_lstm --set data.source=wikitext-2/

Shapes, dropout, penalties, optimiser, 80 lanes of 70 tokens by Merity et al. 2018 (arXiv:1708.02182, section 5) and
the command of their repository (salesforce/awd-lstm-lm). Differs from theirs: tokens are pieces of words, as many as
its 33,278 words, so perplexities compare by bits a byte only; rows have one length, not a random one.
33.5 million parameters; theirs has 10,800 more, as PyTorch's LSTM adds two biases. Not run by us to the end.
"""

from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import NtAsgdConfig


def config() -> RunConfig:
    epoch = 2_089_000 // (80 * 70)  # steps: the training text has 2.09 million words
    return RunConfig(
        name="awd_lstm",
        data=DataConfig(
            source="wikitext-2/",
            tokenizer=SentencePieceConfig(vocab=33_278),
            split=ContiguousSplit(validation=0.1),
            rows="lanes",
            length=70,
            batch=80,
        ),
        model=RecurrentConfig(
            cell="lstm",
            layers=3,
            width=1_150,
            embedding=400,
            dropout=0.4,
            hidden_dropout=0.2,
            input_dropout=0.65,
            word_dropout=0.1,
            weight_drop=0.5,
            activation_penalty=2.0,
            temporal_penalty=1.0,
        ),
        optimizer=NtAsgdConfig(peak_rate=30.0, patience=5, decay=1.2e-6, clip=0.25),
        loop=LoopConfig(steps=750 * epoch, log_every=50, eval_every=epoch, save_every=epoch),
    )
