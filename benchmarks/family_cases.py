"""The cases of families.py: what jaxlm trains, and beside what. Imports no jax, no torch.

A case is one row of CASES. Its peer is a PyTorch script with flags (it prints what peers/torch_gpt.py's `timed` does,
and takes --dtype, --compile, --steps and --json), or another config of jaxlm's own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

CONSTANT = {"kind": "linear", "warmup": 0, "final": 1.0}


class Ours(NamedTuple):
    """Fields of a RunConfig; no text is read, its tokens are random."""

    vocab: int
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any]


class FamilyCase(NamedTuple):
    ours: Ours
    peer: tuple[str, ...] | Ours  # a script in benchmarks/peers and its flags, or our own
    peer_name: str
    steps: int  # timed ones, after WARM_UP of cases.py
    figure: str = "median_ms"  # what is compared
    unit: str = "ms"
    more_is_better: bool = False


# The size of PyTorch's word_language_model example on WikiText-2: 2 x 200, tied, batch 20, length 35, clip 0.25.
# Its rate of 20 is for its own initial weights.
LSTM = Ours(
    vocab=33_278,
    data={"rows": "lanes", "length": 35, "batch": 20},
    model={"kind": "recurrent", "cell": "lstm", "layers": 2, "width": 200},
    optimizer={"kind": "sgd", "peak_rate": 1.0, "clip": 0.25, "schedule": CONSTANT},
)
# As large as char-rnn's (2 x 128): 262,144 recurrent weights; 3 layers of 2 gates, 256 wide inside, between 128.
LONG = {"rows": "lanes", "length": 1_024, "batch": 1}
ADAMW = {"kind": "adamw", "peak_rate": 1e-3, "schedule": CONSTANT}
MINGRU = Ours(256, LONG, {"kind": "recurrent", "cell": "mingru", "layers": 3, "width": 256, "embedding": 128}, ADAMW)
LONG_LSTM = Ours(256, LONG, {"kind": "recurrent", "cell": "lstm", "layers": 2, "width": 128}, ADAMW)
# One lane is what a loop is slowest at; with eight its steps are busier, and the parallel scan gains less.
EIGHT = LONG | {"batch": 8}

# BERT-mini (Turc et al. 2019, arXiv:1908.08962) on rows of 128 tokens, of which 19 are asked for; no dropout.
BERT = Ours(
    vocab=8_192,
    data={"rows": "packed", "length": 128, "batch": 32, "objective": {"kind": "masked"}},
    model={"kind": "encoder", "size": "mini", "max_length": 128},
    optimizer=ADAMW | {"beta2": 0.999},
)
# T5 as large as google/t5-efficient-tiny (Tay et al. 2021, arXiv:2109.10686) on pairs of 128 tokens.
T5 = Ours(
    vocab=32_128,
    data={"length": 128, "batch": 16, "objective": {"kind": "seq2seq", "source_length": 128}},
    model={"kind": "encoder_decoder", "layers": 4, "heads": 4, "width": 256},
    optimizer=ADAMW | {"beta2": 0.999},
)

CASES = {
    "lstm": FamilyCase(LSTM, ("torch_lstm.py",), "PyTorch", steps=20),
    "bert": FamilyCase(BERT, ("hf_train.py", "bert"), "transformers' BertForMaskedLM", steps=12),
    "t5": FamilyCase(
        T5, ("hf_train.py", "t5", "--vocab", "32128", "--batch", "16"), "transformers' T5", steps=12
    ),
    "mingru": FamilyCase(
        MINGRU, LONG_LSTM, "jaxlm's LSTM of as many parameters", steps=40,
        figure="tokens_per_second", unit="tokens/s", more_is_better=True,
    ),
    "mingru8": FamilyCase(
        MINGRU._replace(data=EIGHT), LONG_LSTM._replace(data=EIGHT), "jaxlm's LSTM of as many parameters, both 8 lanes",
        steps=8, figure="tokens_per_second", unit="tokens/s", more_is_better=True,
    ),
}  # fmt: skip
