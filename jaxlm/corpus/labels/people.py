"""What people said, in files of other programs: which records there are, and what every reader makes of one."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jaxlm import json_file
from jaxlm.corpus import jsonl
from jaxlm.corpus.decode import mend_pairs
from jaxlm.corpus.document import Document, Tally
from jaxlm.errors import UserError

T = TypeVar("T")
MOST_BYTES = 200_000_000  # of a .json file; chosen: of a longer one each record has a line of its own, in .jsonl
_ID = re.compile("[0-9a-f]{32}")  # of a document, as `Document.of` makes it


class Answer(NamedTuple):
    """One annotator's word on one text."""

    id: str
    text: str
    annotator: str
    label: str | None  # None: seen, and passed over
    where: str  # file and place


def records(path: Path) -> Iterator[tuple[str, dict]]:
    """(file and place, object) of each record of a .jsonl file, or of a .json file that holds one list."""
    if not path.is_file():
        raise UserError(f"votes: {str(path)!r} does not exist or is no file: name a .jsonl or .json file")
    if path.suffix == ".json":
        found: Iterator[tuple[str, Any]] = _listed(path)
    else:
        found = ((f"{path}, line {n:,}", record) for n, record in jsonl.records(path, path.name, Tally()))
    for where, record in found:
        if not isinstance(record, dict):
            raise UserError(f"{where}: a {type(record).__name__}, but must be an object: mend or remove it")
        yield where, record


def _listed(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        whole = jsonl.parse(json_file.read_bytes(path, MOST_BYTES).decode("utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno:,}: not JSON ({error.msg}): export the file again, or mend it there"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: not JSON (RecursionError): export the file again") from None
    except UserError:
        raise
    except ValueError as error:  # no UTF-8, too many values, or a number of thousands of digits
        raise UserError(f"{path}: not JSON ({type(error).__name__}: {error}): export the file again") from None
    if not isinstance(whole, list):
        raise UserError(
            f"{path}: a {type(whole).__name__}, but a .json file holds one list: with an object a line call it .jsonl"
        )
    yield from ((f"{path}, record {number:,}", record) for number, record in enumerate(whole, start=1))


def part(record: dict, field: str, kind: type[T], where: str, default: T | None = None) -> T:
    """`record[field]`, which must be of `kind`; nothing there is the default, if there is one."""
    value = record.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind):
        names = ", ".join(map(repr, list(record)[:20])) or "nothing"
        told = f"{field!r} is a {type(value).__name__}" if field in record else f"no {field!r}, it has {names}"
        raise UserError(f"{where}: {told}, but must have {field!r} of type {kind.__name__}: mend or remove it")
    return value


def identity(record: dict, text: str) -> str:
    """The document's id that a record carries since we wrote it, else that of its text."""
    said = record.get("id")
    return said if isinstance(said, str) and _ID.fullmatch(said) else Document.of(text, "").id


def text_of(fields: dict, field: str, where: str) -> str:
    text = part(fields, field, str, where)
    if not text.strip():
        raise UserError(f"{where}: {field!r} is empty: remove the record")
    return mend_pairs(text)[0]


def known(label: Any, classes: tuple[str, ...], where: str) -> str:
    """A label that is one of the classes."""
    if str(label) not in classes:
        shown = ", ".join(map(repr, classes[:20]))
        raise UserError(f"{where}: {label!r:.80} is none of classes: {shown}; mend the record, or add the class")
    return str(label)
