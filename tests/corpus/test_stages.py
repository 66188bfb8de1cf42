"""A stage holds a row group of what it notes and writes, and a piece has a bounded number of documents."""

import json

import pyarrow.parquet as pq

from jaxlm.corpus import slices, stages, table
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.files import File
from jaxlm.corpus.ledger import Ledger


def test_many_tiny_documents_are_several_pieces_each_read_and_written_by_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "PIECE_DOCUMENTS", 40)
    monkeypatch.setattr(table, "_ROWS", 16)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"number {n}"}) + "\n" for n in range(100)))
    files = [File("a.jsonl", tmp_path / "a.jsonl", (tmp_path / "a.jsonl").stat().st_size)]
    source = SourceConfig(name="s", path=str(tmp_path))
    cfg = CorpusConfig(name="c", sources=(source,), quality=())
    folders = {name: tmp_path / name for name in ("collect", "annotate", "select", "write")}
    for folder in folders.values():
        folder.mkdir()
    assert stages.collect(folders["collect"], files, slices.digest(files), source, cfg)["pieces"] == 3
    pieces = [stages.piece(folders["collect"], number) for number in range(3)]
    texts = [[document.text for document in table.read_documents(at / stages.DOCUMENTS)] for at in pieces]
    assert [len(some) for some in texts] == [40, 40, 20]
    assert [text for some in texts for text in some] == [f"number {n}" for n in range(100)]
    stages.annotate(folders["annotate"], pieces[0], (), cfg)
    stages.select(folders["select"], folders["annotate"], cfg)
    stages.write(folders["write"], pieces[0], folders["annotate"], Ledger((folders["select"],)), cfg)
    for path in (folders["annotate"] / stages.NOTES, folders["write"] / stages.DOCUMENTS):
        assert pq.read_metadata(path).num_row_groups == 3
        assert [row["source"] for row in table.each_row(path)] == [f"s/a.jsonl:{n}" for n in range(1, 41)]
