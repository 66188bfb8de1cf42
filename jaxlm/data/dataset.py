"""DataConfig: which text, cut how, into which rows."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.data.objectives import NextToken, ObjectiveConfig
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
    text_field: str = "text"  # of a .jsonl record
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): every text file
    tokenizer: TokenizerConfig = SentencePieceConfig()
    split: SplitConfig = HashSplit()
    length: int = pydantic.Field(gt=0)  # tokens a row predicts
    batch: int = pydantic.Field(gt=0)  # rows a step, over all devices and processes
    rows: Literal["packed", "chunked", "lanes"] = "packed"
    objective: ObjectiveConfig = NextToken()
    seed: int = 0  # of the order of rows and of the tokenizer's sample
    prefetch: int = pydantic.Field(default=4, ge=0)  # batches read ahead
