"""Which model scores the documents of a corpus, by what, and what their score has to be."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.corpus.language import Language
from jaxlm.corpus.rules import Bounds


class _Score(Config):
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # it has in reasons and in the manifest
    run: str  # folder of the model: its newest whole checkpoint
    languages: tuple[Language, ...] = ()  # whose documents are scored, ISO 639-1; (): all
    bounds: Bounds = Bounds()  # None of both: only noted


class ProbabilityConfig(_Score):
    """How likely a classifier holds it that a document is of a class."""

    kind: Literal["probability"] = "probability"
    of: str  # one of the run's data.objective.classes


class PerplexityConfig(_Score):
    """What a language model makes of a document, over its tokens: few are as they are in what it learned from."""

    kind: Literal["perplexity"] = "perplexity"


class BitsPerByteConfig(_Score):
    """The same over its bytes, so that models with other tokenizers have the same bounds."""

    kind: Literal["bits_per_byte"] = "bits_per_byte"


ScoreConfig = Annotated[ProbabilityConfig | PerplexityConfig | BitsPerByteConfig, pydantic.Field(discriminator="kind")]
