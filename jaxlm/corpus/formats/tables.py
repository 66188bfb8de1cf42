"""Rows of Parquet and Arrow files, the latter as a stream or a file, as Hugging Face's `save_to_disk` writes them.

A row is a document: its text stands in one column, and columns named url, date and licence are kept as marks.
One batch of rows is in memory at a time. What a damaged Arrow file says about its own buffers is checked in full
before a value is read, since a wrong offset would end the process.

Left out: nested text columns; a file's own word for the size of its batches is trusted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxlm.corpus.document import MARK_FIELDS, Document, Tally, of_record
from jaxlm.errors import UserError

SUFFIXES = (".parquet", ".arrow")

BATCH_ROWS = 256  # chosen: few enough for books, enough that a batch costs less than its rows
_ARROW_FILE = b"ARROW1"
DESCRIPTIONS = {  # what `save_to_disk` writes beside the tables -> where these lie
    "dataset_info.json": "*.arrow",
    "state.json": "*.arrow",
    "dataset_dict.json": "*/*.arrow",
}


def read(path: Path, name: str, text_field: str, tally: Tally) -> Iterator[Document]:
    """A document for each row; UserError where there is no column of strings `text_field`."""
    number = 0
    try:
        for batch in _parquet(path, text_field) if path.suffix == ".parquet" else _arrow(path, text_field):
            for row in batch.to_pylist():
                number += 1
                yield from of_record(row, text_field, f"{name}:{number}", tally)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        tally.bad("damaged or cut short", str(path), f" after row {number:,} ({reason:.200}): copy it again")


def describes(path: Path) -> bool:
    """Whether a file belongs to a Hugging Face dataset and holds no text: a description, or a cache of `map`."""
    if path.name in DESCRIPTIONS:
        return any(path.parent.glob(DESCRIPTIONS[path.name]))
    return path.suffix == ".arrow" and path.name.startswith("cache-") and (path.parent / "dataset_info.json").exists()


def _parquet(path: Path, text_field: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        columns, rows = _columns(file.schema_arrow, text_field, path), 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
            batch.validate(full=True)
            rows += batch.num_rows
            yield batch
        if rows != file.metadata.num_rows:
            raise OSError(f"its footer says {file.metadata.num_rows:,} rows")


def _arrow(path: Path, text_field: str) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file:
        is_file = file.read(len(_ARROW_FILE)) == _ARROW_FILE
        file.seek(0)
        reader: Any = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)
        columns = _columns(reader.schema, text_field, path)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
        for batch in batches:
            chosen = batch.select(columns)
            chosen.validate(full=True)
            for start in range(0, chosen.num_rows, BATCH_ROWS):
                yield chosen.slice(start, BATCH_ROWS)


def _columns(schema: pa.Schema, text_field: str, path: Path) -> list[str]:
    """The columns to read."""
    if text_field not in schema.names:
        raise missing_column(path, text_field, schema.names)
    kind = schema.field(text_field).type
    strings = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(strings) or pa.types.is_large_string(strings) or pa.types.is_string_view(strings)):
        raise UserError(f"{path}: column {text_field!r} is {kind}, but must be strings: set data.text_field to another")
    return [name for name in schema.names if name in (text_field, *MARK_FIELDS)]


def missing_column(path: Path, text_field: str, names: list[str]) -> UserError:
    shown = ", ".join(map(repr, names[:20])) or "none"
    return UserError(
        f"{path}: no column {text_field!r}; set data.text_field to one of its columns: {shown}; or leave the file out "
        f"with data.include"
    )
