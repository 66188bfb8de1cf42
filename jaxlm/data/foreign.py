"""JSON that somebody else wrote: bounded before it is read, and one line where it is not what it should be."""

import json
from pathlib import Path
from typing import Any

from jaxlm.errors import UserError

LIMIT = 200_000_000  # bytes, chosen: five times the largest tokenizer.json we know (Gemma 3, 33 MB)


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """All of a file, if it is no longer than `limit`."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(f"{path} has {size:,} bytes, more than the {limit:,} that such a file may have: is it one?")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def read_object(path: Path, limit: int = LIMIT) -> dict[str, Any]:
    """The JSON object in a file; UserError where there is none."""
    return parse_object(read_bytes(path, limit), str(path))


def parse_object(content: bytes, origin: str) -> dict[str, Any]:
    """The JSON object that `content` spells; a name that occurs twice in an object is refused."""
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
    except RecursionError:
        raise UserError(f"{origin} is no JSON that jaxlm reads: it is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no JSON, or a number of thousands of digits
        raise UserError(f"{origin} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{origin} holds a JSON {_kind(value)}, where an object should be")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{twice!r} occurs twice in one object")
    return found


def _kind(value: Any) -> str:
    return {list: "list", str: "string", bool: "truth value", type(None): "null"}.get(type(value), "number")
