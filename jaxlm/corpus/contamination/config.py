"""Which evaluation sets are looked for, what counts as a leak, and what becomes of it."""

from typing import Literal

from pydantic import Field, model_validator

from jaxlm.config import Config


class EvaluationSet(Config):
    """A file or a folder of records: .jsonl, .json, .parquet, .csv, .tsv, or .txt with an item a line."""

    path: str
    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # it has in everything that is told
    include: tuple[str, ...] = ()  # glob patterns of file names in a folder; (): all
    # Their texts in this order are the item, e.g. ("question", "choices"); "text" of a .txt. Of a single field, such as
    # ("answers.text",), each element of a list is an item. Name what is the set's own: passages from Wikipedia stand
    # in many a corpus by right.
    fields: tuple[str, ...] = Field(default=("question",), min_length=1)


class ContaminationConfig(Config):
    """An item is found in a document that holds the share `share` of it, in n-grams that are not common."""

    sets: tuple[EvaluationSet, ...] = Field(min_length=1)
    mode: Literal["report", "drop", "mask"] = "report"  # mask: cut out of the documents, which stay
    words: int = Field(default=13, ge=2, le=64)  # in an n-gram; GPT-3's
    # In an n-gram of an item in a script without spaces, where every character is a word: 1.5 a word. Questions of
    # SQuADShifts have a median of 9 words and a 95th percentile of 16, those of CMRC 2018 of 13 and 25 characters.
    characters: int = Field(default=20, ge=2, le=128)
    # A shorter item is looked for as a whole from so many words on (GPT-3's least n; of characters in proportion), and
    # below is too common a phrase to be looked for.
    shortest: int = Field(default=8, ge=2, le=64)
    # Of the item's words. Chosen: half of an item leaks it, less a word at each edge; Tulu 3 takes 0.5, PaLM 0.7.
    share: float = Field(default=0.4, gt=0, le=1)
    # Documents that may hold an n-gram before it counts as a common phrase, such as a line of a licence; GPT-3's. An
    # item that is found nearly whole (0.8) and in 2 n-grams or more that share no word is no phrase, however common.
    common: int = Field(default=10, ge=1)
    around: int = Field(default=200, ge=0)  # characters masked on either side too, as answers stand there; GPT-3's
    left: int = Field(default=200, ge=1)  # characters that have to be left of a masked document, or it goes; GPT-3's

    @model_validator(mode="after")
    def _names_differ(self) -> "ContaminationConfig":
        names = [one.name for one in self.sets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sets have the name {twice[0]!r} twice: give each its own")
        return self

    @model_validator(mode="after")
    def _shortest_is_shorter(self) -> "ContaminationConfig":
        if self.shortest > self.words:
            raise ValueError(
                f"shortest={self.shortest} is above words={self.words}, which are an n-gram: lower shortest to "
                f"{self.words} or less"
            )
        return self

    @property
    def shortest_characters(self) -> int:
        return -(-self.characters * self.shortest // self.words)
