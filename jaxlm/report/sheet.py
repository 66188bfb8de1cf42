"""What a datasheet is made of, whatever it is written as: sections of questions, answers of paragraphs and figures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Table(NamedTuple):
    """Plain text, not escaped yet; the first column names the row."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


class Facts(NamedTuple):
    """Names, each with words that may be many."""

    rows: Sequence[tuple[str, str]]


class Figure(NamedTuple):
    """A drawing, and the same in a table for where there are none."""

    html: str
    table: Table


class Sample(NamedTuple):
    """A text that was removed."""

    source: str
    begins: str
    evidence: str
    id: str


class Samples(NamedTuple):
    """Some of what a rule took."""

    reason: str
    some: Sequence[Sample]


Block = str | Table | Facts | Figure | Samples


class Question(NamedTuple):
    text: str
    answer: Sequence[Block] = ()
    field: str = ""  # of AboutConfig, where people answer it


class Section(NamedTuple):
    title: str
    questions: Sequence[Question]

    @property
    def unanswered(self) -> int:
        return sum(not question.answer for question in self.questions)


class Sheet(NamedTuple):
    """A datasheet."""

    title: str
    name: str  # of the corpus
    jaxlm: str  # version
    digest: str
    collected: Mapping[str, int]  # documents, bytes, characters, words
    stay: Mapping[str, int]
    languages: int
    sources: int
    streams: Sequence[Figure]
    sections: Sequence[Section]

    @property
    def unanswered(self) -> int:
        return sum(section.unanswered for section in self.sections)

    @property
    def questions(self) -> int:
        return sum(len(section.questions) for section in self.sections)
