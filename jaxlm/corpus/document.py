"""Document: a text with its name, until it is tokenised; and the tally of what was left out."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxlm.corpus.decode import mend_pairs
from jaxlm.errors import UserError

DAMAGED = "damaged or cut short"  # the reason for a file whose rest cannot be read
SHOWN = 5  # bad records that an error names: chosen, enough to see a pattern


class Document(NamedTuple):
    id: str  # hash of the text alone: 32 hex digits of BLAKE2b
    text: str  # any Unicode but half surrogate pairs
    source: str  # the file below data.source, and the place in one of many; the same on every machine
    marks: dict[str, Any]  # where it comes from (url, date, licence, title, offset), and what later stages note

    @classmethod
    def of(cls, text: str, source: str) -> "Document":
        return cls(hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest(), text, source, {})


_MARKS = {  # mark -> fields
    "url": ("url",), "date": ("date", "timestamp"), "licence": ("licence", "license"), "title": ("title",),
    "source": ("source",), "language": ("language", "lang"),
}  # fmt: skip
_NAMES = {"source", "language"}  # marks that are a string or nothing: a source may be a whole object elsewhere


def marks_of(record: Mapping[str, Any], text_field: str = "text") -> dict[str, str]:
    """Where a record comes from and what it is called, so far as its fields say; its text's field says neither.

    >>> marks_of({"text": "Tea", "license": "CC0", "url": None})
    {'licence': 'CC0'}
    """
    of_mark = lambda fields: next((record[f] for f in fields if f != text_field and record.get(f)), None)
    found = {mark: of_mark(fields) for mark, fields in _MARKS.items()}
    kept = {m: value for m, value in found.items() if isinstance(value, str) or (value is not None and m not in _NAMES)}
    return {mark: str(value).encode("utf-8", "replace").decode() for mark, value in kept.items()}


def component(document: Document) -> tuple[str, str]:
    """(source, language) that a document counts to where text is mixed.

    The source is the first part of the record's own field of that name, as a corpus writes it, or the host where that
    is an address; or else the first folder below data.source, "." for a file that lies in it itself. The language is
    what the record says, or else "und", as ISO 639-2 has it.

    >>> component(Document.of("Tea", "books/novels/1.txt"))
    ('books', 'und')
    """
    told, (folder, below, _) = document.marks.get("source"), document.source.partition("/")
    scheme, _, address = (told or "").partition("://")
    source = (address if address and "/" not in scheme else told) or (folder if below else ".")
    return source.partition("/")[0] or ".", document.marks.get("language", "und")


MARK_FIELDS = tuple(field for fields in _MARKS.values() for field in fields)


class LeftOut(NamedTuple):
    """A record or a file that gives no document."""

    bad: bool  # damaged or wrong, and not just unwanted
    reason: str
    where: str
    detail: str = ""


class Fields(NamedTuple):
    """What the config of who reads calls the fields that say what is read: an error names them."""

    source: str = "data.source"
    include: str = "data.include"
    text_field: str = "data.text_field"


OF_RUN = Fields()


@dataclass
class Tally:
    """What collection left out and why, and what it mended.

    A record that is fine but not wanted is skipped. A bad one is a damaged file or a wrong record: the first one
    beyond a `budget` of 0 ends the run; with a budget they are counted, and `check` judges them at the end.
    """

    budget: float = 0.0  # bad records that are borne, as a fraction of all
    skipped: Counter[str] = field(default_factory=Counter)  # reason -> files or records
    first: dict[str, str] = field(default_factory=dict)  # reason -> the first source it met
    replaced: int = 0  # invalid bytes and half surrogate pairs that became U+FFFD
    bad_records: int = 0
    bad_shown: list[str] = field(default_factory=list)  # the first SHOWN of them, as whole messages
    note: Callable[[LeftOut], None] | None = None  # is told each of them
    fields: Fields = OF_RUN

    def skip(self, reason: str, source: str) -> None:
        self._left_out(LeftOut(False, reason, source))

    def bad(self, reason: str, where: str, detail: str = "") -> None:
        """Count a bad record; UserError where none is borne. `detail` is what differs in each, and the mend."""
        message = f"{where}: {reason}{detail}"
        if not self.budget:
            raise UserError(message)
        self._left_out(LeftOut(True, reason, where, detail))
        self.bad_records += 1
        if len(self.bad_shown) < SHOWN:
            self.bad_shown.append(message)

    def _left_out(self, one: LeftOut) -> None:
        self.skipped[one.reason] += 1
        self.first.setdefault(one.reason, one.where)
        if self.note is not None:
            self.note(one)

    def check(self, total: int, ahead: int = 0) -> None:
        """UserError if more than the budget of `total` records, bad ones included, were bad, and of those `ahead`."""
        if self.bad_records > self.budget * (total + ahead):
            so_far, others = (" read so far", " even if all others are good") if ahead else ("", "")
            share, shown = self.bad_records / max(total, 1), "".join(f"\n  {message}" for message in self.bad_shown)
            raise UserError(
                f"{self.bad_records:,} of {total:,} records{so_far} ({share:.2%}) are bad, more than "
                f"bad_records={self.budget:g} bears{others}: mend or remove them, or raise it; the first are{shown}"
            )

    def __str__(self) -> str:
        parts = [f"{n:,} {reason} (first {self.first[reason]})" for reason, n in self.skipped.most_common()]
        parts += [f"{self.replaced:,} invalid characters replaced by U+FFFD"] if self.replaced else []
        return "; ".join(parts)


def of_record(record: Mapping[str, Any], text_field: str, source: str, tally: Tally) -> Iterator[Document]:
    """The document of a record whose `text_field` is a string or nothing; none where it is empty."""
    text = record[text_field]
    if not text:
        tally.skip("empty", source)
        return
    text, mended = mend_pairs(text)
    tally.replaced += mended
    yield Document.of(text, source)._replace(marks=marks_of(record, text_field))
