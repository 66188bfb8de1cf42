"""JSON that somebody else wrote: bounded before it is read, and one line where it is not what it should be."""

from pathlib import Path
from typing import Any

from jaxlm import json_file
from jaxlm.errors import UserError

LIMIT = 100_000_000  # bytes, chosen: three times the largest tokenizer.json we know (Gemma 3, 33 MB)
MOST_VALUES = 8_000_000  # chosen: four times those of that file (262,144 ids, 514,906 merges)


def read_bytes(path: Path, limit: int = LIMIT) -> bytes:
    """All of a file, if it is no longer than `limit`."""
    return json_file.read_bytes(path, limit)


def read_object(path: Path, limit: int = LIMIT) -> dict[str, Any]:
    """The JSON object in a file; UserError where there is none."""
    return parse_object(read_bytes(path, limit), str(path))


def parse_object(content: bytes, origin: str, most_values: int = MOST_VALUES) -> dict[str, Any]:
    """The JSON object that `content` spells; a name that occurs twice in an object is refused."""
    value = json_file.parse(content, origin, most_values, object_pairs_hook=_once)
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
