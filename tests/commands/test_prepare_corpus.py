import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import fsspec
import orjson
import pytest

from jaxlm.config import dump
from jaxlm.corpus import table
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from tests.corpus.test_pipeline import text
from tests.faults import injector


@pytest.fixture
def config(tmp_path) -> Path:
    source = tmp_path / "texts"
    source.mkdir()
    for n in range(3):
        (source / f"{n}.txt").write_text(text(n))
    (source / "few.txt").write_text("The few words\x1b[2J of ann.smith@realmail.com and of others.")
    cfg = CorpusConfig(name="small", sources=(SourceConfig(name="texts", path=str(source)),))
    cfg = cfg.model_copy(update={"quality": tuple(one.model_copy(update={"languages": ()}) for one in cfg.quality)})
    (tmp_path / "small.json").write_text(json.dumps(dump(cfg)))
    return tmp_path / "small.json"


def test_a_corpus_is_told_in_a_table_and_stdout_is_the_folder_of_documents(jaxlm, config, tmp_path):
    answer = jaxlm("prepare", config, "--workers", 1)
    assert answer.code == 0
    assert answer.out == f"{tmp_path}/corpora/small/documents\n"
    table = [line.split() for line in answer.err.splitlines()]
    assert ["collect", "4", "4", "nothing"] in table
    assert ["quality", "4", "3", "Gopher.words", "below", "50", "1"] in table
    assert "3 of 4 documents stay (75 %)" in answer.err
    assert "removed nothing" in answer.err
    assert f"datasheet: {tmp_path}/corpora/small/datasheet.html" in answer.err
    assert {path.suffix for path in (tmp_path / "corpora" / "small").glob("datasheet.*")} == {".html", ".md", ".json"}
    (tmp_path / "corpora" / "small" / "datasheet.json").unlink()  # as after a kill
    found = jaxlm("prepare", config, "--workers", 1, "--json").json
    assert (tmp_path / "corpora" / "small" / "datasheet.json").is_file()
    assert found["datasheet"].endswith("datasheet.html") and len(found["warnings"]) == 1


def test_a_corpus_is_made_without_jax(config, tmp_path):
    code = "import sys; from jaxlm import cli\ntry: cli.main()\nfinally: print('jax' in sys.modules)"
    command = [sys.executable, "-c", code, "prepare", config, "--workers", "1", "--corpora-dir", tmp_path / "corpora"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[1] == "False", done.stderr


def test_a_dry_run_shows_what_would_go_and_keeps_nothing(jaxlm, config, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    answer = jaxlm("prepare", config, "--dry-run", "--workers", 1)
    assert answer.code == 0
    assert answer.out.startswith("A sample: of each file that was read its first texts")
    assert "texts: 4 of 4 files, 4 documents" in answer.out
    assert "quality: Gopher.words below 50: 1 of 4 (25 %), it alone" in answer.out
    assert re.search(r"it is \d+$", answer.out, re.MULTILINE)
    assert "of <EMAIL> and of others." in answer.out and "\x1b" not in answer.out
    found = jaxlm("prepare", config, "--dry-run", "--workers", 1, "--json").json
    assert found["sample"] == {"texts": {"files": 4, "of_files": 4}}
    assert found["summary"]["flow"][0]["out"]["documents"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.json", "texts", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_dry_run_of_what_lies_elsewhere_copies_a_sample_and_keeps_nothing(jaxlm, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text(0).encode()), isatty=lambda: False))
    memory, asked = fsspec.filesystem("memory"), []
    records = [[{"text": text(n)}, {"text": " " * (1 << 20)}] for n in range(9)]
    memory.pipe({f"/sampled/{n}.jsonl": b"\n".join(map(orjson.dumps, some)) for n, some in enumerate(records)})
    get = type(memory).get_file
    monkeypatch.setattr(type(memory), "get_file", lambda *a, **how: (asked.append(a[1]), get(*a, **how))[1])
    sources = (SourceConfig(name="store", path="memory://sampled"), SourceConfig(name="input", path="-"))
    (tmp_path / "far.json").write_text(json.dumps(dump(CorpusConfig(name="far", sources=sources))))
    answer = jaxlm("prepare", tmp_path / "far.json", "--dry-run", "--workers", 1)
    memory.rm("/sampled", recursive=True)
    assert answer.code == 0, answer.err
    assert f"store: {len(asked)} of 9 files" in answer.out and "input: 1 of 1 files" in answer.out and len(asked) < 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far.json", "tmp"]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_dry_run_refuses_what_it_cannot_sample(jaxlm, config, tmp_path):
    answer = jaxlm("prepare", "quickstart", "--dry-run")
    assert answer.code == 2 and "--dry-run samples the sources of a corpus" in answer.err
    answer = jaxlm("prepare", config, "--dry-run", "--cluster", "tcp://x:1")
    assert answer.code == 2 and "leave out --cluster tcp://x:1" in answer.err


def test_a_leak_of_an_evaluation_set_is_told_of_a_document_that_stays(jaxlm, config, tmp_path):
    (tmp_path / "quiz.txt").write_text(text(2)[100:300])
    sets = '[{"name": "quiz", "path": "%s", "fields": ["text"]}]' % (tmp_path / "quiz.txt")
    cfg = json.loads(config.read_text()) | {"contamination": {"sets": json.loads(sets)}}
    config.write_text(json.dumps(cfg))
    documents = table.read_rows(Path(jaxlm("prepare", config, "--workers", 1).out.strip()) / "00000.parquet")
    id_ = next(row["id"] for row in documents if row["source"] == "texts/2.txt")
    answer = jaxlm("prepare", config, "--explain", id_)
    assert re.search(r"\n  \d+% of quiz.txt:1 of quiz is in it: characters 1\d\d to \d+\n  stays\n", answer.out)
    assert "another config" not in answer.out
    answer = jaxlm("prepare", config, "--explain", id_, "--set", "contamination.mode=drop")
    assert answer.out.startswith(
        'this corpus was made with another config: contamination.mode: "report" -> "drop"; run `jaxlm prepare` to'
    )


def test_options_that_would_be_ignored_are_refused(jaxlm, config, tmp_path):
    answer = jaxlm("prepare", "quickstart", "--cluster", "local")
    assert answer.code == 2 and "--cluster local makes a corpus, and this is the config of a run" in answer.err
    answer = jaxlm("prepare", config, "--workers", 2, "--cluster", "tcp://127.0.0.1:1")
    assert answer.code == 2 and "--workers counts processes of this machine, and --cluster tcp://127" in answer.err
    answer = jaxlm("prepare", config, "--explain", "3f", "--dry-run")
    assert answer.code == 2 and "leave one of them out" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.json", "texts"]


def test_verify_finds_a_corpus_good_and_then_each_harm_to_it(jaxlm, config, tmp_path):
    jaxlm("prepare", config, "--workers", 1)
    corpus = tmp_path / "corpora" / "small"
    assert jaxlm("verify", corpus).out == f"{corpus}: good\n"
    answer = jaxlm("verify", corpus / "documents")
    assert answer.code == 2 and f"lies in a corpus: `jaxlm verify {corpus}` checks it" in answer.err
    (corpus / "documents" / "00009.parquet").write_bytes((corpus / "documents" / "00000.parquet").read_bytes())
    answer = jaxlm("verify", corpus)
    assert answer.code == 4 and "documents/00009.parquet: not of this corpus" in answer.out
    for source in (corpus / "documents", corpus):
        answer = jaxlm("prepare", "quickstart", "--set", f"data.source={source}")
        assert answer.code == 4 and "documents/00009.parquet is not of it" in answer.err
    (corpus / "documents" / "00009.parquet").unlink()
    injector.flip_byte(corpus / "documents" / "00000.parquet", seed=0)
    answer = jaxlm("prepare", "quickstart", "--set", f"data.source={corpus}/documents")
    assert answer.code == 4 and "documents/00000.parquet is not as it was written" in answer.err
    assert "copy the documents elsewhere if they were changed on purpose" in answer.err
    assert not list((tmp_path / "shards").glob("*"))
    (corpus / "left_out.parquet").unlink()
    answer = jaxlm("verify", corpus, "--json")
    assert answer.code == 4 and answer.json["checked"] == [str(corpus)]
    assert sorted(answer.json["problems"][str(corpus)]) == [
        "documents/00000.parquet: hash differs", "left_out.parquet: missing"
    ]  # fmt: skip
    injector.flip_byte(corpus / "manifest.json", seed=0)
    answer = jaxlm("verify", corpus)
    assert answer.code == 4 and "manifest.json" in answer.out
    (corpus / "manifest.json").unlink()
    answer = jaxlm("verify", corpus)
    assert answer.code == 2 and "has no manifest.json" in answer.err


def test_a_damaged_file_is_warned_of(jaxlm, config, tmp_path):
    whole = gzip.compress("\n".join(json.dumps({"text": text(n)}) for n in range(50)).encode())
    (tmp_path / "texts" / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    answer = jaxlm("prepare", config, "--workers", 1, "--set", "bad_records=0.5")
    assert answer.code == 0 and "warning: 1 of the files are damaged" in answer.err


def test_an_interrupt_is_one_line_and_the_code_for_it(jaxlm, config, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxlm.corpus.pipeline.make", interrupted)
    answer = jaxlm("prepare", config)
    assert answer.code == 75 and answer.err.endswith("jaxlm: interrupted: nothing is lost; the same command goes on\n")
