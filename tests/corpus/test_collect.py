"""What a source holds: every text once, in one order, and the rest counted."""

import bz2
import gzip
import lzma
import os
import subprocess
import sys

import pytest
import zstandard

from jaxlm.corpus.collect import documents, fingerprint
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats import html
from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import Classification
from jaxlm.errors import UserError
from jaxlm.hashing import seal
from tests.faults import hostile


def config(source, **fields) -> DataConfig:
    return DataConfig(source=str(source), length=8, batch=2, **fields)


def collected(source, **fields) -> tuple[dict[str, str], Tally]:
    tally = Tally()
    return {d.source: d.text for d in documents(config(source, **fields), tally)}, tally


def hashed(source, exclude=None, **fields) -> str:
    return fingerprint(config(source, **fields), exclude, lambda done, total, what: None)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    for name, content in {
        "b.txt": b"second", "a/z.md": b"first\r\n", "a/code.py": b"pass\n", "c.jsonl": b'{"text": "third"}\n',
        ".hidden": b"no", ".git/config": b"no", "__pycache__/x.txt": b"no",
        "image.png": b"\x89PNG\0\0\0" * 50, "empty.txt": b"", "latin.txt": b"caf\xe9",
    }.items():  # fmt: skip
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    return source


def test_a_folder_gives_its_texts_in_the_order_of_names(folder):
    found, tally = collected(folder)
    assert list(found.items()) == [
        ("a/code.py", "pass\n"), ("a/z.md", "first\r\n"), ("b.txt", "second"), ("c.jsonl:1", "third"),
    ]  # fmt: skip
    assert tally.skipped == {"binary": 1, "empty": 1, "not UTF-8, convert it with iconv -t UTF-8": 1}
    assert tally.first["binary"] == "image.png"


def test_include_chooses_by_name_or_by_path(folder):
    assert list(collected(folder, include=("*.md", "*.py"))[0]) == ["a/code.py", "a/z.md"]
    assert list(collected(folder, include=("a/*.py",))[0]) == ["a/code.py"]
    assert list(collected(folder, include=("*.rst",))[0]) == []


def test_a_name_that_is_no_utf8_is_shown_with_its_bytes(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("Tea")
    assert collected(folder)[0] == {"caf\\xe9.txt": "Tea"}
    assert collected(folder / os.fsdecode(b"caf\xe9.txt"))[0] == {"caf\\xe9.txt": "Tea"}


def test_links_in_a_circle_end_and_a_folder_is_read_once(folder):
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "a", target_is_directory=True)
    (folder / "nowhere").symlink_to(folder / "missing")
    found, tally = collected(folder)
    assert sorted(found.values()) == ["first\r\n", "pass\n", "second", "third"]
    assert tally.skipped["not readable, No such file or directory"] == 1


def test_a_pipe_in_a_folder_is_passed_over(folder):
    os.mkfifo(folder / "pipe.txt")
    assert collected(folder)[1].skipped["no regular file"] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_counted(folder):
    (folder / "b.txt").chmod(0)
    assert collected(folder)[1].skipped["not readable, Permission denied"] == 1


def test_one_file_is_one_document_whatever_its_ending(tmp_path):
    for name in ("book.txt", "main.rs", "NOTES"):
        (tmp_path / name).write_bytes(b"line one\r\nline two\0")
        assert collected(tmp_path / name)[0] == {name: "line one\r\nline two\0"}


def test_a_missing_source_names_the_nearest(tmp_path):
    (tmp_path / "input.txt").write_text("text")
    with pytest.raises(UserError, match=r"inptu\.txt' does not exist; did you mean .*input\.txt"):
        collected(tmp_path / "inptu.txt")


def test_a_source_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="neither a regular file nor a folder"):
        collected(tmp_path / "pipe")


def test_an_id_is_the_text_alone():
    assert Document.of("text", "a").id == Document.of("text", "b").id != Document.of("text ", "a").id


def test_the_fingerprint_changes_with_every_byte_and_name_and_with_nothing_else(folder, tmp_path):
    before = hashed(folder)
    assert hashed(folder) == before
    folder.rename(tmp_path / "moved")
    folder = tmp_path / "moved"
    assert hashed(folder) == before
    os.utime(folder / "b.txt", (1, 1))
    assert hashed(folder) == before
    seen = {before}
    (folder / "b.txt").write_bytes(b"secone")
    seen.add(hashed(folder))
    (folder / "b.txt").rename(folder / "b2.txt")
    seen.add(hashed(folder))
    (folder / "new.txt").write_bytes(b"")
    seen.add(hashed(folder))
    assert len(seen) == 4


def test_the_folder_for_shards_inside_the_source_is_left_out(folder):
    before = hashed(folder)
    (folder / "shards" / "x").mkdir(parents=True)
    (folder / "shards" / "x" / "manifest.json").write_text("{}")
    assert hashed(folder) != before == hashed(folder, exclude=folder / "shards")


def test_a_run_inside_the_source_is_left_out_and_a_folder_like_it_is_not(folder):
    before = hashed(folder)
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "runs" / "mine" / "config.json").write_text('{"format_version": 1}')
    assert hashed(folder) != before
    (folder / "runs" / "mine" / "lock").touch()
    assert hashed(folder) == before
    (folder / "runs" / "mine" / "config.json").write_text("{}")
    assert hashed(folder) != before, "somebody else's two files of these names"


def test_a_corpus_inside_the_source_is_left_out_and_one_that_is_the_source_gives_its_documents(folder):
    before, one = hashed(folder), folder / "corpora" / "one"
    for name in ("documents", "cut", "work"):
        (one / name).mkdir(parents=True)
        (one / name / "0.parquet").write_bytes(hostile.parquet([name]))
    assert hashed(folder) != before
    (one / "manifest.json").write_text('{"xxh3_128": "of somebody else"}')
    assert hashed(folder) != before
    (one / "manifest.json").write_bytes(seal({"format_version": 1}))
    assert hashed(folder) == before and collected(one)[0] == {"documents/0.parquet:1": "documents"}
    assert collected(one / "documents")[0] == {"0.parquet:1": "documents"}
    assert collected(folder)[1].skipped["made by jaxlm, and needs a source of its own"] == 1
    (one / "manifest.json").unlink()
    (one / "work" / ".lock").touch()
    assert hashed(folder) == before, "one that is being made"


def test_a_source_named_by_nothing_is_no_folder():
    with pytest.raises(UserError, match=r"data.source='' names nothing: '.' is the folder that you are in"):
        collected("")


def test_the_library_is_python_files_and_help_topics():
    found, tally = collected("stdlib")
    assert "os.py" in found and "json/decoder.py" in found
    assert not [name for name in found if "site-packages" in name or name.startswith("/")]
    assert "pydoc_data/topics.py" not in found
    assert 'The "with" statement' in found["pydoc_data/topics/with"]
    assert sum(map(len, found.values())) > 5_000_000
    assert set(tally.skipped) <= {"empty", "binary", "not UTF-8, convert it with iconv -t UTF-8"}


def test_another_process_finds_the_same_library():
    code = """
from jaxlm.corpus.collect import documents, fingerprint
from jaxlm.data.dataset import DataConfig
cfg = DataConfig(source="stdlib", length=8, batch=2, include=("re/*", "json/*"))
print(fingerprint(cfg, None, lambda *_: None), [d.id for d in documents(cfg)])
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1 and len(outputs.pop()) > 200


def test_every_format_is_read_by_its_suffix(tmp_path):
    record, laid = hostile.response(hostile.PAGE), {"a.html": hostile.PAGE, "b/c.htm.gz": gzip.compress(hostile.PAGE)}
    wiki = b"<mediawiki><page><title>A</title><revision><text>''Tea''</text></revision></page></mediawiki>"
    laid |= {"a.warc.gz": gzip.compress(record), "a.wet": record, "a.arc": b"", "a.csv": b"id,text\n1,tea\n"}
    laid |= {"a.parquet": hostile.parquet(["tea"]), "wiki.xml": wiki, "wiki2.xml.bz2": bz2.compress(wiki)}
    laid |= {"other.xml": b"<a>tea</a>", "a.html.txt": b"<p>tea</p>", "empty.xml": b"", "dataset_info.json": b"{}"}
    laid |= {"set/data-0.arrow": hostile.arrow(["tea"], stream=True), "set/dataset_info.json": b"{}"}
    for name, content in laid.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found, tally = collected(tmp_path)
    page = html.main_text(hostile.PAGE)
    assert found == {
        "a.csv:2": "tea", "a.html": page, "a.html.txt": "<p>tea</p>", "a.parquet:1": "tea", "a.warc.gz:0": page,
        "a.wet:0": page, "b/c.htm.gz": page, "dataset_info.json": "{}", "other.xml": "<a>tea</a>",
        "set/data-0.arrow:1": "tea", "wiki.xml:11": "Tea", "wiki2.xml.bz2:11": "Tea",
    }  # fmt: skip
    assert tally.skipped == {
        "an archive without records": 1, "empty": 1, "a description or cache of a Hugging Face dataset": 1,
    }  # fmt: skip


def test_a_budget_bears_bad_records_of_any_format_and_no_more(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "tea"}\n' * 97 + b"no json\n[1]\n")
    (tmp_path / "b.html.gz").write_bytes(gzip.compress(hostile.PAGE)[:-20])
    with pytest.raises(UserError, match=r"a\.jsonl, line 98: not JSON"):
        list(documents(config(tmp_path)))
    tally = Tally(budget=0.05)
    assert len(list(documents(config(tmp_path), tally))) == 97 and tally.bad_records == 3
    with pytest.raises(UserError, match=r"(?s)3 of 100 records \(3\.00%\).*line 98: not JSON.*b\.html\.gz: damaged"):
        list(documents(config(tmp_path), Tally(budget=0.02)))


def test_labelled_examples_come_from_lines_alone(tmp_path):
    (tmp_path / "a.html").write_bytes(hostile.PAGE)
    found, tally = collected(tmp_path, objective=Classification(classes=("a", "b")))
    assert not found and [n for reason, n in tally.skipped.items() if "other than .jsonl" in reason] == [1]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstandard.compress)],
)
def test_a_packed_file_is_read_as_what_is_in_it(tmp_path, suffix, pack):
    inside = {"a.txt": b"plain\ntext", "b.html": b"<p>A page.</p>", "c.csv": b"text\none", "d.jsonl": b'{"text":"two"}'}
    for name, data in inside.items():
        (tmp_path / (name + suffix)).write_bytes(pack(data))
    assert list(collected(tmp_path)[0].values()) == ["plain\ntext", "A page.", "one", "two"]


def test_a_packed_text_that_is_damaged_is_told(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"some text" * 100)[:-9])
    with pytest.raises(UserError, match=r"a.txt.gz: damaged or cut short"):
        collected(tmp_path)
