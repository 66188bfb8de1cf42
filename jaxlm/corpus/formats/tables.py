"""Rows of Parquet and Arrow files, the latter as a stream or a file, as Hugging Face's `save_to_disk` writes them.

A row is a document: its text stands in one column, and columns named url, date and licence are kept as marks.
One batch of rows is in memory at a time. What a damaged Arrow file says about its own buffers is checked in full
before a value is read, since a wrong offset would end the process.

Left out: nested text columns; a file's own word for the size of its batches is trusted.
"""

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxlm.corpus.document import DAMAGED, MARK_FIELDS, Document, Fields, Tally, of_record
from jaxlm.corpus.files import WHOLE, Slice
from jaxlm.errors import UserError

SUFFIXES = (".parquet", ".arrow")

BATCH_ROWS = 256  # chosen: few enough for books, enough that a batch costs less than its rows
_ARROW_FILE = b"ARROW1"
_MARK_BYTES = 8  # that it fills at the beginning (arrow.apache.org/docs/format/Columnar.html, "IPC File Format")
_PARQUET_END = 8  # the size of the footer and a mark (parquet.apache.org/docs/file-format)
DESCRIPTIONS = {  # what `save_to_disk` writes beside the tables -> where these lie
    "dataset_info.json": "*.arrow",
    "state.json": "*.arrow",
    "dataset_dict.json": "*/*.arrow",
}


def read(path: Path, name: str, text_field: str, tally: Tally, part: Slice = WHOLE) -> Iterator[Document]:
    """A document for each row; UserError where there is no column of strings `text_field`.

    Damage costs the row group that it is in, and an Arrow file all that follows.
    """
    how = path, text_field, part, tally.fields
    groups = _parquet(*how) if path.suffix == ".parquet" else [(0, _arrow(*how))]
    number = part.before
    try:
        for before, batches in groups:
            number = part.before + before
            yield from _documents(batches, number, path, name, text_field, tally)
    except _DAMAGE as error:
        _damaged(tally, path, number, error)


def _documents(
    batches: Iterator[pa.RecordBatch], number: int, path: Path, name: str, text_field: str, tally: Tally
) -> Iterator[Document]:
    try:
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield from of_record(row, text_field, f"{name}:{number}", tally)
    except _DAMAGE as error:
        _damaged(tally, path, number, error)


_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


def _damaged(tally: Tally, path: Path, number: int, error: Exception) -> None:
    reason = " ".join(str(error).split())
    tally.bad(DAMAGED, str(path), f" after row {number:,} ({reason:.200}): copy it again")


def describes(path: Path) -> bool:
    """Whether a file belongs to a Hugging Face dataset and holds no text: a description, or a cache of `map`."""
    if path.name in DESCRIPTIONS:
        return any(path.parent.glob(DESCRIPTIONS[path.name]))
    return path.suffix == ".arrow" and path.name.startswith("cache-") and (path.parent / "dataset_info.json").exists()


def starts(stream: io.RawIOBase, path: Path) -> Iterator[tuple[int, int]]:
    """(offset, rows before) of each row group or batch: a slice may begin there. None in a file that is damaged."""
    if describes(path) or path.suffix not in SUFFIXES:  # a packed table is no table
        return iter(())
    try:
        return iter(_starts_of_groups(path) if path.suffix == ".parquet" else _starts_of_batches(path))
    except _DAMAGE:
        return iter(())


def _parquet(
    path: Path, text_field: str, part: Slice, fields: Fields
) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """(rows before, batches) of each row group that begins in the slice."""
    with pq.ParquetFile(path) as file:
        columns, before = _columns(file.schema_arrow, text_field, path, fields), 0
        for group, (offset, rows) in enumerate(_groups(file.metadata)):
            if part == WHOLE or part.begin <= offset < part.end:
                yield before, _group(file, group, rows, columns)
                before += rows


def _group(file: pq.ParquetFile, group: int, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    read = 0
    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
        batch.validate(full=True)
        read += batch.num_rows
        yield batch
    if read != rows:
        raise OSError(f"its footer says {rows:,} rows")


def _groups(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """(place in the file, rows) of each row group."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    found = [(_place(group), group.num_rows) for group in groups]
    if sum(rows for _, rows in found) != metadata.num_rows:
        raise OSError(f"its footer says {metadata.num_rows:,} rows")
    return found


def _place(group: pq.RowGroupMetaData) -> int:
    pages = [group.column(number) for number in range(group.num_columns)]
    offsets = [at for page in pages for at in (page.dictionary_page_offset, page.data_page_offset) if at]
    return min(offsets, default=0)


def _starts_of_groups(path: Path) -> list[tuple[int, int]]:
    with pq.ParquetFile(path) as file:
        groups = _groups(file.metadata)
    places = [place for place, _ in groups]
    if places != sorted(set(places)):
        return []
    return list(zip(places, itertools.accumulate((rows for _, rows in groups), initial=0), strict=False))


def _arrow(path: Path, text_field: str, part: Slice, fields: Fields) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file:
        if part != WHOLE:
            reader, batches = _of_slice(file, part)
        elif _is_file(file):
            reader = pa.ipc.open_file(file)
            batches = map(reader.get_batch, range(reader.num_record_batches))
        else:
            reader = batches = pa.ipc.open_stream(file)
        columns = _columns(reader.schema, text_field, path, fields)
        for batch in batches:
            chosen = batch.select(columns)
            chosen.validate(full=True)
            for start in range(0, chosen.num_rows, BATCH_ROWS):
                yield chosen.slice(start, BATCH_ROWS)


def _of_slice(file: pa.OSFile, part: Slice) -> tuple[Any, Any]:
    """A reader of a slice, as a stream: an Arrow file is one between two marks."""
    mark = _MARK_BYTES if _is_file(file) else 0
    head = file.read_at(part.head - mark, mark) if part.begin else b""
    begin = max(part.begin, mark)
    reader = pa.ipc.open_stream(head + file.read_at(max(0, min(part.end, file.size()) - begin), begin))
    return reader, reader


def _is_file(file: pa.OSFile) -> bool:
    file.seek(0)
    begins = file.read(len(_ARROW_FILE))
    file.seek(0)
    return begins == _ARROW_FILE


def footer(path: Path) -> int:
    """Where the footer of a .parquet begins, which all its row groups need; in other files it has no size."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if path.suffix != ".parquet" or size < _PARQUET_END:
            return size
        file.seek(size - _PARQUET_END)
        return max(0, size - _PARQUET_END - int.from_bytes(file.read(4), "little"))


def _starts_of_batches(path: Path) -> list[tuple[int, int]]:
    found, before = [], 0
    with pa.OSFile(str(path)) as file:
        is_file = _is_file(file)
        schema = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file).schema
        batches = pa.ipc.open_file(file).num_record_batches if is_file else None
        file.seek(_MARK_BYTES if is_file else 0)
        for message, offset in _messages(file):
            if message.type == "dictionary":  # its words hold for all that follows
                return []
            if message.type == "record batch":
                batch = pa.ipc.read_record_batch(message, schema)
                batch.validate(full=True)
                found.append((offset, before))
                before += batch.num_rows
    return found if batches in (None, len(found)) else []


def _messages(file: pa.OSFile) -> Iterator[tuple[Any, int]]:
    """(message, offset) of each."""
    while (offset := file.tell()) < file.size():
        try:
            yield pa.ipc.read_message(file), offset
        except EOFError:  # the mark of the end
            return


def _columns(schema: pa.Schema, text_field: str, path: Path, fields: Fields) -> list[str]:
    """The columns to read."""
    if text_field not in schema.names:
        raise missing_column(path, text_field, schema.names, fields)
    kind = schema.field(text_field).type
    strings = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(strings) or pa.types.is_large_string(strings) or pa.types.is_string_view(strings)):
        mend = f"set {fields.text_field} to another"
        raise UserError(f"{path}: column {text_field!r} is {kind}, but must be strings: {mend}")
    return [name for name in schema.names if name in (text_field, *MARK_FIELDS)]


def missing_column(path: Path, text_field: str, names: list[str], fields: Fields) -> UserError:
    shown = ", ".join(map(repr, names[:20])) or "none"
    return UserError(
        f"{path}: no column {text_field!r}; set {fields.text_field} to one of its columns: {shown}; or leave the file "
        f"out with {fields.include}"
    )
