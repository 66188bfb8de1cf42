"""Rows of Parquet and Arrow files, the latter as a stream or a file, as Hugging Face's `save_to_disk` writes them.

A row is a document: its text stands in one column, and columns named url, date and licence are kept as marks.
One batch of rows is in memory at a time. What a damaged Arrow file says about its own buffers is checked in full
before a value is read, since a wrong offset would end the process.

A value that many rows share is written once, so a table can grow more than any packed file does. What comes of it has
the bounds of one (unpack.py): that of Parquet row group by row group, each of which has its share of the file's, so
that slices are refused where the whole is; that of Arrow as it is read, and `starts` cuts no file that goes beyond.

Left out: nested columns of text, and bounds for those of marks; a file's own word for the size of its batches is
trusted until one is read.
"""

import io
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxlm.corpus.document import DAMAGED, MARK_FIELDS, Document, Fields, Tally, of_record
from jaxlm.corpus.files import WHOLE, Slice
from jaxlm.corpus.formats.unpack import EXPANSION, Damage, may_unpack_to
from jaxlm.errors import UserError

SUFFIXES = (".parquet", ".arrow")

BATCH_ROWS = 256  # chosen: enough that a batch costs less than its rows
BATCH_BYTES = 16 << 20  # of values: chosen, 64 KiB a row where there are so many
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
    number = part.before
    try:
        groups = _parquet(*how) if path.suffix == ".parquet" else [(0, _arrow_batches(*how))]
        for before, batches in groups:
            number = part.before + before
            yield from _documents(batches, number, path, name, text_field, tally)
    except _DAMAGE as error:
        _damaged(tally, path, number, error)


def _documents(
    batches: "_Batches", number: int, path: Path, name: str, text_field: str, tally: Tally
) -> Iterator[Document]:
    try:
        for row in _rows(batches):
            number += 1
            yield from of_record(row, text_field, f"{name}:{number}", tally)
    except Damage as damage:
        tally.bad(damage.reason, str(path), f" after row {number:,}{damage.detail}")
    except _DAMAGE as error:
        _damaged(tally, path, number, error)


class _Batches(NamedTuple):
    """Of a row group, or of a whole file."""

    batches: Iterator[pa.RecordBatch]
    size: int  # bytes, as they lie in the file
    most: int  # characters of strings that may come of them


def _rows(of: _Batches) -> Iterator[dict[str, Any]]:
    """Each row, made one at a time: a batch can hold a value once for all its rows."""
    made = 0
    for batch in of.batches:
        names = batch.schema.names
        for values in zip(*batch.columns, strict=True):
            row = {name: value.as_py() for name, value in zip(names, values, strict=True)}
            made += sum(len(value) for value in row.values() if isinstance(value, str))
            if made > of.most:
                raise _expands(made, of.size)
            yield row


def _expands(made: int, size: int) -> Damage:
    detail = f" (to {made:,} bytes from {size:,}), as no table of texts does: remove it, or write it as .jsonl"
    return Damage(f"unpacks to over {EXPANSION} times its size", detail)


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


def _parquet(path: Path, text_field: str, part: Slice, fields: Fields) -> Iterator[tuple[int, _Batches]]:
    """(rows before, batches) of each row group that begins in the slice."""
    with pq.ParquetFile(path) as file:
        columns, before = _columns(file.schema_arrow, text_field, path, fields), 0
        groups = _groups(file.metadata, path)
        share = may_unpack_to(path.stat().st_size) // max(1, len(groups))
        for number, group in enumerate(groups):
            if part == WHOLE or part.begin <= group.place < part.end:
                most = max(share, EXPANSION * group.size)
                yield before, _Batches(_group(path, file, number, columns, most), group.size, most)
                before += group.rows


def _group(path: Path, file: pq.ParquetFile, number: int, columns: list[str], most: int) -> Iterator[pa.RecordBatch]:
    group, read = file.metadata.row_group(number), 0
    of_columns = [page for page in _chunks(group) if page.path_in_schema.split(".")[0] in columns]
    unpacked = sum(page.total_uncompressed_size for page in of_columns)
    if unpacked > most:
        raise _expands(unpacked, sum(page.total_compressed_size for page in of_columns))
    at_once = _at_once(unpacked // max(1, group.num_rows))
    if unpacked * at_once > BATCH_BYTES and any(page.has_dictionary_page for page in of_columns):
        at_once = min(at_once, _at_once(_widest(path, file, number, columns, at_once)))
    for batch in file.iter_batches(at_once, row_groups=[number], columns=columns, use_threads=False):
        batch.validate(full=True)
        read += batch.num_rows
        yield batch
    if read != group.num_rows:
        raise OSError(f"its footer says {group.num_rows:,} rows")


def _at_once(width: int) -> int:
    """Rows of so many bytes that are read together."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, width)))


def _widest(path: Path, file: pq.ParquetFile, number: int, columns: list[str], rows: int) -> int:
    """Bytes of the longest value that the rows of a group can share: the footer does not say them."""
    strings = [name for name in columns if _is_string(file.schema_arrow.field(name).type)]
    with pq.ParquetFile(path, metadata=file.metadata, read_dictionary=strings) as again:
        first = next(again.iter_batches(rows, row_groups=[number], columns=strings, use_threads=False), None)
    shared = [column.dictionary for column in first.columns] if first is not None else []
    lengths = [pc.call_function("binary_length", [values]).to_numpy(zero_copy_only=False) for values in shared]
    return sum(int(of_column.max(initial=0)) for of_column in lengths)


class _Group(NamedTuple):
    place: int
    rows: int
    size: int  # bytes in the file


def _groups(metadata: pq.FileMetaData, path: Path) -> list[_Group]:
    """The row groups."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes = [sum(page.total_compressed_size for page in _chunks(group)) for group in groups]
    found = [_Group(_place(group), group.num_rows, size) for group, size in zip(groups, sizes, strict=True)]
    if sum(group.rows for group in found) != metadata.num_rows:
        raise OSError(f"its footer says {metadata.num_rows:,} rows")
    if sum(sizes) > path.stat().st_size or min(sizes, default=0) < 0:
        raise OSError(f"its footer says {sum(sizes):,} bytes")
    return found


def _chunks(group: pq.RowGroupMetaData) -> list[pq.ColumnChunkMetaData]:
    return [group.column(number) for number in range(group.num_columns)]


def _place(group: pq.RowGroupMetaData) -> int:
    offsets = [at for page in _chunks(group) for at in (page.dictionary_page_offset, page.data_page_offset) if at]
    return min(offsets, default=0)


def _starts_of_groups(path: Path) -> list[tuple[int, int]]:
    with pq.ParquetFile(path) as file:
        groups = _groups(file.metadata, path)
    places = [group.place for group in groups]
    if places != sorted(set(places)):
        return []
    return list(zip(places, itertools.accumulate((group.rows for group in groups), initial=0), strict=False))


def _arrow_batches(path: Path, text_field: str, part: Slice, fields: Fields) -> _Batches:
    size = path.stat().st_size
    most = may_unpack_to(size) if part == WHOLE else sys.maxsize
    return _Batches(_arrow(path, text_field, part, fields), size, most)


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
            yield chosen


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
    found, before, unpacked = [], 0, 0
    with pa.OSFile(str(path)) as file:
        is_file = _is_file(file)
        schema = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(file).schema
        batches = pa.ipc.open_file(file).num_record_batches if is_file else None
        if any(pa.types.is_string_view(kind) for kind in schema.types):  # which may share their bytes
            return []
        file.seek(_MARK_BYTES if is_file else 0)
        for message, offset in _messages(file):
            if message.type == "dictionary":  # its words hold for all that follows
                return []
            if message.type == "record batch":
                batch = pa.ipc.read_record_batch(message, schema)
                batch.validate(full=True)
                found.append((offset, before))
                before, unpacked = before + batch.num_rows, unpacked + batch.nbytes
                if unpacked > may_unpack_to(file.size()):
                    return []
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
    if not _is_string(kind):
        mend = f"set {fields.text_field} to another"
        raise UserError(f"{path}: column {text_field!r} is {kind}, but must be strings: {mend}")
    return [name for name in schema.names if name in (text_field, *MARK_FIELDS)]


def _is_string(kind: pa.DataType) -> bool:
    strings = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(strings) or pa.types.is_large_string(strings) or pa.types.is_string_view(strings)


def missing_column(path: Path, text_field: str, names: list[str], fields: Fields) -> UserError:
    shown = ", ".join(map(repr, names[:20])) or "none"
    return UserError(
        f"{path}: no column {text_field!r}; set {fields.text_field} to one of its columns: {shown}; or leave the file "
        f"out with {fields.include}"
    )
