"""Records inside one .json file, packed or not: an array of them, or whatever holds them.

Each object that has `text_field`, at any depth, is a document: its text is a string, or a list of strings, which are
its paragraphs. Other fields of the objects around it are not looked at.

Source code has .json files too, of settings, with comments even. A file in which no object has the field is one text,
unless it looks like records: an array of objects, the name of the field, over 1 MiB. Such a one is bad.

Left out: files of over 64 MiB, which are held in memory whole (.jsonl is not).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxlm.corpus import jsonl
from jaxlm.corpus.decode import NotText, decode
from jaxlm.corpus.document import Document, Tally, of_record
from jaxlm.corpus.formats.unpack import unpacked, whole

SUFFIXES = (".json",)

TEXT_BYTES = 1 << 20  # chosen: settings that people wrote are shorter
_OBJECTS = re.compile(r"\s*\[\s*\{")
_LONG = ", and JSON is read at once: write it as .jsonl, a record a line, or split it"


def records(path: Path, text_field: str, tally: Tally) -> list[dict[str, Any]] | None:
    """The objects that have the field, in order; None where the file is one text. A bad file is told, and has none."""
    with unpacked(path, tally) as stream:
        data = whole(stream, mend=_LONG)
        try:
            text, replaced = decode(data.removeprefix(b"\xef\xbb\xbf"))
            found = list(_with(jsonl.parse(text), text_field))
        except NotText:  # whoever reads it as text tells why it is none
            return None
        except (ValueError, RecursionError) as error:
            if not _looks_like_records(text, text_field):
                return None
            tally.bad("not JSON", str(path), f" ({error}): mend it or copy it again{_or_text(path, tally)}")
            return []
        if found:
            tally.replaced += replaced
        elif _looks_like_records(text, text_field):
            mend = f": set {tally.fields.text_field} to the field that holds the text{_or_text(path, tally)}"
            tally.bad(f"records of which none has a field {text_field!r}", str(path), mend)
            return []
        return found or None
    return []


def _looks_like_records(text: str, field: str) -> bool:
    key = re.compile(rf'"{re.escape(field)}"\s*:')
    return len(text) > TEXT_BYTES or _OBJECTS.match(text) is not None or key.search(text) is not None


def _or_text(path: Path, tally: Tally) -> str:
    return f"; if it is to be one text, name it {path.name}.txt, or leave it out with {tally.fields.include}"


def read(path: Path, name: str, found: list[dict[str, Any]], text_field: str, tally: Tally) -> Iterator[Document]:
    """A document for each of the records of a file."""
    for number, record in enumerate(found, start=1):
        text, where = record[text_field], f"{path}, record {number:,}"
        paragraphs = text if isinstance(text, list) else [text or ""]
        if not all(isinstance(paragraph, str) for paragraph in paragraphs):
            kind = type(text).__name__ if not isinstance(text, list) else "list of other things than strings"
            mend = f": mend it, or set {tally.fields.text_field} to another field"
            tally.bad(f"{text_field!r} is a {kind}, but must be a string or a list of strings", where, mend)
            continue
        yield from of_record({**record, text_field: "\n".join(paragraphs)}, text_field, f"{name}:{number}", tally)


def _with(value: Any, field: str) -> Iterator[dict[str, Any]]:
    """Objects that have the field, outermost first; what one holds is its own. Depth is bounded by orjson (1,024)."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            if field in here:
                yield here
            else:
                waiting += reversed([inner for inner in here.values() if isinstance(inner, dict | list)])
        elif isinstance(here, list):
            waiting += reversed([inner for inner in here if isinstance(inner, dict | list)])
