"""Records inside one .json file, packed or not: an array of them, or whatever holds them.

Each object that has `text_field`, at any depth, is a document: its text is a string, or a list of strings, which are
its paragraphs. Other fields of the objects around it are not looked at. A file in which no object has the field is one
text, as it always was: source code has such files.

Left out: files of over 64 MiB, which are held in memory whole (.jsonl is not).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from jaxlm.corpus.document import Document, Tally, of_record
from jaxlm.corpus.formats.unpack import unpacked, whole

SUFFIXES = (".json",)


def records(path: Path, text_field: str) -> list[dict[str, Any]] | None:
    """The objects that have the field, in order; None where there are none, or what is there is no JSON."""
    tally = Tally(budget=1.0)  # what is wrong with the file is told by whoever reads it as text
    with unpacked(path, tally) as stream:
        try:
            found = list(_with(orjson.loads(whole(stream)), text_field))
        except orjson.JSONDecodeError:
            return None
        return found or None
    return None


def read(path: Path, name: str, found: list[dict[str, Any]], text_field: str, tally: Tally) -> Iterator[Document]:
    """A document for each of the records of a file."""
    for number, record in enumerate(found, start=1):
        text, where = record[text_field], f"{path}, record {number:,}"
        paragraphs = text if isinstance(text, list) else [text or ""]
        if not all(isinstance(paragraph, str) for paragraph in paragraphs):
            kind = type(text).__name__ if not isinstance(text, list) else "list of other things than strings"
            mend = ": mend it, or set text_field to another field"
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
