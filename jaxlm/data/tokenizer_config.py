"""Which tokenizer: apart from data/tokenizer.py, so that reading a config loads no SentencePiece."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config


class SentencePieceConfig(Config):
    """SentencePiece, trained on the training split."""

    kind: Literal["sentencepiece"] = "sentencepiece"
    model: Literal["unigram", "bpe", "char"] = "bpe"
    vocab: int = pydantic.Field(default=8_192, gt=2)  # pieces, 2 specials and 256 bytes; an upper bound for "char"
    byte_fallback: bool = True  # False: a character never seen in training is an error
    sample_bytes: int = pydantic.Field(default=20_000_000, gt=0)  # of training text the model is fitted on

    @pydantic.model_validator(mode="after")
    def _bytes_fit(self) -> "SentencePieceConfig":
        if self.byte_fallback and self.vocab < 259:
            raise ValueError(
                f"vocab={self.vocab} with byte_fallback=True: 256 bytes, 2 specials and at least one piece "
                f"need vocab >= 259; raise it, set byte_fallback=False, or choose kind=bytes"
            )
        return self


class ByteBpeConfig(Config):
    """BPE over bytes, as GPT-2 and Llama 3 have it, trained on the training split: nothing is lost."""

    kind: Literal["byte_bpe"] = "byte_bpe"
    vocab: int = pydantic.Field(default=8_192, gt=257)  # a separator, 256 bytes and learned pieces
    words: Literal["gpt2", "llama3"] = "llama3"  # whose pattern cuts a text into words, which no piece goes beyond
    sample_bytes: int = pydantic.Field(default=20_000_000, gt=0)  # of training text it is fitted on


class WordPieceConfig(Config):
    """BERT's WordPiece, for encoders, trained on the training split. It loses text, so it does not suit what writes.

    White space, and with `lowercase` case and accents, are gone; a word with a character that is none of its own, or of
    over 100 characters, is [UNK].
    """

    kind: Literal["wordpiece"] = "wordpiece"
    vocab: int = pydantic.Field(default=8_192, gt=7)  # five specials, characters twice, learned pieces
    lowercase: bool = True  # and without accents, as BERT's "uncased"
    # Of the characters of the sample, those of its own; 0.9999: chosen, as one that is none costs its whole word.
    coverage: float = pydantic.Field(default=0.9999, gt=0, le=1)
    sample_bytes: int = pydantic.Field(default=20_000_000, gt=0)  # of training text it is fitted on


class BytesConfig(Config):
    """The 256 bytes of UTF-8 and one separator; nothing to train, nothing to lose."""

    kind: Literal["bytes"] = "bytes"


class SavedConfig(Config):
    """The tokenizer of another run or of other shards, as it is: what `init` needs on another text."""

    kind: Literal["saved"] = "saved"
    path: str = ""  # its folder, e.g. runs/mine/tokenizer


class HuggingFaceConfig(Config):
    """A tokenizer made elsewhere: the `tokenizer.json` of Hugging Face's library, as it is."""

    kind: Literal["huggingface"] = "huggingface"
    path: str = ""  # the folder that holds it, e.g. of a downloaded model; "" once it is kept with shards or a run


TokenizerConfig = Annotated[
    SentencePieceConfig | ByteBpeConfig | WordPieceConfig | BytesConfig | SavedConfig | HuggingFaceConfig,
    pydantic.Field(discriminator="kind"),
]
