"""Documents, and what is noted of them, as Parquet: one file a part, which DuckDB, pandas or Spark open too."""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jaxlm.corpus.document import Document

DOCUMENTS = pa.schema([("id", pa.string()), ("text", pa.string()), ("source", pa.string()), ("marks", pa.string())])
_ROWS = 4_096  # of a row group: chosen, some MB of text


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """In order; the marks as one JSON object each."""
    with pq.ParquetWriter(path, DOCUMENTS, compression="zstd") as file:
        for rows in _groups(documents):
            columns = [[row.id for row in rows], [row.text for row in rows], [row.source for row in rows]]
            marks = [json.dumps(row.marks, sort_keys=True, ensure_ascii=False) for row in rows]
            file.write_table(pa.table([*columns, marks], schema=DOCUMENTS))


def read_documents(path: Path) -> Iterator[Document]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            for row in batch.to_pylist():
                yield Document(row["id"], row["text"], row["source"], json.loads(row["marks"]))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression="zstd")


class Writer:
    """Rows to a file as they come, a row group of them in memory."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._file, self._schema, self._rows = pq.ParquetWriter(path, schema, compression="zstd"), schema, []

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rows:
            self._flush()
        self._file.close()


def join(paths: Iterable[Path], path: Path, schema: pa.Schema) -> None:
    """One file of the rows of all, in order."""
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for one in paths:
            with pq.ParquetFile(one) as rows:
                for batch in rows.iter_batches(_ROWS):
                    file.write_batch(batch)


def read_rows(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def each_row(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows one after the other, of some columns or of all."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS, columns=columns and list(columns)):
            yield from batch.to_pylist()


def count(path: Path) -> int:
    """How many rows, without reading them."""
    return pq.read_metadata(path).num_rows


def column(path: Path, name: str) -> list[Any]:
    """One value for each row, None where there is none."""
    return pq.read_table(path, columns=[name]).column(name).to_pylist()


def rows_of(path: Path, beginning: str) -> list[dict[str, Any]]:
    """The rows whose id begins so; other rows are not decoded."""
    return _rows_where(path, lambda id_: id_.startswith(beginning))


def rows_with(path: Path, ids: Container[str]) -> list[dict[str, Any]]:
    """The rows with one of these ids."""
    return _rows_where(path, ids.__contains__)


def _rows_where(path: Path, wants: Callable[[str], bool]) -> list[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        ids = file.read(["id"]).column("id").to_pylist()
        wanted = [number for number, id_ in enumerate(ids) if wants(id_)]
        return file.read().take(wanted).to_pylist() if wanted else []


def schema(**columns: str) -> pa.Schema:
    """`schema(id="string", words="double")`: names of Arrow's types."""
    return pa.schema([(name, pa.type_for_alias(alias)) for name, alias in columns.items()])


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    rows: list[Document] = []
    for document in documents:
        rows.append(document)
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows
