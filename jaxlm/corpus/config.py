"""CorpusConfig: what a corpus is made of, and what text has to be to stay in it."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.corpus.duplicates.config import ExactConfig, NearConfig
from jaxlm.corpus.language import LanguageConfig
from jaxlm.corpus.lines import C4Lines
from jaxlm.corpus.normalise import NormaliseConfig
from jaxlm.corpus.pii import PiiConfig
from jaxlm.corpus.rules import C4, C4Paragraphs, FineWeb, Gopher, GopherRepetition


class SourceConfig(Config):
    """A file or a folder; the name it has in everything that is told."""

    path: str
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): all
    text_field: str = "text"  # of records and tables
    licence: str | None = None  # of documents that name none themselves
    priority: int = 0  # of two duplicates the one of the source with the lowest stays


Rules = Annotated[Gopher | GopherRepetition | C4 | C4Paragraphs | FineWeb, pydantic.Field(discriminator="kind")]


class LanguagesConfig(Config):
    """Documents of other languages go."""

    keep: tuple[str, ...] = ()  # ISO 639-1; (): all, only noted
    probability: float = pydantic.Field(default=0.65, ge=0, le=1)  # least; FineWeb's for English (arXiv:2406.17557)
    identify: LanguageConfig = LanguageConfig()


class QualityConfig(Config):
    """Rules for documents of some languages: words and stop words are those of English."""

    languages: tuple[str, ...] = ("en",)
    rules: tuple[Rules, ...] = (Gopher(), GopherRepetition())


class DuplicatesConfig(Config):
    """Copies among what passed everything before."""

    exact: ExactConfig | None = ExactConfig()
    near: NearConfig | None = NearConfig()

    @pydantic.model_validator(mode="after")
    def _whole_documents_go(self) -> "DuplicatesConfig":
        if self.exact is not None and self.exact.unit != "document":
            raise ValueError(
                f"exact.unit={self.exact.unit!r} would be cut out of documents, and a corpus removes whole ones: set "
                f"exact.unit='document'"
            )
        return self


class CorpusConfig(Config):
    kind: Literal["corpus"] = "corpus"
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # of its folder
    sources: tuple[SourceConfig, ...] = pydantic.Field(min_length=1)
    normalise: NormaliseConfig = NormaliseConfig()
    lines: C4Lines | None = None  # None: every line stays
    languages: LanguagesConfig = LanguagesConfig()
    quality: tuple[QualityConfig, ...] = (QualityConfig(),)
    personal: PiiConfig | None = PiiConfig()  # None: not looked for
    duplicates: DuplicatesConfig = DuplicatesConfig()
    # Chosen: well under a minute of work, so that a kill costs little.
    part_bytes: int = pydantic.Field(default=32 << 20, ge=1 << 10)  # of source files in one task
    bad_records: float = pydantic.Field(default=0.001, ge=0, lt=1)  # borne, as a fraction of all

    @pydantic.model_validator(mode="after")
    def _names_differ(self) -> "CorpusConfig":
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources have the name {twice[0]!r} twice: give each its own")
        return self

    @pydantic.model_validator(mode="after")
    def _rules_have_their_measures(self) -> "CorpusConfig":
        if self.lines is None and any(rule.kind == "c4" for quality in self.quality for rule in quality.rules):
            raise ValueError(
                "lines=None keeps every line, and quality has rules of kind 'c4', which count what C4Lines() keeps: "
                "set lines=C4Lines(), or leave the rules out"
            )
        return self
