"""(being written)"""
from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config


class SentencePieceConfig(Config):
    """SentencePiece (Kudo & Richardson 2018, arXiv:1808.06226), trained on the training split."""

    kind: Literal["sentencepiece"] = "sentencepiece"
    model: Literal["unigram", "bpe", "char"] = "bpe"
    vocab: int = pydantic.Field(8_192, gt=0)  # pieces, specials and bytes included; an upper bound for "char"
    byte_fallback: bool = True  # False: a character never seen in training is an error
    sample_bytes: int = pydantic.Field(20_000_000, gt=0)  # of training text the model is fitted on


class BytesConfig(Config):
    """The 256 bytes of UTF-8 and one separator; nothing to train, nothing to lose."""

    kind: Literal["bytes"] = "bytes"


TokenizerConfig = Annotated[SentencePieceConfig | BytesConfig, pydantic.Field(discriminator="kind")]
