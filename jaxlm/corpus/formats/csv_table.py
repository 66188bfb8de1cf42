"""Rows of .csv files, packed or not, as RFC 4180 has them: a header of names, commas, double quotes; and of .tsv, as
their registration with IANA has them: tabs, and a quote is a character like others.

A row is a document, as in tables.py. Rows are read by Python's own module, which says on which line one is wrong
(pyarrow's does not), and need memory for one row.

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
from jaxlm.corpus.formats.unpack import LINE_BYTES, bare, measured_lines, unpacked

SUFFIXES = (".csv", ".tsv")


def read(path: Path, name: str, text_field: str, tally: Tally, part: Slice = WHOLE) -> Iterator[Document]:
    """A document for each row; UserError where no column is `text_field`."""
    with unpacked(path, tally, part) as stream:
        header = _header(path, part) if part.begin else None
        for number, row in _rows(_Lines(stream, path, tally, part.before)):
            if header is None:
                header = row
                if text_field not in header:
                    raise missing_column(path, text_field, header, tally.fields)
                continue
            if len(row) != len(header):
                detail = f": {len(row)} fields under {len(header)} names: mend it, or remove it"
                tally.bad("a row that does not fit its header", f"{path}, line {number:,}", detail)
                continue
            yield from _document(dict(zip(header, row, strict=True)), text_field, f"{name}:{number}", tally)
        if header is None:
            tally.skip("empty", name)


def starts(stream: io.RawIOBase, path: Path) -> Iterator[tuple[int, int]]:
    """(offset, lines before) of what follows each row, the first of which is the header: a slice may begin there."""
    text = _Lines(stream, path, Tally(budget=1.0))
    return ((text.offset, number) for number, _ in _rows(text))


def _header(path: Path, part: Slice) -> list[str]:
    """The names of the columns, for a slice that does not hold them."""
    unseen = Tally(budget=1.0)
    with unpacked(path, unseen, Slice(0, part.head)) as stream:
        return next((row for _, row in _rows(_Lines(stream, path, unseen))), [])
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
    """The lines that csv.reader takes, and how far it got."""

    def __init__(self, stream: io.RawIOBase, path: Path, tally: Tally, before: int = 0) -> None:
        self.path, self.tally, self.before = path, tally, before
        self.offset = 0  # of what it did not take yet
        self._stream = stream

    def __iter__(self) -> Iterator[str]:
        for number, (size, line) in enumerate(measured_lines(self._stream), start=self.before + 1):
            self.offset += size
            if line is None:
                mend = ": split or remove the line"
                self.tally.bad(f"longer than {LINE_BYTES >> 20} MiB", f"{self.path}, line {number:,}", mend)
            line = (line or b"").removeprefix(b"\xef\xbb\xbf") if number == 1 else line or b""
            yield line.decode("utf-8", "surrogateescape") + "\n"


def _rows(text: _Lines) -> Iterator[tuple[int, list[str]]]:
    """(number of the line it ends on, fields) of each row that is not blank."""
    csv.field_size_limit(LINE_BYTES)  # of the whole process, which has no other use for it; else 128 KiB
    tabs = bare(text.path.name).endswith(".tsv")
    reader = csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(text, strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            mend = f" ({error}): mend its quotes, or remove it"
            text.tally.bad("no row of CSV", f"{text.path}, line {text.before + reader.line_num:,}", mend)
            continue
        if row is None:
            return
        if row:
            yield text.before + reader.line_num, row
