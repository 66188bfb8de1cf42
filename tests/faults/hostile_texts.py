"""Texts that somebody made to harm: archives, records, pages and tables, as a source of documents."""

import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import hostile
from tests.faults.hostile_case import Case, Good, deep, file, many, sparse

WIKI = "<mediawiki><page><title>a</title><ns>0</ns><revision><text>"


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../evil.txt", "x" * 100)
        archive.writestr("/etc/evil.txt", "x")
    return out.getvalue()


def _zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(64 << 20))
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("../../evil.txt", "/etc/evil.txt", "plain.txt"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
        for kind, target in ((tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../../evil.txt")):
            member = tarfile.TarInfo("link")
            member.type, member.linkname = kind, target
            archive.addfile(member)
        device = tarfile.TarInfo("device")
        device.type = tarfile.BLKTYPE
        archive.addfile(device)
    return out.getvalue()


def _out(target: str) -> Callable[[Path, Good], Any]:
    return lambda folder, good: (folder / "link.txt").symlink_to(target)


def _circle(folder: Path, good: Good) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "b").symlink_to(folder, target_is_directory=True)


def _names(folder: Path, good: Good) -> None:
    (folder / "a\nb<script>.txt").write_bytes(b"\x00\x01\x02" * 1_000)
    (folder / b"\xff.txt".decode(errors="surrogateescape")).write_bytes(b"\x00" * 99)


def _gb_line() -> bytes:
    """1 GB of one line, in 1 MB."""
    return gzip.compress(b"x" * (64 << 20)) * 16


ARCHIVES = {
    "a gzip bomb": file("a.jsonl.gz", lambda: hostile.zip_bomb("gz", 10 << 30)),
    "a zstandard bomb": file("a.jsonl.zst", lambda: hostile.zip_bomb("zst", 10 << 30)),
    "an xz bomb": file("a.txt.xz", lambda: lzma.compress(bytes(64 << 20)) * 20),
    "a line of 1 GB": file("a.jsonl.gz", _gb_line),
    "a gzip cut short": file("a.txt.gz", lambda: gzip.compress(b"hello " * 9_999)[:-20]),
    "gzip of gzip": file("a.gz.gz", lambda: gzip.compress(hostile.zip_bomb("gz", 1 << 30))),
    "no gzip": file("a.jsonl.gz", b"hello"),
    "zstandard that asks for 2 GB": file("a.txt.zst", b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x00" * 40),
    "a zip with names that climb": file("a.zip", _zip),
    "a zip bomb": file("a.zip", _zip_bomb),
    "a tar with links and devices": file("a.tar", _tar),
    "a tar by the name of a text": file("a.txt", _tar),
    "a link to /etc/passwd": _out("/etc/passwd"),
    "a link to a device": _out("/dev/zero"),
    "a link to the folder above": _out(".."),
    "folders in a circle": _circle,
    "a file of 4 GB of zeros": lambda folder, good: sparse(folder / "a.txt", 4 << 30),
    "records of 4 GB of zeros": lambda folder, good: sparse(folder / "a.jsonl", 4 << 30),
    "JSON of 4 GB of zeros": lambda folder, good: sparse(folder / "a.json", 4 << 30),
    "names that are markup, and no UTF-8": _names,
}

RECORDS = {
    "100,000 deep": file("a.jsonl", lambda: deep(100_000) + "\n"),
    "100,000 deep, in one file": file("a.json", lambda: deep(100_000)),
    "a million lists": file("a.json", lambda: '{"text": [' + "[]," * 1_000_000 + "[]]}"),
    "20 million lists": file("a.json", lambda: '[{"text": "x", "more": [' + "[]," * 20_000_000 + "[]]}]"),
    "20 million lists in a line": file("a.jsonl", lambda: '{"text": "x", "more": [' + "[]," * 20_000_000 + "[]]}"),
    "a number of a million digits": file("a.jsonl", lambda: '{"text": 1' + "0" * 1_000_000 + "}\n"),
    "a number without end": file("a.jsonl", '{"text": "x", "n": 1e999999}\n'),
    "half a surrogate pair": file("a.jsonl", '{"text": "\\ud800\\ud800 \\udfff"}\n'),
    "a name twice": file("a.jsonl", '{"text": "a", "text": "b"}\n'),
    "a text that is a list": file("a.jsonl", '{"text": [1, 2]}\n'),
    "no UTF-8": file("a.jsonl", b'{"text": "\xff\xfe\xfd"}\n'),
    "NUL in a text": file("a.jsonl", b'{"text": "a\\u0000b"}\n' * 9),
    "lines that are no objects": file("a.jsonl", "1\n2\n" * 999),
    "a table of a quote that does not end": file("a.csv", lambda: b'text\n"' + b"x" * (80 << 20)),
    "a table of a million columns": file("a.csv", lambda: ",".join(f"c{i}" for i in range(1_000_000)) + "\n1\n"),
    "Parquet that is none": file("a.parquet", b"PAR1" + b"\xff" * 1_000 + b"PAR1"),
    "Parquet whose footer is 2 GB": file("a.parquet", b"PAR1" + b"\0" * 100 + b"\xff\xff\xff\x7fPAR1"),
    "Parquet that unpacks to 100 GB": file(
        "a.parquet", lambda: hostile.table_bomb("parquet", "x" * 100_000, 1_000_000)
    ),
    "Arrow of the same text a million times": file("a.arrow", lambda: hostile.table_bomb("view", "x" * 100_000, 1_000)),
    "Arrow cut short": file("a.arrow", lambda: hostile.arrow(["a"] * 99, stream=False)[:-40]),
    "Arrow with flipped bits": file("a.arrow", lambda: hostile.flips(hostile.arrow(["a"] * 99, stream=False), 1, 1)[0]),
}
PAGES = {
    "a page 100,000 deep": file("a.html", lambda: hostile.deep_page("div", 100_000)),
    "tables 100,000 deep": file("a.html", lambda: hostile.deep_page("table", 100_000)),
    "a million attributes": file("a.html", lambda: hostile.page_with_attributes(1_000_000)),
    "a billion laughs": file("a.xml", lambda: hostile.entity_bomb()),
    "a web record of negative size": file("a.warc", lambda: hostile.response(hostile.PAGE, length=-5)),
    "a web record of 2**62 bytes": file("a.warc", lambda: hostile.response(hostile.PAGE, length=2**62)),
    "a web record of half a head": file("a.warc", b"WARC/1.0\r\nWARC-Type: resp"),
    "a web record of a million heads": file(
        "a.warc", lambda: hostile.response(hostile.PAGE, *("X: y" for _ in range(1_000_000)))),
    "a wiki without an end": file("a.xml", lambda: WIKI + "[[" * 500_000),
    "wiki templates 100,000 deep": file(
        "a.xml", lambda: WIKI + "{{" * 100_000 + "</text></revision></page></mediawiki>"),
}  # fmt: skip

PEOPLE = {
    "answers 100,000 deep": file("a.json", lambda: deep(100_000)),
    "answers of 20 million lists": file("a.json", lambda: "[" + "[]," * 20_000_000 + "[]]"),
    "answers of 4 GB": lambda folder, good: sparse(folder / "a.json", 4 << 30),
    "answers of 5,000 digits": file("a.json", "[1" + "0" * 5_000 + "]"),
    "answers that are no UTF-8": file("a.json", b'["\xff"]'),
    "answers that are no list": file("a.json", '{"a": 1}'),
    "answers in a line of 1 GB": file("a.jsonl.gz", _gb_line),
    "an answer that is a number": file("a.jsonl", "7\n"),
}
ITEMS = {
    "questions 100,000 deep": file("a.json", lambda: deep(100_000)),
    "questions 900 lists deep": file("a.json", '[{"text": ' + "[" * 900 + '"x"' + "]" * 900 + "}]"),
    "questions of 20 million lists": file("a.json", lambda: '[{"text": [' + "[]," * 20_000_000 + "[]]}]"),
    "questions of 4 GB": lambda folder, good: sparse(folder / "a.json", 4 << 30),
    "questions that unpack to 10 GB": file("a.jsonl.gz", lambda: hostile.zip_bomb("gz", 10 << 30)),
    "questions of Parquet that is none": file("a.parquet", b"PAR1" + b"\xff" * 1_000 + b"PAR1"),
    "questions whose quotes do not end": file("a.csv", 'text\n"' + "x" * 100_000),
    "questions of /etc/passwd": _out("/etc/passwd"),
}

HEAVY = {
    "answers of 20 million lists", "answers in a line of 1 GB", "questions of 20 million lists",
    "questions that unpack to 10 GB",
    "20 million lists", "20 million lists in a line", "a gzip bomb", "a zstandard bomb", "a line of 1 GB", "an xz bomb",
    "Parquet that unpacks to 100 GB", "a table of a quote that does not end", "a file of 4 GB of zeros",
    "records of 4 GB of zeros", "JSON of 4 GB of zeros", "gzip of gzip", "a million attributes",
}  # fmt: skip
LINKS = {"a link to /etc/passwd", "a link to a device", "a link to the folder above"}  # nothing of them is read
CASES = [
    *many("text", ARCHIVES | RECORDS | PAGES, ends=("refused", "told", "opened")), *many("people", PEOPLE),
    *many("items", ITEMS, ends=("refused", "opened")),
]  # fmt: skip
CASES = [
    case._replace(heavy=case.name in HEAVY, ends=("told", "refused") if case.name in LINKS else case.ends)
    for case in CASES
]
assert all(isinstance(case, Case) for case in CASES)
