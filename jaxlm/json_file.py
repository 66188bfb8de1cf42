"""JSON in a file, which anybody may have written: bounded before it is read, and one line where it is none.

Left out: who may say what in it; that is for who asks.
"""

import json
import re
from pathlib import Path
from typing import Any

from jaxlm.errors import UserError

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
MOST_VALUES = 1_000_000  # of a file's objects, lists, names and values; chosen: some 100 bytes of memory each
LIMIT = 16_000_000  # bytes, chosen: a config has some thousand, what is told of a mixture of 4,096 sources some million


def read(path: Path, limit: int = LIMIT) -> Any:
    """The value that a file holds; UserError where it cannot be read, is too long or no JSON."""
    return parse(read_bytes(path, limit), str(path))


def read_bytes(path: Path, limit: int) -> bytes:
    """All of a regular file, if it is no longer than `limit`."""
    try:
        if not path.is_file():  # a pipe or a device has no end
            path.stat()
            raise UserError(f"{path} cannot be read: it is no file")
        size = path.stat().st_size
        if size > limit:
            raise UserError(f"{path} has {size:,} bytes, more than the {limit:,} that such a file may have: is it one?")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def values(content: bytes, enough: int) -> int:
    """At most so many values are in a JSON text, if they are more than `enough`; else any number up to that.

    Each is opened, named or followed by a character that is counted: `[[],[],...` would need thirty times its own size
    in memory. Where there are many, strings are taken out first: text is full of commas.
    """
    count = sum(map(content.count, (b"[", b"{", b",", b":")))
    return count if count <= enough else sum(map(_STRING.sub(b"", content).count, (b"[", b"{", b",", b":")))


def parse(content: bytes, origin: str, most_values: int = MOST_VALUES, **how: Any) -> Any:
    """The value that `content` spells; `how` is json.loads's."""
    if (count := values(content, most_values)) > most_values:
        raise UserError(f"{origin} holds some {count:,} values, more than the {most_values:,} that it may: is it one?")
    try:
        return json.loads(content.decode("utf-8-sig"), **how)
    except RecursionError:
        raise UserError(f"{origin} is no JSON that jaxlm reads: it is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise UserError(f"{origin} is not valid JSON: {error}") from None
