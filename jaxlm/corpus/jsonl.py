"""Records of .jsonl, .jsonl.gz and .jsonl.zst, line by line: a file may be larger than memory, a line not."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from jaxlm.corpus.decode import NotText, decode, mend_pairs
from jaxlm.corpus.document import Document, Tally
from jaxlm.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_BLOCK_BYTES = 1 << 20


def read(path: Path, name: str, text_field: str, tally: Tally) -> Iterator[Document]:
    """A document for each line; UserError where a line is no object with a string in `text_field`."""
    for number, record in records(path, name, tally):
        text, source = _text(record, text_field, path, number), f"{name}:{number}"
        if not text:
            tally.skip("empty", source)
            continue
        text, mended = mend_pairs(text)
        tally.replaced += mended
        yield Document.of(text, source)


def records(path: Path, name: str, tally: Tally) -> Iterator[tuple[int, Any]]:
    """(number of the line, what it holds) for each line that is not blank."""
    for number, line in enumerate(_lines(path), start=1):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not line.strip():
            continue
        try:
            json_text, replaced = decode(line)
        except NotText as reason:
            tally.skip(str(reason), f"{name}:{number}")
            continue
        tally.replaced += replaced
        yield number, _parse(json_text, path, number)


def _parse(line: str, path: Path, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass  # it also refuses half surrogate pairs and NaN, which real files hold
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}, line {number:,}: not JSON ({error}); each line is one object such as "
            f'{{"text": "..."}}: mend or remove the line'
        ) from None


def _text(record: Any, text_field: str, path: Path, number: int) -> str | None:
    where = f"{path}, line {number:,}"
    if not isinstance(record, dict):
        raise UserError(f"{where}: a {type(record).__name__}, but each line must be an object with {text_field!r}")
    if text_field not in record:
        names = ", ".join(map(repr, list(record)[:20])) or "none"
        raise UserError(f"{where}: no field {text_field!r}; set data.text_field to one of its fields: {names}")
    text = record[text_field]
    if text is not None and not isinstance(text, str):
        raise UserError(f"{where}: {text_field!r} is a {type(text).__name__}, but must be a string or null")
    return text


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            if path.suffix == ".zst":
                yield from _split_lines(_decompress(file))
            else:
                yield from gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
    except (gzip.BadGzipFile, zlib.error, EOFError, zstandard.ZstdError) as error:
        raise UserError(f"{path}: damaged or cut short ({error}): copy it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _decompress(file: BinaryIO) -> Iterator[bytes]:
    frame = None
    while block := file.read(_BLOCK_BYTES):
        while block:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(block)
            block, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    if frame is not None:
        raise EOFError("the last frame does not end")


def _split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    open_line: list[bytes] = []
    for block in blocks:
        first, *more = block.split(b"\n")
        open_line.append(first)
        for part in more:
            yield b"".join(open_line)
            open_line = [part]
    if any(open_line):
        yield b"".join(open_line)
