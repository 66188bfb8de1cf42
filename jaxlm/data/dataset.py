"""DataConfig: which text, cut how, into which rows."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.data.objectives import NextToken, ObjectiveConfig
from jaxlm.data.tokenizer_config import SentencePieceConfig, TokenizerConfig


class HashSplit(Config):
    """A document's content hash decides where it goes, so duplicates never straddle the splits."""

    kind: Literal["hash"] = "hash"
    validation: float = pydantic.Field(0.05, ge=0, lt=1)  # fraction of documents
    test: float = pydantic.Field(0.05, ge=0, lt=1)  # fraction of documents

    _something_trains = pydantic.model_validator(mode="after")(lambda split: _leave_text_to_train(split))


class ContiguousSplit(Config):
    """The first characters of the corpus train, the last ones are held out."""

    kind: Literal["contiguous"] = "contiguous"
    validation: float = pydantic.Field(0.1, ge=0, lt=1)  # fraction of characters, before the test split
    test: float = pydantic.Field(0.0, ge=0, lt=1)  # fraction of characters, at the very end

    _something_trains = pydantic.model_validator(mode="after")(lambda split: _leave_text_to_train(split))


def _leave_text_to_train(split: HashSplit | ContiguousSplit) -> HashSplit | ContiguousSplit:
    if split.validation + split.test >= 1:
        raise ValueError(
            f"validation={split.validation} and test={split.test} leave nothing to train on: "
            f"their sum must be below 1"
        )
    return split


SplitConfig = Annotated[HashSplit | ContiguousSplit, pydantic.Field(discriminator="kind")]


class DataConfig(Config):
    source: str  # file, folder, or "stdlib": the running interpreter's own library
    text_field: str = "text"  # of a .jsonl record
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): every text file
    tokenizer: TokenizerConfig = SentencePieceConfig()
    split: def _leave_text_to_train(split: HashSplit | ContiguousSplit) -> HashSplit | ContiguousSplit:
    if split.validation + split.test >= 1:
        raise ValueError(
            f"validation={split.validation} and test={split.test} leave nothing to train on: "
            f"their sum must be below 1"
        )
    return split


SplitConfig = HashSplit()
    length: int = pydantic.Field(gt=0)  # tokens a row predicts
    batch: int = pydantic.Field(gt=0)  # rows a step, over all devices and processes
    rows: Literal["packed", "chunked", "lanes"] = "packed"
    objective: ObjectiveConfig = NextToken()
    seed: int = 0  # of the order of rows and of the tokenizer's sample
    prefetch: int = pydantic.Field(4, ge=0)  # batches read ahead
