"""Records of .jsonl, .jsonl.gz and .jsonl.zst, line by line: a file may be larger than memory, a line not."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from jaxlm import json_file
from jaxlm.corpus.decode import NotText, decode
from jaxlm.corpus.document import Document, Fields, Tally, of_record
from jaxlm.corpus.files import WHOLE, Slice
from jaxlm.corpus.formats.unpack import LINE_BYTES, lines, unpacked

SUFFIXES = (".jsonl",)
MOST_VALUES = 3_000_000  # of a line or file of records; chosen: they take some 250 MB of memory
_STEP_BYTES = 4 << 10  # chosen: a cut falls so near to where it is wanted


def read(path: Path, name: str, text_field: str, tally: Tally, part: Slice = WHOLE) -> Iterator[Document]:
    """A document for each line; a line that is no object with a string in `text_field` is bad."""
    for number, record in records(path, name, tally, part):
        if wrong := _wrong(record, text_field, tally.fields):
            tally.bad(wrong[0], f"{path}, line {number:,}", wrong[1])
            continue
        yield from of_record(record, text_field, f"{name}:{number}", tally)


def starts(stream: io.RawIOBase, path: Path) -> Iterator[tuple[int, int]]:
    """(offset, lines before) of the first line that begins in each step: a slice may begin there."""
    offset = before = 0
    inside = False  # a line that began in the step before
    while block := stream.read(_STEP_BYTES):
        first = block.find(b"\n") + 1 if inside else 0
        if first or not inside:
            yield offset + first, before + inside
        before += block.count(b"\n")
        offset += len(block)
        inside = not block.endswith(b"\n")


def records(path: Path, name: str, tally: Tally, part: Slice = WHOLE) -> Iterator[tuple[int, Any]]:
    """(number of the line, what it holds) for each line that is not blank."""
    with unpacked(path, tally, part) as stream:
        for number, line in enumerate(lines(stream), start=part.before + 1):
            where = f"{path}, line {number:,}"
            if line is None:
                tally.bad(f"longer than {LINE_BYTES >> 20} MiB", where, ": split or remove the line")
                continue
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                json_text, replaced = decode(line)
                record = parse(json_text)
            except NotText as reason:
                tally.skip(str(reason), f"{name}:{number}")
            except (ValueError, RecursionError) as error:
                mend = 'each line is one object such as {"text": "..."}: mend or remove the line'
                tally.bad("not JSON", where, f" ({error}); {mend}")
            else:
                tally.replaced += replaced
                yield number, record


def parse(text: str) -> Any:
    """What a JSON text holds; ValueError or RecursionError where it is none, or would fill memory."""
    if len(text) > MOST_VALUES and json_file.values(text.encode(errors="surrogatepass"), MOST_VALUES) > MOST_VALUES:
        raise ValueError(f"it holds over {MOST_VALUES:,} values")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # orjson also refuses half surrogate pairs and NaN, which real files hold


def _wrong(record: Any, text_field: str, fields: Fields) -> tuple[str, str] | None:
    """What is wrong with a record, and its mend."""
    if not isinstance(record, dict):
        return f"a {type(record).__name__}, but each line must be an object with {text_field!r}", ""
    if text_field not in record:
        names = ", ".join(map(repr, list(record)[:20])) or "none"
        return f"no field {text_field!r}", f"; set {fields.text_field} to one of its fields: {names}"
    text = record[text_field]
    if text is not None and not isinstance(text, str):
        return f"{text_field!r} is a {type(text).__name__}, but must be a string or null", ""
    return None
