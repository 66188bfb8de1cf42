"""Web pages: the main text of HTML, without navigation, comments and footers.

By default resiliparse finds it (Bevendorff et al. 2018, "Elastic ChatNoir", ECIR); with `quality`, main_text of a
corpus' source, trafilatura does (Barbaresi 2021, ACL demo 15), an extra, slower by an order of magnitude. On 19 pages
under CC licences (trafilatura's own gold: 55 strings to keep, 54 to drop) their F1 of strings was 0.947 and 0.973. Of
resiliparse's options, comments lower it to 0.893 and the lines about an article to 0.931; alternative texts and hidden
elements change nothing, so they stay as the library has them.

The encoding is what the HTTP header says, or the page itself, or what uchardet guesses: the order of the HTML
standard, but UTF-8 is known by its bytes, and a declaration that does not fit the bytes yields to the guess.

A page's title is kept, and the licence that it declares by rel="license" (a link type of the HTML standard, which
Creative Commons tells to use): that of a <link>, or else of each <a>, as nobody knows which of several holds for what.

Left out: other metadata, a licence whose link has other types too, links, pages made by a script.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from urllib.parse import urljoin

import numpy as np
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5
from resiliparse.parse.html import DOMContext, HTMLTree, traverse_dom

from jaxlm.corpus.decode import HEAD_BYTES, REPLACED_LIMIT, NotText, decode, mend_pairs
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats.unpack import unpacked, whole
from jaxlm.errors import UserError

SUFFIXES = (".html", ".htm")

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

# resiliparse needs time in the square of an element's attributes and of the depth of nested <div>: 100,000 take it
# 18 s and minutes. The bounds are chosen: a second or two for a page at worst.
ATTRIBUTES = 20_000  # of one element
DEPTH_BY_TAGS = 30_000_000  # depth of the tree, times its tags

TITLE = 300  # characters that are kept: chosen, longer than any that is one
# Declared: chosen, more are those of what a page lists. To look at each takes the square of the time for one.
_LICENCES = 16
_ADDRESS = 300  # characters of a licence's: chosen


class Page(NamedTuple):
    """What is kept of one."""

    text: str
    replaced: int  # characters
    marks: dict[str, str]  # title, licence


def read(path: Path, name: str, tally: Tally, *, quality: bool = False) -> Iterator[Document]:
    """The page as one document."""
    with unpacked(path, tally) as stream:
        data = whole(stream)
        try:
            page = page_text(data, quality=quality)
        except NotText as reason:
            tally.skip(str(reason), name)
            return
        tally.replaced += page.replaced
        yield Document.of(page.text, name)._replace(marks=page.marks)


def main_text(html: bytes, *, charset: str | None = None, quality: bool = False) -> str:
    """The main text of a page, or "" if it has none; `charset` is what an HTTP header says.

    >>> main_text("<nav>Start</nav><main><h1>Tea</h1><p>Grün.</p></main>".encode("latin-1"), charset="latin-1")
    'Tea\\n\\nGrün.'
    """
    try:
        return page_text(html, charset=charset, quality=quality).text
    except NotText:
        return ""


def page_text(html: bytes, *, charset: str | None = None, quality: bool = False, url: str = "") -> Page:
    """The page with its main text, or NotText with the reason why there is none; `url` is where it was found."""
    if not html.strip():
        raise NotText("empty")
    page, replaced = decoded(html, charset)
    marks = html.replace(b"\0", b"").lower()  # in UTF-16 each letter of a tag has a NUL
    _refuse_many_attributes(marks)
    tree = HTMLTree.parse(page)
    told = _told(tree, url)
    text = _by_trafilatura(page) if quality else _by_resiliparse(tree, marks)
    if not text.strip():
        raise NotText("a web page without main text")
    text, mended = mend_pairs(text)
    return Page(text, replaced + mended, told)


def decoded(data: bytes, charset: str | None = None) -> tuple[str, int]:
    """(text, characters that were replaced) of bytes in any encoding, or NotText for what is binary."""
    text, replaced = _best(data, _encodings(data, charset))
    decode(text[:HEAD_BYTES].encode())  # raises NotText for what is binary
    return text, replaced


def _encodings(data: bytes, charset: str | None) -> Iterator[str]:
    """What to try, the most trusted first."""
    yield from (name for mark, name in _BOMS.items() if data.startswith(mark))
    if not data.isascii() and _is_utf8(data):  # text in another encoding almost never is, whatever was declared
        yield "utf-8"
    if declared := map_encoding_to_html5(charset or "", fallback_utf8=False):
        yield declared
    yield detect_encoding(data, from_html_meta=True) or "utf-8"
    yield "utf-8"
    yield detect_encoding(data) or "utf-8"


def _best(data: bytes, encodings: Iterator[str]) -> tuple[str, int]:
    """The first text with hardly a character replaced, or else the one with the fewest; and how many."""
    best, fewest = "", len(data) + 1
    for encoding in encodings:
        try:
            text = data.decode(encoding, errors="replace")
        except LookupError:  # of the HTML standard, but not of Python
            continue
        replaced = text.count("\ufffd")
        if replaced < fewest:
            best, fewest = text, replaced
        if replaced <= REPLACED_LIMIT * len(text):
            break
    return best, fewest


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _told(tree: HTMLTree, url: str) -> dict[str, str]:
    """What a page says of itself."""
    title = mend_pairs(" ".join((tree.title or "")[: 2 * TITLE].split())[:TITLE])[0]
    licence = _licence(tree, url)
    return {name: value for name, value in (("title", title), ("licence", licence)) if value}


def _licence(tree: HTMLTree, url: str) -> str:
    if tree.document is None:
        return ""
    # A selector would also find it among other link types, and takes 4 % of a page's time.
    found = tree.document.get_elements_by_attr("rel", "license", case_insensitive=True)
    count = len(found)
    if not 0 < count <= _LICENCES:
        return ""
    found = [found[number] for number in range(count)]  # list() would look at each once more
    some = [one for one in found if one.tag == "link"] or [one for one in found if one.tag == "a"]
    addresses = [mend_pairs((one.getattr("href") or "").strip())[0] for one in some]
    return ", ".join(dict.fromkeys(_joined(url, one) for one in addresses if 0 < len(one) <= _ADDRESS))


def _joined(url: str, address: str) -> str:
    try:
        return urljoin(url, address)
    except ValueError:  # of a host in brackets that is none
        return address


def _by_resiliparse(tree: HTMLTree, marks: bytes) -> str:
    tags = marks.count(b"<")  # no depth is greater; blocks, which take longer to count, only where there may be enough
    if tags * tags > DEPTH_BY_TAGS and _blocks(marks) * tags > DEPTH_BY_TAGS and _depth(tree) * tags > DEPTH_BY_TAGS:
        raise NotText("a web page whose tags are nested too deep")
    return extract_plain_text(tree, main_content=True, comments=False, post_meta=False)


def _blocks(marks: bytes) -> int:
    return marks.count(b"<div") + marks.count(b"<article")


def _by_trafilatura(page: str) -> str:
    return trafilatura().extract(page, include_comments=False) or ""


def trafilatura() -> ModuleType:
    """The library; UserError where it is not installed."""
    try:
        import trafilatura  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(
            "main_text='trafilatura' needs a library that is not installed: pip install 'jaxlm[quality]', or leave "
            "main_text as it is"
        ) from None
    return trafilatura


def _depth(tree: HTMLTree) -> int:
    deepest = 0

    def enter(context: DOMContext) -> None:
        nonlocal deepest
        deepest = max(deepest, context.depth)

    if tree.document is not None:
        traverse_dom(tree.document, enter)
    return deepest


def _refuse_many_attributes(marks: bytes) -> None:
    if len(marks) <= 2 * ATTRIBUTES:  # each takes two characters
        return
    ends = np.flatnonzero(np.frombuffer(marks, np.uint8) == ord(">"))
    if np.diff(ends, prepend=-1, append=len(marks)).max() <= 2 * ATTRIBUTES:
        return
    for part in marks.split(b">"):
        _, opened, element = part.partition(b"<")
        if opened and element[:1].isalpha() and len(element.split()) > ATTRIBUTES:
            raise NotText(f"a web page with over {ATTRIBUTES:,} attributes in one element")
