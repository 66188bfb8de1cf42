"""Some thousand real documents out of folders of text, cut where their authors cut: chapters, articles, pages.

Which folder gives what stands in SOURCES; a folder that is not there is left out, and said.
"""

import html
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_CHAPTER = re.compile(r"\n(?=(?:CHAPTER|Chapter|ADVENTURE|Letter) )")
_ARTICLE = re.compile(r"\n(?= = [^=])")


def opened(path: Path) -> str:
    """Text of a file, unpacked by its suffix."""
    import bz2
    import lzma

    unpack = {".xz": lzma.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)
    return unpack(path.read_bytes()).decode("utf-8", "replace").replace("\r\n", "\n")


def chapters(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.xz")):
        yield from _CHAPTER.split(opened(path))


def articles(folder: Path) -> Iterator[str]:
    yield from _ARTICLE.split(opened(folder / "valid.txt"))


def files(folder: Path) -> Iterator[str]:
    yield from (opened(path) for path in sorted(folder.glob("*.txt")))


def pages(folder: Path) -> Iterator[str]:
    """Two texts of each page of HTML: what is in its tags, and that without menus."""
    from resiliparse.extract.html2text import extract_plain_text

    for path in sorted(folder.rglob("*.html.xz")):
        markup = opened(path)
        yield from (extract_plain_text(markup, main_content=main) for main in (True, False))


def wikitext(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.xml.bz2")):
        yield from map(html.unescape, re.findall(r"<text[^>]*>(.*?)</text>", opened(path), re.DOTALL))


def paragraphs(folder: Path) -> Iterator[str]:
    for article in json.loads(opened(folder / "train.json.xz"))["data"]:
        contexts = [paragraph["context"] for paragraph in article["paragraphs"]]
        yield from [*contexts, "\n".join(contexts)]


def abstracts(folder: Path) -> Iterator[str]:
    yield from (" ".join(json.loads(line)["source"]) for line in opened(folder / "train.jsonl.xz").splitlines())


def pieces(folder: Path) -> Iterator[str]:
    """A script without spaces, 4,000 characters at a time."""
    for path in sorted(folder.rglob("*.xz")):
        text = opened(path)[:200_000]
        yield from (text[start : start + 4_000] for start in range(0, len(text), 4_000))


SOURCES = {
    "gutenberg-en": chapters, "near-duplicates-gutenberg": chapters, "war-and-peace": chapters,
    "wikitext-2-valid": articles, "udhr": files, "html-cc": pages, "html-wikipedia": pages,
    "html-debian-reference": pages, "enwiki-xml-sample": wikitext, "squadshifts-newwiki": paragraphs,
    "scitldr-a": abstracts, "chinese-classics": pieces,
}  # fmt: skip


def documents(data: Path) -> list[dict[str, str]]:
    """[{"name", "text"}] of every folder that is there."""
    found = []
    for name, cut in SOURCES.items():
        if not (data / name).is_dir():
            print(f"{name} is not in {data}: left out", file=sys.stderr)
            continue
        texts = (text.strip() for text in cut(data / name))
        found += [{"name": f"{name}:{n}", "text": text} for n, text in enumerate(texts) if text]
    return found
