"""A finished corpus is on the disk before its manifest says so."""

import os

from jaxlm.corpus.finished import MANIFEST
from jaxlm.corpus.pipeline import make
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
