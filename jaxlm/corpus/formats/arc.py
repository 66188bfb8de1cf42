"""Records of an ARC file, the predecessor of WARC (Burner and Kahle 1996, "Arc File Format", Internet Archive).

A line "URL address date type length" (version 1; five more fields before the length in version 2), then as many
bytes. A URL may hold spaces, against the rules, so the fields are counted from the end.
"""

import io
import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from jaxlm.corpus.formats.unpack import BLOCK_BYTES, Damage

LINE_BYTES = 32 << 10  # of a header: as fastwarc bounds those of WARC
_FIELDS = (4, 9)  # after the URL, in version 1 and 2
_DATE = re.compile("[0-9]{12}|[0-9]{14}")  # early crawlers left the seconds out


class ArcRecord(NamedTuple):
    url: str
    date: str  # as ISO 8601 has it; "" where it is no day
    kind: str  # MIME type
    length: int  # of the block, as the header has it
    block: bytes | None  # None: longer than was asked for


def arc_records(stream: io.RawIOBase, most: int) -> Iterator[tuple[int, ArcRecord]]:
    """(offset, record) of each; Damage at a header that is none. Blocks of over `most` bytes are passed over."""
    begin = stream.tell()
    buffered = io.BufferedReader(stream, BLOCK_BYTES)
    try:
        yield from _records(buffered, most, begin)
    finally:
        buffered.detach()  # or it would close what is not its own


def _records(stream: io.BufferedIOBase, most: int, offset: int) -> Iterator[tuple[int, ArcRecord]]:
    while line := stream.readline(LINE_BYTES):
        start, offset = offset, offset + len(line)
        if not line.strip():
            continue
        url, date, kind, length = _header(line, start)
        if length <= most:
            block = stream.read(length)
            offset += len(block)
        else:
            block, offset = None, offset + _pass_over(stream, length)
        yield start, ArcRecord(url, date, kind, length, block)


def _header(line: bytes, offset: int) -> tuple[str, str, str, int]:
    fields = line.decode("utf-8", "replace").split()
    for count in _FIELDS:
        if len(fields) > count and fields[-1].isdecimal() and _DATE.fullmatch(fields[1 - count]):
            return " ".join(fields[:-count]), _iso(fields[1 - count]), fields[2 - count].lower(), int(fields[-1])
    raise Damage("no valid record", f" at byte {offset:,} unpacked, {line[:60]!r}: the rest of the file is not read")


def _iso(date: str) -> str:
    """A date as those of WARC are.

    >>> _iso("19970205093000"), _iso("19970231")
    ('1997-02-05T09:30:00+00:00', '')
    """
    try:
        return datetime.strptime(date.ljust(14, "0") + "+0000", "%Y%m%d%H%M%S%z").isoformat()
    except ValueError:
        return ""


def _pass_over(stream: io.BufferedIOBase, length: int) -> int:
    left = length
    while left and (block := stream.read(min(left, BLOCK_BYTES))):
        left -= len(block)
    return length - left
