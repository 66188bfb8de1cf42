"""What recurrent models are told: cell, sizes, and AWD-LSTM's regularisers (Merity et al. 2018, arXiv:1708.02182)."""

from typing import Literal, NamedTuple

import pydantic

from jaxlm.config import Config
from jaxlm.models.cells import LINEAR, CellName
from jaxlm.models.family import TOKENS, Head
from jaxlm.models.layers import Precision
from jaxlm.models.recurrence_choice import Backend

_Rate = pydantic.Field(default=0.0, ge=0, lt=1)


class RecurrentConfig(Config):
    kind: Literal["recurrent"] = "recurrent"
    # gru: reset after the product, as PyTorch and cuDNN; gru_before: as in Cho et al. 2014 (arXiv:1406.1078).
    cell: CellName = "lstm"
    layers: int = pydantic.Field(default=2, gt=0, le=10_000)  # most, as of width: that of stack_config.py
    width: int = pydantic.Field(gt=0, le=2**20)  # of the state
    embedding: int | None = pydantic.Field(default=None, gt=0)  # width of the table; None: width
    vocab: int | None = pydantic.Field(default=None, gt=0, lt=2**31)  # None: the tokenizer's
    # The head is the embedding, and the last layer as wide (Press & Wolf 2017, arXiv:1608.05859).
    tied: bool = True
    projection: int | None = pydantic.Field(default=None, gt=0)  # LSTM: width of h (Sak et al. 2014, arXiv:1402.1128)
    bidirectional: bool = False  # for encoders: each layer also reads from the end, and hands on both
    bias: bool = True
    dropout: float = _Rate  # of what the head reads; one mask for all positions, as the next two
    input_dropout: float = _Rate  # of embedded words
    hidden_dropout: float = _Rate  # between layers
    word_dropout: float = _Rate  # of whole rows of the embedding: a word is gone wherever it stands in the batch
    weight_drop: float = _Rate  # of recurrent weights, one mask for the whole batch and all positions
    activation_penalty: float = pydantic.Field(default=0.0, ge=0)  # times the mean square of what the head reads
    temporal_penalty: float = pydantic.Field(default=0.0, ge=0)  # times the mean square of the change of h
    precision: Precision | Literal["auto"] = "auto"
    backend: Backend = "auto"  # who runs an LSTM's positions: recurrence_choice.py

    @pydantic.model_validator(mode="after")
    def _parts_agree(self):
        if self.projection is not None and self.cell != "lstm":
            raise ValueError(f"model.projection={self.projection} is for LSTM, and model.cell={self.cell!r}")
        if self.weight_drop and self.cell in LINEAR:
            raise ValueError(
                f"model.weight_drop={self.weight_drop} drops recurrent weights, and model.cell={self.cell!r} has none"
            )
        if self.bidirectional and self.tied:
            raise ValueError(
                "model.bidirectional=True makes the last layer twice as wide as the embedding: set model.tied=False"
            )
        return self

    @property
    def causal(self) -> bool:
        """Does a token see none after it, so that the next one can be asked for?"""
        return not self.bidirectional

    @property
    def noisy(self) -> bool:
        """Is training not what evaluation is: with random masks, or penalties?"""
        rates = self.dropout, self.input_dropout, self.hidden_dropout, self.word_dropout, self.weight_drop
        return any(rates) or self.activation_penalty > 0 or self.temporal_penalty > 0

    def widths(self, layer: int) -> tuple[int, int]:
        """(state, output of one direction) of a layer."""
        last = layer == self.layers - 1
        state = self.embedding if self.tied and last and self.embedding and not self.projection else self.width
        if self.projection:
            return state, (self.embedding or self.width) if self.tied and last else self.projection
        return state, state

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1


class Spec(NamedTuple):
    """A config and what only a run knows, hashable."""

    cfg: RecurrentConfig
    vocab: int
    precision: Precision
    packed: bool  # rows hold several documents, or padding
    head: Head = TOKENS
    loop: Literal["scan", "cudnn"] = "scan"
