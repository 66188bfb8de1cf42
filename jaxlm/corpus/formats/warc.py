"""Web archives: the pages and plain texts in .warc, .wet and .arc files, packed by gzip or not.

A response with text/html gives its main text, with text/plain its text, a conversion record (Common Crawl's WET) its
text. Each other record is counted by the reason why it gives none, so documents and counts add up to all records.
WARC 1.0 and 1.1 (ISO 28500) are read by fastwarc.

Left out: revisits are not looked up, digests not verified, and where a record is damaged the rest of its file is not
read, since nothing says where the next one begins.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from jaxlm.corpus.decode import NotText
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import WHOLE, Slice
from jaxlm.corpus.formats.arc import ArcRecord, arc_records
from jaxlm.corpus.formats.html import Page, decoded, page_text
from jaxlm.corpus.formats.unpack import BLOCK_BYTES, Damage, bare, unpacked

PAGES = (".warc", ".arc")  # that may hold HTML
SUFFIXES = (*PAGES, ".wet", ".wat")

RECORD_BYTES = 64 << 20  # chosen: a record is held in memory; Common Crawl cuts pages at 1 MiB
_TOO_LONG = f"a web record of over {RECORD_BYTES >> 20} MiB"
_HTML = {"text/html", "application/xhtml+xml"}
_PAGES = (WarcRecordType.response, WarcRecordType.conversion, WarcRecordType.resource)


class _Page(NamedTuple):
    """The body of a record, and what its headers say."""

    body: bytes
    kind: str  # MIME type
    charset: str | None
    marks: dict[str, Any]


class _Unwanted(Exception):
    """Carries the reason why a record gives no text."""


class _CutShort(Exception):
    """Carries how much of a record is there."""


def read(path: Path, name: str, tally: Tally, part: Slice = WHOLE, *, quality: bool = False) -> Iterator[Document]:
    """A document for each page or text of the archive, marked with url, date, licence, title and offset, where known.

    The offset is that of the record in the unpacked file.
    """
    with unpacked(path, tally, part) as stream:
        offset = None
        for offset, record in _records(stream, path, part.before):
            where = f"{path}, byte {offset:,} unpacked"
            yield from _document(record, f"{name}:{offset}", where, offset, tally, quality)
        if offset is None:
            tally.skip("an archive without records", name)


def starts(stream: io.RawIOBase, path: Path) -> Iterator[tuple[int, int]]:
    """(offset, records before) of each record: a slice may begin there."""
    return ((offset, before) for before, (offset, _) in enumerate(_records(stream, path)))


def _records(stream: io.RawIOBase, path: Path, before: int = 0) -> Iterator[tuple[int, WarcRecord | ArcRecord]]:
    """(offset, record) of each; `before` are those of earlier slices."""
    return arc_records(stream, RECORD_BYTES) if bare(path.name).endswith(".arc") else _warc_records(stream, before)


def _warc_records(stream: io.RawIOBase, count: int) -> Iterator[tuple[int, WarcRecord]]:
    archive: Any = stream
    try:
        for record in ArchiveIterator(archive, parse_http=False, stream_detect=False):
            count += 1
            yield record.stream_pos, record
    except OSError as error:  # of fastwarc, at a header that is none
        raise Damage("no valid record", f" after {count:,} ({error}): the rest of the file is not read") from None


def _document(
    record: WarcRecord | ArcRecord, source: str, where: str, offset: int, tally: Tally, quality: bool
) -> Iterator[Document]:
    try:
        page = _arc_page(record) if isinstance(record, ArcRecord) else _warc_page(record)
        text, replaced, told = _text(page, quality)
    except (_Unwanted, NotText) as reason:
        tally.skip(str(reason), source)
    except _CutShort as detail:
        tally.bad("a record cut short", where, f" ({detail}): copy the file again")
    except OSError as error:  # of fastwarc, at chunks or a packing that are not what the header says
        tally.bad("a record that cannot be decoded", where, f" ({error}): remove it")
    else:
        tally.replaced += replaced
        yield Document.of(text, source)._replace(marks=told | page.marks | {"offset": offset})


def _text(page: _Page, quality: bool) -> Page:
    if page.kind in _HTML:
        return page_text(page.body, charset=page.charset, quality=quality, url=page.marks.get("url", ""))
    if page.kind != "text/plain":
        raise _Unwanted(f"a web record of type {page.kind[:40] or 'unknown'}")
    if not page.body.strip():
        raise NotText("empty")
    return Page(*decoded(page.body, page.charset), {})


def _warc_page(record: WarcRecord) -> _Page:
    headers, kind, length = record.headers, record.record_type, record.content_length
    if not headers.get("WARC-Type") or not headers.get("Content-Length"):
        raise _CutShort("its header is not whole")
    url = (headers.get("WARC-Target-URI") or "").strip("<>")
    if kind not in _PAGES or (kind == WarcRecordType.resource and not url.startswith("http")):
        raise _Unwanted(f"a web record that is no page: {headers.get('WARC-Type'):.20}")
    if length > RECORD_BYTES:  # fastwarc ends the process where it cannot have the memory
        raise _Unwanted(_TOO_LONG)
    block = _all(record)
    if len(block) != length:
        raise _CutShort(f"{len(block):,} of {length:,} bytes")
    date = record.record_date.isoformat() if record.record_date else ""
    marks = {name: value for name, value in (("url", url), ("date", date)) if value}
    if kind == WarcRecordType.response and not record.is_http:
        raise _Unwanted("a web response other than HTTP")
    if kind == WarcRecordType.response:
        return _http_page(block, marks)
    return _Page(block, *_content_type(headers.get("Content-Type")), marks)


def _arc_page(record: ArcRecord) -> _Page:
    if record.url.startswith(("filedesc:", "dns:")):
        raise _Unwanted(f"a web record that is no page: {record.url.partition(':')[0]}")
    if record.block is None:
        raise _Unwanted(_TOO_LONG)
    if len(record.block) != record.length:
        raise _CutShort(f"{len(record.block):,} of {record.length:,} bytes")
    marks = {"url": record.url, **({"date": record.date} if record.date else {})}
    if record.block.startswith(b"HTTP/"):
        return _http_page(record.block, marks)
    return _Page(record.block, record.kind, None, marks)


def _http_page(block: bytes, marks: dict[str, Any]) -> _Page:
    """The page in an HTTP response; OSError where its body is not packed as its header says."""
    # A record of its own: fastwarc loses its place in a file over a body that it cannot decode.
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http;msgtype=response\r\n"
    alone = io.BytesIO(b"%sContent-Length: %d\r\n\r\n%s\r\n\r\n" % (head, len(block), block))
    record = next(iter(ArchiveIterator(alone, parse_http=False, stream_detect=False)))
    record.parse_http(auto_decode="all")
    _refuse_status(record.http_headers.status_code)
    licence = _licence(record.http_headers.get("Link") or "") or record.http_headers.get("License")
    marks = marks | ({"licence": licence} if licence else {})
    return _Page(_all(record), (record.http_content_type or "").lower(), record.http_charset, marks)


def _refuse_status(status: int | None) -> None:
    if status is None:
        raise _Unwanted("a web response without a valid HTTP header")
    if status != 200:
        raise _Unwanted(f"a web response with status {status}")


def _all(record: WarcRecord) -> bytes:
    """The bytes of a record, decoded where it is parsed: a small one can then be more than memory holds."""
    blocks, size = [], 0
    while block := record.reader.read(BLOCK_BYTES):
        blocks.append(block)
        size += len(block)
        if size > RECORD_BYTES:
            raise _Unwanted(_TOO_LONG)
    return b"".join(blocks)


def _licence(link: str) -> str | None:
    """The target of rel="license" (RFC 4946) in an HTTP Link header."""
    for part in link.split(","):
        target, _, parameters = part.partition(";")
        if "license" in parameters.lower():
            return target.strip(" <>")
    return None


def _content_type(value: str | None) -> tuple[str, str | None]:
    """(MIME type, charset) of a Content-Type header."""
    mime, *parameters = (value or "").split(";")
    charsets = [p.partition("=")[2].strip(" \"'") for p in parameters if p.strip().lower().startswith("charset=")]
    return mime.strip().lower(), charsets[0] if charsets else None
