"""Evaluation sets to items: a record is one, its text that of the fields which are asked for, lists joined.

Of a single field each element of a list is an item, as each reference of a summary may leak alone.

A damaged or unreadable record ends the run, since its leak would go unnoticed. Left out: sets whose records hold
several items, as SQuAD's own JSON does; its Parquet has a row a question.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.corpus import jsonl, table
from jaxlm.corpus.collect import source_files
from jaxlm.corpus.contamination.config import EvaluationSet
from jaxlm.corpus.decode import NotText, decode
from jaxlm.corpus.document import Fields, LeftOut, Tally
from jaxlm.corpus.files import File
from jaxlm.corpus.formats.unpack import bare, unpacked, whole
from jaxlm.errors import UserError

_SHOWN = 20  # names of fields in an error


class Item(NamedTuple):
    place: str  # file and number of the record
    text: str


def files(one: EvaluationSet) -> list[File]:
    """What of a set is read, in order. UserError where there is nothing."""
    try:
        found = source_files(one.path, one.include, Tally(fields=Fields("path", "include", "fields")))
    except UserError as error:
        raise UserError(f"evaluation set {one.name!r}: {error}") from None
    read = [file._replace(path=file.path.absolute()) for file in found if _reader(file.name)]
    if not read:
        beside = f"; it holds {found[0].name}" if found else ""
        raise UserError(
            f"evaluation set {one.name!r}: path={one.path!r} has no file that ends in {', '.join(_READERS)}{beside}: "
            f"name another one, or change include={list(one.include)}"
        )
    return read


def items(one: EvaluationSet, read: Sequence[File], counts: Counter[str]) -> Iterator[Item]:
    """Every record that has text; UserError where a field is in none of them, or none has text."""
    met: Counter[str] = Counter()
    names: dict[str, None] = {}
    for file in read:
        for number, record in _records(one, file):
            counts["records"] += 1
            names |= dict.fromkeys(record)
            values = {name: list(_values(record, name.split("."))) for name in one.fields}
            met.update(name for name, value in values.items() if value)
            several = [value for some in values.values() for value in some]
            texts = several if len(one.fields) == 1 else ["\n".join(several)]
            found = [Item(f"{file.name}:{number}", text) for text in texts if text.strip()]
            yield from found
            counts["without_text"] += not found
    if not counts["records"]:
        raise UserError(f"evaluation set {one.name!r}: path={one.path!r} is empty: name another one, or leave it out")
    for field in one.fields:
        if field not in met:
            shown = ", ".join(map(repr, list(names)[:_SHOWN]))
            raise UserError(
                f"evaluation set {one.name!r}: no text in field {field!r} of any of its {counts['records']:,} records "
                f"in {one.path!r}: set fields to some of {shown}"
            )


def _records(one: EvaluationSet, file: File) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = _reader(file.name)
    assert reader is not None  # `files` asked
    try:
        for number, record in reader(file):
            if not isinstance(record, dict):
                raise UserError(f"{file.path}, record {number:,}: a {type(record).__name__}, but must be an object")
            yield number, record
    except UserError as error:
        raise UserError(f"evaluation set {one.name!r}: {error}") from None


def _values(record: Any, names: Sequence[str]) -> Iterator[str]:
    """The texts below a path of names, those of lists in their order, however deep they lie."""
    waiting = [(record, names)]
    while waiting:
        here, left = waiting.pop()
        if isinstance(here, list):
            waiting += [(element, left) for element in reversed(here)]
        elif left:
            if isinstance(here, dict) and left[0] in here:
                waiting.append((here[left[0]], left[1:]))
        elif here is not None and not isinstance(here, dict):
            yield str(here)


def _text(file: File) -> str:
    with unpacked(file.path, Tally()) as stream:
        try:
            return decode(whole(stream))[0]
        except NotText as reason:
            raise UserError(f"{file.path}: {reason}: save it as UTF-8 text") from None
    raise AssertionError("a tally without a budget raises")


def _jsonl(file: File) -> Iterator[tuple[int, Any]]:
    def refuse(one: LeftOut) -> None:
        raise UserError(f"{file.path}, line {one.where.rpartition(':')[2]}: {one.reason}: save it as UTF-8 text")

    return jsonl.records(file.path, file.name, Tally(note=refuse))


def _json(file: File) -> Iterator[tuple[int, Any]]:
    try:
        found = jsonl.parse(_text(file) or "[]")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file.path}: not JSON ({error}): a file of a JSON object a line ends in .jsonl") from None
    if not isinstance(found, list):
        raise UserError(f"{file.path}: a {type(found).__name__}, but must be a list of records: save it as .jsonl")
    yield from enumerate(found, start=1)


def _rows(**form: Any) -> Callable[[File], Iterator[tuple[int, Any]]]:
    def read(file: File) -> Iterator[tuple[int, Any]]:
        reader = csv.DictReader(io.StringIO(_text(file), newline=""), **form)
        try:
            for number, row in enumerate(reader, start=1):
                yield number, {name: value for name, value in row.items() if name is not None}
        except csv.Error as error:
            raise UserError(f"{file.path}, line {reader.line_num:,}: no row ({error}): mend its quotes") from None

    return read


def _parquet(file: File) -> Iterator[tuple[int, Any]]:
    try:
        rows = table.read_rows(file.path)
    except (ValueError, OSError) as error:  # Arrow's are of these
        reason = " ".join(str(error).split())
        raise UserError(f"{file.path}: damaged or cut short ({reason:.200}): copy it again") from None
    yield from enumerate(rows, start=1)


def _lines(file: File) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if line.strip():
            yield number, {"text": line}


_READERS: dict[str, Callable[[File], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _jsonl, ".json": _json, ".parquet": _parquet, ".csv": _rows(strict=True),
    ".tsv": _rows(delimiter="\t", quoting=csv.QUOTE_NONE), ".txt": _lines,
}  # fmt: skip


def _reader(name: str) -> Callable[[File], Iterator[tuple[int, Any]]] | None:
    return _READERS.get(Path(bare(name)).suffix)
