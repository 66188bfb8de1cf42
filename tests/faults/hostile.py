"""Files that somebody made wrong or to harm: each maker gives the bytes, small to keep and large to open."""

import gzip
import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

PAGE = b"<html><body><main><h1>Tea</h1><p>%s</p></main></body></html>" % (b"The leaves are steeped in hot water. " * 10)


def zip_bomb(packing: str, size: int) -> bytes:
    """`size` zeros, packed in frames of 64 MiB."""
    pack = {"gz": gzip.compress, "zst": zstandard.compress}[packing]
    return pack(bytes(64 << 20)) * (size >> 26)


def table_bomb(kind: str, text: str, rows: int, *, groups: int = 1) -> bytes:
    """`rows` rows in each of some groups, all of the same text, which lies there once for all of them."""
    column, file = _SAME[kind](text, rows), io.BytesIO()
    table = pa.table({"text": column})
    if kind == "parquet":
        with pq.ParquetWriter(file, table.schema, compression="zstd") as writer:
            for _ in range(groups):
                writer.write_table(table)
    else:
        packed = pa.ipc.IpcWriteOptions(compression="zstd" if kind == "packed" else None)
        with pa.ipc.new_file(file, table.schema, options=packed) as writer:
            for _ in range(groups):
                writer.write_table(table)
    return file.getvalue()


def _view(text: str, rows: int) -> pa.Array:
    _, views, data = pa.array([text], pa.string_view()).buffers()
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(views.to_pybytes() * rows), data])


def _dictionary(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


_SAME = {
    "parquet": _dictionary, "dictionary": _dictionary, "view": _view,
    "packed": lambda text, rows: pa.array([text] * rows),
}  # fmt: skip


def cuts(data: bytes, seed: int, count: int) -> list[bytes]:
    """`data` without its end, at places near both ends and at `count` others."""
    rng = random.Random(seed)
    places = {1, 3, 17, len(data) - 1, len(data) - 9, *(rng.randrange(1, len(data)) for _ in range(count))}
    return [data[:place] for place in sorted(places)]


def flips(data: bytes, seed: int, count: int) -> list[bytes]:
    """`data` with one byte changed, `count` times."""
    rng = random.Random(seed)
    changed = []
    for _ in range(count):
        place = rng.randrange(len(data))
        changed.append(data[:place] + bytes([data[place] ^ rng.randrange(1, 256)]) + data[place + 1 :])
    return changed


def deep_page(tag: str, depth: int) -> bytes:
    return b"<html><body>" + f"<{tag}>".encode() * depth + b"at the bottom"


def page_with_attributes(count: int) -> bytes:
    return b"<p " + b" ".join(b"a%d=1" % i for i in range(count)) + b">text</p>"


def entity_bomb() -> bytes:
    """A billion laughs in a MediaWiki export."""
    lines = ['<!ENTITY a0 "laugh">', *(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))]
    page = "<page><title>&a9;</title><ns>0</ns><revision><text>&a9;</text></revision></page>"
    return f"<?xml version='1.0'?><!DOCTYPE m [{''.join(lines)}]><mediawiki>{page}</mediawiki>".encode()


def response(body: bytes, *headers: str, http: str = "HTTP/1.1 200 OK", length: int | None = None) -> bytes:
    """A WARC record of one HTTP response."""
    block = "\r\n".join([http, *(headers or ("Content-Type: text/html",)), "", ""]).encode() + body
    length = len(block) if length is None else length
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://example.org/\r\n"
        f"WARC-Date: 2020-01-02T03:04:05Z\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


def parquet(texts: list[str | None], *, rows: int = 500, **columns: list) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": texts, **columns}), file, row_group_size=rows)
    return file.getvalue()


def arrow(texts: list[str | None], *, stream: bool, rows: int = 500, **columns: list) -> bytes:
    table, file = pa.table({"text": texts, **columns}), io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(file, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)
    return file.getvalue()
