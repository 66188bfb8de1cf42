"""Pages of a MediaWiki export, as Wikipedia's dumps are: .xml, .xml.bz2, .xml.gz.

Each page of the main namespace becomes plain text (wikitext.py); redirects, other namespaces and pages in another
model than wikitext are counted. Of several revisions the last is taken. Memory holds one page and a block of the
file, whatever the file's size. Format: mediawiki.org/wiki/Help:Export and its XML schema, versions 0.3 to 0.11.

Left out: SQL dumps, HTML dumps, the expansion of templates.
"""

import io
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from jaxlm.corpus.decode import mend_pairs
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import END, WHOLE, Slice
from jaxlm.corpus.formats.unpack import LINE_BYTES, Damage, unpacked, whole
from jaxlm.corpus.formats.wikitext import DROPPED_NAMESPACES, plain_text

SUFFIXES = (".xml",)

BLOCK_BYTES = 64 << 10  # chosen: the pages of one block wait in memory
HEAD_BYTES = 4 << 10  # the root element stands in them
_PATHS = {  # below <mediawiki>
    "siteinfo/base",
    "page/title",
    "page/ns",
    "page/revision/timestamp",
    "page/revision/model",
    "page/revision/text",
    "siteinfo/namespaces/namespace",
}
_FILE, _CATEGORY = "6", "14"  # keys of namespaces, the same in every wiki


@dataclass
class _Page:
    offset: int  # of its element in the unpacked file
    redirect: bool = False
    values: dict[str, str] = field(default_factory=dict)  # path -> text


@dataclass
class _Site:
    base: str = ""  # the address of its main page
    namespaces: dict[str, str] = field(default_factory=dict)  # name -> key


def is_export(path: Path) -> bool:
    """Whether the root element of a .xml says so; a file that cannot be read is none."""
    head = b""
    with unpacked(path, Tally(budget=1.0)) as stream:
        head = stream.read(HEAD_BYTES)
    return b"<mediawiki" in head


def read(path: Path, name: str, tally: Tally, part: Slice = WHOLE) -> Iterator[Document]:
    """A document for each page, marked with title, url, date and offset in the unpacked file."""
    with unpacked(path, tally, part) as stream:
        export, found = _Export(_head(path, part) if part.begin else b"", part), False
        for page in export.pages(stream):
            found = True
            yield from _document(page, export.site, name, tally)
        if not found:
            tally.skip("XML without wiki pages", name)


def starts(stream: io.RawIOBase, path: Path) -> Iterator[tuple[int, int]]:
    """(offset, pages before) of each page: a slice may begin there. What describes the site comes before the first."""
    pages = _Export().pages(stream) if is_export(path) else ()
    return ((page.offset, before) for before, page in enumerate(pages))


def _head(path: Path, part: Slice) -> bytes:
    """What comes before the first page, unpacked; nothing where it cannot be read."""
    with unpacked(path, Tally(budget=1.0), Slice(0, part.head)) as stream:
        return whole(stream)
    return b""


def _document(page: _Page, site: _Site, name: str, tally: Tally) -> Iterator[Document]:
    source, values = f"{name}:{page.offset}", page.values
    title, text = values.get("page/title", ""), values.get("page/revision/text", "")
    if reason := _reason(page, site, title, text):
        tally.skip(reason, source)
        return
    local = [name for name, key in site.namespaces.items() if key in (_FILE, _CATEGORY)]
    text, mended = mend_pairs(plain_text(text, [*DROPPED_NAMESPACES, *local]))
    if not text:
        tally.skip("empty", source)
        return
    tally.replaced += mended
    marks = {"title": title, "url": _url(site, title), "date": values.get("page/revision/timestamp")}
    marks = {mark: value for mark, value in marks.items() if value} | {"offset": page.offset}
    yield Document.of(text, source)._replace(marks=marks)


def _reason(page: _Page, site: _Site, title: str, text: str) -> str | None:
    prefix, colon, _ = title.partition(":")
    namespace = page.values.get("page/ns") or (site.namespaces.get(prefix, "0") if colon else "0")
    if namespace != "0":
        return f"a wiki page of another namespace ({namespace[:10]})"
    if page.redirect or text[:20].lstrip().upper().startswith("#REDIRECT"):
        return "a wiki page that redirects"
    if len(text) > LINE_BYTES:
        return f"a wiki page of over {LINE_BYTES >> 20} MiB"
    if (model := page.values.get("page/revision/model", "wikitext")) != "wikitext":
        return f"a wiki page in the model {model[:40]}"
    return None


def _url(site: _Site, title: str) -> str | None:
    folder, slash, _ = site.base.rpartition("/")
    return f"{folder}/{urllib.parse.quote(title.replace(' ', '_'), safe='/:(),')}" if slash and title else None


class _Export:
    """The parser: bytes in, finished pages out; of a slice after those of the file's beginning."""

    def __init__(self, beginning: bytes = b"", part: Slice = WHOLE) -> None:
        self.site = _Site()
        self._moved = part.unpacked - len(beginning)  # from places that the parser sees to those in the file
        self._is_last = part.end == END
        self._pages: list[_Page] = []
        self._page: _Page | None = None
        self._path: list[str] = []  # of open elements below the root
        self._text: list[str] | None = None  # of the open element, where it is wanted
        self._length, self._key = 0, ""
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._refuse_entities
        if beginning:
            self._feed(beginning)

    def pages(self, stream: io.RawIOBase) -> Iterator[_Page]:
        """Each page when it is whole; Damage where it is no XML, after those before."""
        ended = False
        while not ended:
            block = stream.read(BLOCK_BYTES) or b""
            ended = not block
            damage = self._feed(block or self._close(), ended)
            yield from self._pages
            self._pages.clear()
            if damage is not None:
                raise damage

    def _close(self) -> bytes:
        """What ends the root element where another slice would go on."""
        return b"" if self._is_last else "".join(f"</{name}>" for name in self._path[:1]).encode()

    def _feed(self, block: bytes, ended: bool = False) -> Damage | None:
        """Parse the next bytes of the file; the reason not to go on."""
        try:
            self._parser.Parse(block, ended)
        except expat.ExpatError as error:
            offset, reason = self._moved + self._parser.ErrorByteIndex, expat.ErrorString(error.code)
            mend = f" at byte {offset:,} unpacked ({reason}): the rest is not read; mend it or copy it"
            return Damage("no XML any more", mend)
        except Damage as damage:
            return damage
        return None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) == 2 and name == "page":
            self._page = _Page(self._moved + self._parser.CurrentByteIndex)
        elif name == "redirect" and self._page is not None and len(self._path) == 3:
            self._page.redirect = True
        self._text = [] if len(self._path) <= 5 and "/".join(self._path[1:]) in _PATHS else None
        self._length, self._key = 0, attributes.get("key", "")

    def _characters(self, text: str) -> None:
        # Nothing more is kept than tells that a text is too long.
        if self._text is not None and self._length <= LINE_BYTES:
            self._text.append(text)
            self._length += len(text)

    def _end(self, name: str) -> None:
        path = "/".join(self._path[1:]) if len(self._path) <= 5 else ""
        self._path.pop()
        if self._text is not None:
            self._keep(path, "".join(self._text))
            self._text = None
        if path == "page" and self._page is not None:
            self._pages.append(self._page)
            self._page = None

    def _keep(self, path: str, text: str) -> None:
        if path == "siteinfo/base":
            self.site.base = text
        elif path == "siteinfo/namespaces/namespace":
            self.site.namespaces[text] = self._key
        elif self._page is not None:
            self._page.values[path] = text

    def _refuse_entities(self, name: str, *_: object) -> None:
        raise Damage(
            "XML with entities of its own",
            f" (&{name[:40]};), which no export has and which can grow without bound: remove its <!DOCTYPE>",
        )
