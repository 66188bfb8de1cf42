"""CorpusConfig: what a corpus is made of, and what text has to be to stay in it."""

import itertools
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from jaxlm.config import Config, dump
from jaxlm.corpus.about import AboutConfig
from jaxlm.corpus.bigscience import BigScience
from jaxlm.corpus.contamination.config import ContaminationConfig
from jaxlm.corpus.document import Fields
from jaxlm.corpus.duplicates.config import ExactConfig, NearConfig, PassagesConfig
from jaxlm.corpus.language import Language, LanguageConfig
from jaxlm.corpus.lines import C4Lines
from jaxlm.corpus.lines_refinedweb import RefinedWebLines
from jaxlm.corpus.normalise import NormaliseConfig
from jaxlm.corpus.pii import UNTOLD, PiiConfig
from jaxlm.corpus.remote import is_remote
from jaxlm.corpus.rules import C4, C4Paragraphs, FineWeb, Gopher, GopherRepetition, RefinedWeb
from jaxlm.corpus.score_config import ScoreConfig
from jaxlm.corpus.word_lists import WordList, WordListConfig

FIELDS = Fields("path", "include", "text_field")  # of a source


class SourceConfig(Config):
    """A file or a folder; the name it has in everything that is told."""

    path: str  # of this machine; or s3://, gs://, https://; or "-", standard input, "-.jsonl" if it is that
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): all
    text_field: str = "text"  # of records and tables
    licence: str | None = None  # of documents that name none themselves
    main_text: Literal["resiliparse", "trafilatura"] = "resiliparse"  # what finds it in web pages: formats/html.py
    priority: int = 0  # of two duplicates the one of the source with the lowest stays


LinesConfig = Annotated[C4Lines | RefinedWebLines, pydantic.Field(discriminator="kind")]
RulesConfig = Annotated[
    Gopher | GopherRepetition | C4 | C4Paragraphs | FineWeb | RefinedWeb | BigScience | WordList,
    pydantic.Field(discriminator="kind"),
]


class LanguagesConfig(Config):
    """Documents of other languages go."""

    # ISO 639-1, or 639-3 where there is none; "zxx" is no language (numbers, codes), "und" too few letters to tell,
    # which has no probability. (): all, only noted
    keep: tuple[Language, ...] = ()
    # Least. Chosen: of pieces of 200 characters of the UDHR in 31 languages it drops 26 of 31 that py3langid gets
    # wrong, and 1.4 % of those that it gets right. FineWeb's is the same, for fastText and English (arXiv:2406.17557)
    probability: float = pydantic.Field(default=0.65, ge=0, le=1)
    identify: LanguageConfig = LanguageConfig()


class QualityConfig(Config):
    """Rules for documents of some languages; but for BigScience's and lists, words and stop words are English ones."""

    languages: tuple[Language, ...] = ("en",)  # ISO 639-1; (): all
    rules: tuple[RulesConfig, ...] = (Gopher(), GopherRepetition())


class DuplicatesConfig(Config):
    """Copies among what passed everything before."""

    exact: ExactConfig | None = ExactConfig()  # documents go
    passages: PassagesConfig | None = None  # paragraphs or lines are cut out; None: they stay, however often
    near: NearConfig | None = NearConfig()  # documents go, judged without the passages that were cut out


class CorpusConfig(Config):
    command: ClassVar[str] = "jaxlm prepare"
    kind: Literal["corpus"] = "corpus"
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # of its folder
    sources: tuple[SourceConfig, ...] = pydantic.Field(min_length=1)
    normalise: NormaliseConfig = NormaliseConfig()
    lines: LinesConfig | None = None  # None: every line stays
    languages: LanguagesConfig = LanguagesConfig()
    words: tuple[WordListConfig, ...] = ()  # that texts are compared with
    quality: tuple[QualityConfig, ...] = (QualityConfig(),)
    scores: tuple[ScoreConfig, ...] = ()  # by models that were trained before
    personal: PiiConfig | None = PiiConfig()  # None: not looked for
    duplicates: DuplicatesConfig = DuplicatesConfig()
    contamination: ContaminationConfig | None = None  # None: no evaluation set is looked for
    # Chosen: well under a minute of work, so that a kill costs little.
    part_bytes: int = pydantic.Field(default=32 << 20, ge=1 << 10)  # of source files in one task
    bad_records: float = pydantic.Field(default=0.001, ge=0, lt=1)  # borne, as a fraction of all
    tokenizer: str | None = None  # folder of a run, of shards or of a saved one: its tokens are counted; None: none are
    about: AboutConfig = AboutConfig()  # for the datasheet

    @pydantic.model_validator(mode="after")
    def _names_differ(self) -> "CorpusConfig":
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources have the name {twice[0]!r} twice: give each its own")
        inputs = [source.name for source in self.sources if source.path.startswith("-") and is_remote(source.path)]
        if len(inputs) > 1:
            raise ValueError(f"sources {inputs[0]!r} and {inputs[1]!r} both read standard input: leave one out")
        return self

    @pydantic.model_validator(mode="after")
    def _scores_differ(self) -> "CorpusConfig":
        names = [score.name for score in self.scores]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"scores have the name {twice[0]!r} twice: give each its own")
        return self

    @pydantic.model_validator(mode="after")
    def _rules_have_their_measures(self) -> "CorpusConfig":
        lists, cut_by = {one.name for one in self.words}, self.lines and self.lines.kind
        for rule in self.rules():
            needed = _LINES_OF.get(rule.kind)
            if needed is not None and cut_by != needed.model_fields["kind"].default:
                raise ValueError(
                    f"lines={cut_by!r} and quality has rules of kind {rule.kind!r}, which judge what "
                    f"{needed.__name__}() leaves: set lines={needed.__name__}(), or leave the rules out"
                )
            if rule.kind == "word_list" and rule.words not in lists:
                known = ", ".join(map(repr, sorted(lists))) or "none"
                raise ValueError(
                    f"quality has a rule of kind 'word_list' on words={rule.words!r}, and the lists in `words` are "
                    f"{known}: name one of these, or add WordListConfig(name={rule.words!r}, path=...)"
                )
        return self

    @pydantic.model_validator(mode="after")
    def _rules_are_asked_once(self) -> "CorpusConfig":
        asked = [(one.languages, rule) for one in self.quality for rule in one.rules]
        for (these, rule), (those, other) in itertools.combinations(asked, 2):
            shared = sorted({*these} & {*those} if these and those else {*these, *those})
            if _about(rule) == _about(other) and (shared or not (these and those)):
                raise ValueError(
                    f"quality has rules of {_about(rule)} twice for documents in "
                    f"{repr(shared[0]) if shared else 'every language'}, which would count double: leave one of them "
                    f"out, or give them other languages"
                )
        return self

    def rules(self) -> list[RulesConfig]:
        return [rule for quality in self.quality for rule in quality.rules]


def _about(rule: RulesConfig) -> str:
    return f"kind {rule.kind!r}" + (f" on words={rule.words!r}" if rule.kind == "word_list" else "")


def told(cfg: CorpusConfig) -> dict[str, Any]:
    """The config as others may read it: without the secret behind the fakes of personal data."""
    whole = dump(cfg)
    if cfg.personal is not None and cfg.personal.salt:
        whole["personal"]["salt"] = UNTOLD
    return whole


_LINES_OF = {"c4": C4Lines, "refinedweb": RefinedWebLines}  # kind of rules -> the lines that they are about
