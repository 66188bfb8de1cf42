"""A finished corpus is on the disk before its manifest says so, and its datasheet is its own."""

import json
import os

import pytest

from jaxlm import hashing
from jaxlm.corpus.finished import DATASHEET, MANIFEST, Corpus
from jaxlm.corpus.pipeline import make
from jaxlm.report import datasheet
from tests.corpus.test_pipeline import config, text


def test_every_file_and_folder_is_forced_to_the_disk_before_the_manifest_is(tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text(text(1))
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), fsync(file)))
    corpus = make(config(tmp_path / "texts"), tmp_path / "corpora")
    before = synced[: synced.index((corpus.folder / MANIFEST).stat().st_ino)]
    for name in [".", "documents", "removed", "cut", *corpus.manifest["files"]]:
        assert (corpus.folder / name).stat().st_ino in before, name


@pytest.fixture
def documented(tmp_path) -> Corpus:
    (tmp_path / "one.txt").write_text(text(1))
    made = make(config(tmp_path / "one.txt"), tmp_path)
    datasheet.write(made.folder, made.manifest)
    return made


def test_no_datasheet_of_another_corpus_stays_beside_a_new_manifest(documented, tmp_path, monkeypatch):
    beside, written = [], hashing.write_atomically

    def write(path, content):
        if path.name == MANIFEST:
            beside.extend(path.parent.glob("datasheet.*"))
        written(path, content)

    monkeypatch.setattr(hashing, "write_atomically", write)
    assert make(config(tmp_path / "one.txt"), tmp_path).manifest == documented.manifest
    assert beside == [] and not list(documented.folder.glob("datasheet.*"))


def test_a_datasheet_that_is_of_another_corpus_or_broken_is_told(documented):
    assert documented.verify() == []
    told = json.loads((documented.folder / DATASHEET).read_bytes())
    (documented.folder / DATASHEET).write_text(json.dumps(told | {"digest": "0" * 32}))
    (problem,) = documented.verify()
    assert problem == "datasheet.json: of another corpus: run the same `jaxlm prepare` again"
    (documented.folder / DATASHEET).write_text("{")
    assert documented.verify() == ["datasheet.json: damaged: run the same `jaxlm prepare` again"]
    (documented.folder / DATASHEET).unlink()
    assert documented.verify() == []
