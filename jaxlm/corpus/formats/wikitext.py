"""Wikitext to plain text: what a reader of the page would read as prose, headings and lists.

Own reading of MediaWiki's markup (mediawiki.org, Help:Formatting, /Links, /Tables, /Templates). Dropped with their
content: templates, tables, references, formulas, galleries, files, categories, links to other languages; a section
of which nothing is left loses its heading too. Nothing is expanded: text that only a template makes is not there.

Every step is one pass, and nesting is a stack of places, so time is linear in any input: pairs that do not match
stay as they are, or lose their marks at the end.
"""

import html
import re
from collections.abc import Callable, Iterable

LINK_DEPTH = 8  # links inside the captions of files: chosen, three are known; deeper ones only lose their brackets

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LITERAL = re.compile(r"(?P<open><nowiki>)|</nowiki>", re.IGNORECASE)
_LITERAL_MARKS = re.compile(r"[][{}|'=<>*#:;_-]")
_DROPPED = (
    *("ref", "references", "math", "chem", "ce", "hiero", "score", "gallery", "timeline", "imagemap", "graph"),
    *("mapframe", "maplink", "templatedata", "templatestyles", "inputbox", "categorytree", "style", "script"),
)
_TAG_NAME = re.compile(r"</([a-z]+)", re.IGNORECASE)
_TAGS = {tag: re.compile(rf"(?P<open><{tag}(?:\s[^<>]*)?(?<!/)>)|</{tag}\s*>", re.IGNORECASE) for tag in _DROPPED}
_TEMPLATE = re.compile(r"(?P<open>\{\{)|\}\}")
_TABLE = re.compile(r"(?P<open>^[ \t:*#;]*\{\|)|^[ \t]*\|\}", re.MULTILINE)
_WEB_LINK = re.compile(r"\[(?:https?:|ftp:|mailto:|//)[^\s\[\]]*+[ \t]*+([^\[\]\n]*+)\]", re.IGNORECASE)
_LINK = re.compile(r"\[\[((?:[^\[\]]++|\[[^\[\]]*+\]|\[(?!\[)|\](?!\]))*+)\]\]")  # the innermost
_OTHER_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:\S")  # chosen: as [[de:Haus]] on older pages
_LINE_BREAK = re.compile(r"<br\s*+/?\s*+>", re.IGNORECASE)
_ANY_TAG = re.compile(r"</?[a-z][^<>]*>", re.IGNORECASE)
_QUOTES = re.compile(r"'{2,}")
_MAGIC = re.compile(r"__[A-Z]{3,20}__")
_SPACES = re.compile(r"[ \t]{2,}")
_BLANK_LINES = re.compile(r"\n{3,}")

DROPPED_NAMESPACES = ("file", "image", "media", "category")


def plain_text(wikitext: str, dropped_namespaces: Iterable[str] = DROPPED_NAMESPACES) -> str:
    """The prose of a page; `dropped_namespaces` are those of files and categories in the wiki's language.

    >>> plain_text("'''Tea''' is a [[drink|hot drink]].<ref>{{cite}}</ref>\\n== See also ==\\n[[Category:Tea]]")
    'Tea is a hot drink.'
    """
    text = _COMMENT.sub("", wikitext)
    text = _replace(text, [_LITERAL], lambda inside: _LITERAL_MARKS.sub(lambda m: f"&#{ord(m[0])};", inside))
    tags = {name.lower() for name in _TAG_NAME.findall(text)}
    text = _replace(text, [pattern for name, pattern in _TAGS.items() if name in tags], lambda inside: "")
    text = _replace(text, [_TEMPLATE], lambda inside: "")
    text = _replace(text, [_TABLE], lambda inside: "")
    text = _links(text, {name.lower() for name in dropped_namespaces})
    text = _ANY_TAG.sub("", _LINE_BREAK.sub("\n", text))
    text = _MAGIC.sub("", _QUOTES.sub("", text))
    text = html.unescape("\n".join(_lines(text)))
    return _BLANK_LINES.sub("\n\n", text).strip()


def _replace(text: str, pairs: list[re.Pattern[str]], content: Callable[[str], str]) -> str:
    """`text` with each outermost pair of marks replaced by `content` of what is between them."""
    parts, place = [], 0
    for start, inner_start, inner_end, end in _outermost(text, pairs):
        parts += [text[place:start], content(text[inner_start:inner_end])]
        place = end
    return "".join([*parts, text[place:]])


def _outermost(text: str, pairs: list[re.Pattern[str]]) -> list[tuple[int, int, int, int]]:
    """(start, end of the opening mark, start of the closing one, end) of pairs that no other holds, in order."""
    found = []
    for pattern in pairs:
        waiting = []
        for mark in pattern.finditer(text):
            if mark["open"]:
                waiting.append(mark)
            elif waiting:
                opening = waiting.pop()
                found.append((opening.start(), opening.end(), mark.start(), mark.end()))
    outermost, reached = [], 0
    for pair in sorted(found):
        if pair[0] >= reached:
            outermost.append(pair)
            reached = pair[3]
    return outermost


def _links(text: str, dropped: set[str]) -> str:
    text = _WEB_LINK.sub(lambda link: link[1], text)
    for _ in range(LINK_DEPTH):
        text, count = _LINK.subn(lambda link: _label(link[1], dropped), text)
        if not count:
            break
    return text.replace("[[", "").replace("]]", "")


def _label(link: str, dropped: set[str]) -> str:
    """What is read of `link`, which is "target", "target|label" or a file with options."""
    target, bar, label = link.partition("|")
    namespace, colon, _ = target.partition(":")
    if colon and namespace.strip().lower() in dropped:
        return ""
    if not bar and _OTHER_LANGUAGE.match(target):
        return ""
    return label.strip() or target.strip().removeprefix(":")


def _lines(text: str) -> list[str]:
    """The lines, lists with a dash, headings without marks and only where something follows in their section."""
    lines: list[str] = []
    follows = 0  # headings of a lower level than this have something below them
    for line in reversed(text.split("\n")):
        line = _SPACES.sub(" ", line).rstrip()
        level = len(line) - len(line.lstrip("=")) if line.startswith("=") and line.endswith("=") else 0
        if level:
            if level < follows:
                lines.append(line.strip("= "))
                follows = level
        elif line.strip("-"):
            item = line.lstrip("*#:;")
            lines.append(("- " if line[0] in "*#" else "") + (item.lstrip() if item != line else line))
            follows = 99
        else:
            lines.append("")
    return lines[::-1]
