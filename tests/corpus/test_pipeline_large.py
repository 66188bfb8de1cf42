"""A corpus of large, wrong and strange files: the same documents however they are cut, and a line for what is wrong."""

import gzip
import json
import os
from pathlib import Path

import pytest

from jaxlm.corpus import slices, stages
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.finished import Corpus
from jaxlm.corpus.formats.unpack import LINE_BYTES
from jaxlm.corpus.pipeline import make
from jaxlm.errors import UserError
from tests.corpus.formats.test_wikipedia import export, page
from tests.corpus.test_pipeline import config, rows, text
from tests.faults import hostile

COUNT = 9  # documents of each format, one of them a copy
PART = 3 << 10


@pytest.fixture
def source(tmp_path) -> Path:
    """One large file of each format, some of them damaged."""
    texts = lambda begin: [text(begin + i % (COUNT - 1), 16) for i in range(COUNT)]
    lines = [json.dumps({"text": value, "url": f"http://a/{n}"}).encode() for n, value in enumerate(texts(0))]
    lines[5] = b"{not json"
    quoted = [f'"{value.replace(" ", chr(10), 1)}",http://b/{n}' for n, value in enumerate(texts(30))]
    quoted[7] = "a row,of three,fields"
    archive = [hostile.response(f"<p>{value}</p>".encode()) for value in texts(60)]
    laid = {
        "a.jsonl": b"\n".join(lines), "b.csv": "\n".join(["text,url", *quoted]).encode(),
        "d.warc.gz": b"".join(map(gzip.compress, archive))[:-9],
        "e.xml": export(*[page(f"Page {n}", value) for n, value in enumerate(texts(90))])[:-30],
        "h.jsonl.gz": gzip.compress(b"\n".join(lines)), "i.txt": text(200, 40).encode(),
    }  # fmt: skip
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, data in laid.items():
        (folder / name).write_bytes(data)
    return folder


def wanted(source: Path, part_bytes: int = PART) -> CorpusConfig:
    return config(source, part_bytes=part_bytes, bad_records=0.7)


def inputs(corpus: Corpus) -> dict[str, list[dict]]:
    """{first file: the parts it is in}"""
    found: dict[str, list[dict]] = {}
    for part in corpus.manifest["inputs"]:
        found.setdefault(part["files"][0], []).append(part)
    return found


def test_documents_reasons_and_counts_are_the_same_however_files_are_cut(source, tmp_path, monkeypatch):
    whole, cut = make(wanted(source, 1 << 20), tmp_path / "whole"), make(wanted(source), tmp_path / "cut")
    assert rows(cut, "documents") == rows(whole, "documents") and len(rows(cut, "documents")) > 3 * COUNT
    assert rows(cut, "removed") == rows(whole, "removed")
    assert cut.manifest["stages"] == whole.manifest["stages"]
    assert cut.manifest["stages"]["collect"]["bad"] == 5
    assert len(whole.manifest["inputs"]) == 1
    found = inputs(cut)
    assert [name for name, parts in found.items() if len(parts) == 1] == ["i.txt"]
    begins = [part["from_byte"] for part in found["a.jsonl"]]
    assert begins[0] == 0 and begins == sorted(begins) and len(set(begins)) > 1
    # One member is read by one task, and what follows takes a piece each.
    assert {part["digest"] for part in found["h.jsonl.gz"]} == {found["h.jsonl.gz"][0]["digest"]}
    monkeypatch.setattr(slices, "find", None)  # not to be called
    monkeypatch.setattr(stages, "collect", None)
    assert make(wanted(source).model_copy(update={"quality": ()}), tmp_path / "cut").manifest["inputs"]


@pytest.mark.parametrize("when", ["hashing parts", "cut"])
def test_a_file_that_is_cut_short_meanwhile_ends_the_run(when, tmp_path):
    path = tmp_path / "texts" / "a.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps({"text": text(n, 12)}) + "\n" for n in range(30)))

    def meanwhile(done: int, total: int | None, what: str) -> None:
        if what == when:
            os.truncate(path, 10_000)

    with pytest.raises(UserError, match=r"a\.jsonl changed while it was read: run again when it stays as it is"):
        make(wanted(path.parent), tmp_path / "corpora", progress=meanwhile)
    assert not (tmp_path / "corpora" / "planted" / "documents").exists()
    make(wanted(path.parent), tmp_path / "corpora")


def test_empty_files_and_a_line_too_long_are_told(tmp_path):
    names = ["a.jsonl", "b.csv", "c.txt", "d.warc", "e.arc", "f.wet", "g.html"]
    (tmp_path / "texts").mkdir()
    for name in names:
        (tmp_path / "texts" / name).touch()
    for name in ["h.parquet", "i.arrow", "j.jsonl.gz"]:
        (tmp_path / "texts" / name).touch()
    line = json.dumps({"text": text(1)}).encode() + b"\n"
    (tmp_path / "texts" / "k.jsonl").write_bytes(line + b"x" * (LINE_BYTES + 1) + b"\n" + line.replace(b"The", b"One"))
    made = make(wanted(tmp_path / "texts", 1 << 20), tmp_path / "corpora")
    collected = made.manifest["stages"]["collect"]
    assert collected["counts"]["documents"] == 2 and collected["skipped"] == {
        "empty": 3, "an archive without records": 3, "damaged or cut short": 2, "longer than 64 MiB": 1,
    }  # fmt: skip
    assert inputs(made)["k.jsonl"][0]["from_byte"] == 0


def test_a_link_out_of_the_folder_is_counted_and_not_followed(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.txt").write_text(text(1))
    source = tmp_path / "texts"
    source.mkdir()
    (source / "a.txt").write_text(text(2))
    (source / "same.txt").symlink_to(source / "a.txt")
    (source / "key.txt").symlink_to(tmp_path / "secret" / "key.txt")
    (source / "up").symlink_to(source / ".." / "secret", target_is_directory=True)
    made = make(wanted(source), tmp_path / "corpora")
    assert {row["source"] for row in rows(made, "documents") + rows(made, "removed")} == {
        "texts/a.txt",
        "texts/same.txt",
    }
    (reason,) = made.manifest["stages"]["collect"]["skipped"].items()
    assert reason == ("a link out of the folder, whose target needs a source of its own", 2)
    (source / "a.txt").unlink()
    (source / "same.txt").unlink()
    with pytest.raises(UserError, match=r"holds no file \(2 a link out of the folder.* \(first key\.txt\)\): name"):
        make(wanted(source), tmp_path / "corpora")
    above = make(wanted(source / ".." / "secret"), tmp_path / "corpora")
    assert [row["source"] for row in rows(above, "documents")] == ["texts/key.txt"]
