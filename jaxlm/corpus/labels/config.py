"""LabelConfig: which texts, which classes, who votes, and how votes become labels."""

from typing import Annotated, Literal

import pydantic

from jaxlm.config import Config
from jaxlm.corpus.document import Fields
from jaxlm.corpus.labels.agreement import Level
from jaxlm.corpus.labels.consensus import DawidSkene, ModelConfig
from jaxlm.corpus.labels.rules import RuleConfig
from jaxlm.data.examples import Classes


class _File(Config):
    path: str  # .jsonl, packed or not: an object each line; or .json: one list of them
    prefix: str = ""  # before the names of its people, where two files call different people the same


class LabelStudioFile(_File):
    """Tasks with annotations, as Label Studio exports them ("JSON")."""

    kind: Literal["label_studio"] = "label_studio"
    choices: str = "label"  # name of the Choices tag
    text_field: str = "text"  # of the task's data


class ArgillaFile(_File):
    """Records with responses, as Argilla's `to_json` writes them, or its server."""

    kind: Literal["argilla"] = "argilla"
    question: str = "label"
    text_field: str = "text"  # among the record's fields


class ExamplesFile(_File):
    """Labelled examples, as jaxlm's classification reads them: {"text": ..., "label": ...}."""

    kind: Literal["examples"] = "examples"
    text_field: str = "text"
    label_field: str = "label"
    annotator_field: str | None = None  # who voted; None: one annotator, named as the file


FileConfig = Annotated[LabelStudioFile | ArgillaFile | ExamplesFile, pydantic.Field(discriminator="kind")]


class SampleConfig(Config):
    """What people are asked next (`jaxlm label CONFIG --export`)."""

    count: int = pydantic.Field(default=200, gt=0)  # texts; chosen: an hour or two of somebody's time
    # hash: of all texts no person has seen, by chance; least_confidence: of those with votes, the least clear
    by: Literal["hash", "least_confidence"] = "hash"


FIELDS = Fields("source", "include", "text_field")  # of what is labelled


class LabelConfig(Config):
    kind: Literal["labels"] = "labels"
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # of its folder
    classes: Classes
    source: str | None = None  # file, folder, a corpus of `jaxlm prepare`, or "stdlib"; None: the texts of `votes`
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): all
    text_field: str = "text"  # of records and tables
    rules: tuple[RuleConfig, ...] = ()
    votes: tuple[FileConfig, ...] = ()  # of people
    gold: tuple[str, ...] = ()  # rules or people whose word is the truth: they judge the others, and do not vote
    model: ModelConfig = DawidSkene()
    least_confidence: float = pydantic.Field(default=0.5, ge=0, le=1)  # of a label; chosen: likelier than not
    level: Level = "nominal"  # of Krippendorff's alpha: ordinal where `classes` are in order, interval for numbers
    sample: SampleConfig = SampleConfig()
    bad_records: float = pydantic.Field(default=0.001, ge=0, lt=1)  # borne, as a fraction of all of the source

    @pydantic.model_validator(mode="after")
    def _somebody_votes(self) -> "LabelConfig":
        if not self.rules and not self.votes:
            raise ValueError("rules=() and votes=() leave nobody to vote: give one of them")
        if self.source is None and not self.votes:
            raise ValueError("source=None takes the texts of votes, and votes=(): name a source")
        return self

    @pydantic.model_validator(mode="after")
    def _rules_have_names_and_classes(self) -> "LabelConfig":
        names = [rule.name for rule in self.rules]
        if twice := [name for number, name in enumerate(names) if name in names[:number]]:
            raise ValueError(f"rules have the name {twice[0]!r} twice: give each its own")
        for rule in self.rules:
            if rule.vote not in self.classes:
                raise ValueError(
                    f"rule {rule.name!r} votes for {rule.vote!r}, which is none of classes={list(self.classes)}: name "
                    f"one of them, or add it"
                )
        return self

    @pydantic.model_validator(mode="after")
    def _intervals_are_numbers(self) -> "LabelConfig":
        if self.level == "interval":
            try:
                list(map(float, self.classes))
            except ValueError as error:
                raise ValueError(
                    f"level='interval' measures how far classes={list(self.classes)} lie apart, and {error}: set "
                    f"level='ordinal', or name them by numbers"
                ) from None
        return self
