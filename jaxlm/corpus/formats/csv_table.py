"""Rows of .csv files, packed or not, as RFC 4180 has them: a header of names, commas, double quotes.

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
from jaxlm.corpus.formats.tables import missing_column
from jaxlm.corpus.formats.unpack import LINE_BYTES, lines, unpacked

SUFFIXES = (".csv",)


def read(path: Path, name: str, text_field: str, tally: Tally) -> Iterator[Document]:
    """A document for each row; UserError where no column is `text_field`."""
    with unpacked(path, tally) as stream:
        header: list[str] | None = None
        for number, row in _rows(stream, path, tally):
            if header is None:
                header = row
                if text_field not in header:
                    raise missing_column(path, text_field, header)
                continue
            if len(row) != len(header):
                detail = f": {len(row)} fields under {len(header)} names: mend its commas and quotes, or remove it"
                tally.bad("a row that does not fit its header", f"{path}, line {number:,}", detail)
                continue
            yield from _document(dict(zip(header, row, strict=True)), text_field, f"{name}:{number}", tally)
        if header is None:
            tally.skip("empty", name)


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
    yield Document.of(text, source)._replace(marks=marks_of(row))


def _rows(stream: io.RawIOBase, path: Path, tally: Tally) -> Iterator[tuple[int, list[str]]]:
    """(number of the line it ends on, fields) of each row that is not blank."""
    csv.field_size_limit(LINE_BYTES)  # of the whole process, which has no other use for it; else 128 KiB
    reader = csv.reader(_text_lines(stream, path, tally), strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            mend = f" ({error}): mend its quotes, or remove it"
            tally.bad("no row of CSV", f"{path}, line {reader.line_num:,}", mend)
            continue
        if row is None:
            return
        if row:
            yield reader.line_num, row


def _text_lines(stream: io.RawIOBase, path: Path, tally: Tally) -> Iterator[str]:
    for number, line in enumerate(lines(stream), start=1):
        if line is None:
            mend = ": split or remove the line"
            tally.bad(f"longer than {LINE_BYTES >> 20} MiB", f"{path}, line {number:,}", mend)
        line = (line or b"").removeprefix(b"\xef\xbb\xbf") if number == 1 else line or b""
        yield line.decode("utf-8", "surrogateescape") + "\n"
