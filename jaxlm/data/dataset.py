"""DataConfig: which text, cut how, into which rows."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.data.mixture import MixtureConfig
from jaxlm.data.objectives import NextToken, ObjectiveConfig, labelled
from jaxlm.data.tokenizer_config import SentencePieceConfig, TokenizerConfig


class _Split(Config):
    validation: float
    test: float

    @pydantic.model_validator(mode="after")
    def _something_trains(self) -> "_Split":
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation={self.validation} and test={self.test} leave nothing to train on: "
                f"their sum must be below 1"
            )
        return self


class HashSplit(_Split):
    """A document's content hash decides where it goes, so duplicates never straddle the splits."""

    kind: Literal["hash"] = "hash"
    validation: float = pydantic.Field(default=0.05, ge=0, lt=1)  # fraction of documents
    test: float = pydantic.Field(default=0.05, ge=0, lt=1)  # fraction of documents


class ContiguousSplit(_Split):
    """The first characters of the corpus train, the last ones are held out."""

    kind: Literal["contiguous"] = "contiguous"
    validation: float = pydantic.Field(default=0.1, ge=0, lt=1)  # fraction of characters, before the test split
    test: float = pydantic.Field(default=0.0, ge=0, lt=1)  # fraction of characters, at the very end


SplitConfig = Annotated[HashSplit | ContiguousSplit, pydantic.Field(discriminator="kind")]


class DataConfig(Config):
    source: str  # file, folder, or "stdlib": the running interpreter's own library
    text_field: str = "text"  # of a .jsonl record, or the column of a table
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): every text file
    tokenizer: TokenizerConfig = SentencePieceConfig()
    split: SplitConfig = HashSplit()
    # Most of both: chosen, beyond any machine's use, so that a slip of a digit is told and not computed.
    length: int = pydantic.Field(gt=0, le=2**24)  # tokens a row predicts
    batch: int = pydantic.Field(gt=0, le=2**20)  # rows a step, over all devices and processes
    rows: Literal["packed", "chunked", "lanes"] = "packed"
    objective: ObjectiveConfig = NextToken()
    mixture: MixtureConfig | None = None  # of sources or languages; None: all rows equally often
    seed: int = pydantic.Field(default=0, ge=0, lt=2**32)  # of rows' order, what is hidden, the tokenizer's sample
    prefetch: int = pydantic.Field(default=4, ge=0)  # batches read ahead

    @pydantic.model_validator(mode="after")
    def _rows_suit_the_objective(self) -> "DataConfig":
        objective, asks = self.objective, f"objective.kind={self.objective.kind!r}"
        whole = objective.kind == "spans" or getattr(objective, "sentence_order", getattr(objective, "source", False))
        if whole and self.rows != "chunked":
            raise ValueError(f"{asks} takes a row as one text, and rows={self.rows!r}: set rows='chunked'")
        if labelled(objective) and self.rows != "packed":
            raise ValueError(f"{asks} packs examples itself, and rows={self.rows!r}: leave rows out")
        if self.rows == "lanes" and objective.kind != "next_token":
            raise ValueError(
                f"rows='lanes' go on from batch to batch, for objective.kind='next_token' only, and {asks}: set "
                f"rows='packed'"
            )
        if self.rows == "lanes" and self.mixture is not None:
            raise ValueError(
                "rows='lanes' read the text in its own order, and a mixture does not: leave mixture out, or rows"
            )
        if objective.kind == "extraction" and objective.question_length + 1 + objective.stride >= self.length:
            raise ValueError(
                f"objective.question_length={objective.question_length}, a separator and the objective.stride="
                f"{objective.stride} tokens that rows of one text share leave no room for new ones in length="
                f"{self.length}: lower them, or raise length"
            )
        if objective.kind == "masked" and objective.sentence_order and self.length < 8:
            raise ValueError(f"length={self.length} has no room for two pieces and three separators: make it 8 or more")
        return self
