"""Rows of .csv files, packed or not, as RFC 4180 has them: a header of names, commas, double quotes; and of .tsv, as
their registration with IANA has them: tabs, and a quote is a character like others.

A row is a document, as in tables.py. Rows are read by Python's own module, which says on which line one is wrong
(pyarrow's does not), and need memory for one row. A quote that is never closed costs the line that it stands in: those
that it swallowed are read again as rows. (Where it was the text of a row that was broken, they seldom fit the header.)

Left out: other separators, files without a header.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from jaxlm.corpus.decode import NotText, decode
from jaxlm.corpus.document import Document, Tally, marks_of
from jaxlm.corpus.files import WHOLE, Slice
from jaxlm.corpus.formats.tables import missing_column
from jaxlm.corpus.formats.unpack import LINE_BYTES, Damage, bare, measured_lines, unpacked

SUFFIXES = (".csv", ".tsv")

# What errors of Python's module say: our own one has no words.
_OPEN = ("", "unexpected end of data")
_CARRIAGE_RETURN = "new-line character seen in unquoted field"


def read(path: Path, name: str, text_field: str, tally: Tally, part: Slice = WHOLE) -> Iterator[Document]:
    """A document for each row; UserError where no column is `text_field`."""
    with unpacked(path, tally, part) as stream:
        header, bad = _header(path, part) if part.begin else None, tally.bad_records
        for first, number, row in _rows(_Lines(stream, path, tally, part.before)):
            if header is None:
                header = row
                if text_field not in header:
                    raise missing_column(path, text_field, header, tally.fields)
                continue
            if len(row) != len(header):
                detail = f": {len(row)} fields{_to(first, number)} under {len(header)} names: mend it, or remove it"
                tally.bad("a row that does not fit its header", f"{path}, line {first:,}", detail)
                continue
            yield from _document(dict(zip(header, row, strict=True)), text_field, f"{name}:{number}", tally)
        if header is None and tally.bad_records == bad:
            tally.skip("empty", name)


def starts(stream: io.RawIOBase, path: Path) -> Iterator[tuple[int, int]]:
    """(offset, lines before) of what follows each row, the first of which is the header: a slice may begin there."""
    text = _Lines(stream, path, Tally(budget=1.0))
    return ((text.offset, number) for _, number, _ in _rows(text) if number >= text.broken)


def _header(path: Path, part: Slice) -> list[str]:
    """The names of the columns, for a slice that does not hold them."""
    unseen = Tally(budget=1.0)
    with unpacked(path, unseen, Slice(0, part.head)) as stream:
        return next((row for *_, row in _rows(_Lines(stream, path, unseen))), [])
    return []


def _document(row: dict[str, str], text_field: str, source: str, tally: Tally) -> Iterator[Document]:
    try:
        text, replaced = decode(row[text_field].encode("utf-8", "surrogateescape"))
    except NotText as reason:
        tally.skip(str(reason), source)
        return
    if not text:
        tally.skip("empty", source)
        return
    tally.replaced += replaced
    yield Document.of(text, source)._replace(marks=marks_of(row, text_field))


class _Lines:
    """The lines that csv.reader takes, and how far it got; those of a row that cannot end it takes again.

    Where a line ends the quotes are open or not, and no more is to be known: as those of one row stayed open from its
    first line to line `broken`, so would those that any line between leaves open. So such a row is given up at once,
    and no line is taken more than twice, however many quotes are open.
    """

    def __init__(self, stream: io.RawIOBase, path: Path, tally: Tally, before: int = 0) -> None:
        self.path, self.tally = path, tally
        self.number, self.first, self.broken = before, before + 1, 0  # lines: the last one taken, the row's first
        self.offset = 0  # of what was not taken yet, unless lines up to `broken` are to be taken again
        self.damage: Damage | None = None  # where the lines end
        self._lines = measured_lines(stream)
        self._again: Iterator[bytes] = iter(())
        self._row = bytearray()  # lines of the row after its first

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        goes_on = self.number >= self.first
        if goes_on and self.number < self.broken:
            raise csv.Error
        line = next(self._again, None)
        line = self._read() if line is None else line
        self.number += 1
        if goes_on:
            self._row += line + b"\n"
            if len(self._row) > LINE_BYTES:
                raise csv.Error
        return line.decode("utf-8", "surrogateescape") + "\n"

    def _read(self) -> bytes:
        try:
            size, line = next(self._lines)
        except Damage as damage:
            self.damage = damage
            raise StopIteration from None
        number, self.offset = self.number + 1, self.offset + size
        if line is None:
            mend = ": split or remove the line"
            self.tally.bad(f"longer than {LINE_BYTES >> 20} MiB", f"{self.path}, line {number:,}", mend)
        return (line or b"").removeprefix(b"\xef\xbb\xbf") if number == 1 else line or b""

    def begin(self) -> None:
        """A row."""
        self.first = self.number + 1
        self._row.clear()

    def give_up(self) -> int:
        """Go back to the line after the row's first; up to which its quotes are open."""
        self.broken = max(self.broken, self.number)
        self.number = self.first
        if self._row:  # then all that was to be taken again has been
            self._again = _split(bytes(self._row))
        return self.broken


def _split(data: bytes) -> Iterator[bytes]:
    """Lines, without a list of them, which may need far more memory."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start:end]
        start = end + 1


def _rows(text: _Lines) -> Iterator[tuple[int, int, list[str]]]:
    """(number of its first line, of its last one, fields) of each row that is not blank."""
    csv.field_size_limit(LINE_BYTES)  # of the whole process, which has no other use for it; else 128 KiB
    tabs = bare(text.path.name).endswith(".tsv")
    reader = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(text, strict=True)
    while True:
        text.begin()
        try:
            row = next(reader, None)
        except csv.Error as error:
            _bad(text, str(error))
            continue
        if row is None:
            if text.damage is not None:
                raise text.damage
            return
        if row:
            yield text.first, text.number, row


def _bad(text: _Lines, error: str) -> None:
    """Count the row, whose first line or a later one is no CSV."""
    longer = text.number > text.first or error in _OPEN
    last, where = text.give_up(), f"{text.path}, line {text.first:,}"
    if error.startswith(_CARRIAGE_RETURN):
        mend = r": convert them to \n, as tr '\r' '\n' does; a field with \r in it needs quotes"
        text.tally.bad(r"lines that end with \r", where, mend)
        return
    why = f"a quote opens in it that is not rightly closed up to line {last:,}" if longer else error
    text.tally.bad("no row of CSV", where, f" ({why}): mend its quotes, or remove it")


def _to(first: int, last: int) -> str:
    return f" to line {last:,}" if last > first else ""
