"""Evaluation sets in a corpus: told, removed on request, and looked for before anything else is done."""

import json
from pathlib import Path

import pytest

from jaxlm import hashing
from jaxlm.commands import corpus_table
from jaxlm.config import dump, override, parse
from jaxlm.corpus import leaks, libraries, stages, table
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.contamination import search
from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.executor import Here
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.quality import measure
from jaxlm.corpus.story import stories
from jaxlm.corpus.summary import warnings
from jaxlm.corpus.words import lexicon
from jaxlm.errors import UserError
from jaxlm.report import datasheet
from tests.corpus.contamination.test_judge import ITEM, amid
from tests.corpus.duplicates.near_cases import silent
from tests.corpus.test_pipeline import config, rows, text

OTHER = "Which of these four kinds of cloud brings the most rain to the coast in the month of May?"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """What one test makes another finds again."""
    return tmp_path_factory.mktemp("leaks")


@pytest.fixture(scope="module")
def cfg(root) -> CorpusConfig:
    folder = root / "texts"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(text(number, 60))
    (folder / "3.txt").write_text(amid(ITEM.upper(), 3))
    (folder / "5.txt").write_text(amid(OTHER, 5) + ITEM)
    questions = "".join(json.dumps({"question": one}) + "\n" for one in (text(50), OTHER, ITEM))
    (root / "orchard.jsonl").write_text(questions)
    (root / "clean.txt").write_text(text(51) + "\nshort\n")
    sets = (
        EvaluationSet(name="orchard", path=str(root / "orchard.jsonl")),
        EvaluationSet(name="clean", path=str(root / "clean.txt"), fields=("text",)),
    )
    return config(folder, contamination=ContaminationConfig(sets=sets))


def test_a_report_tells_owners_of_sets_where_which_item_leaked(cfg, root):
    made = make(cfg, root / "corpora")
    told = json.loads((made.folder / "contamination" / "report.json").read_bytes())
    assert {key: told["orchard"][key] for key in ("items", "found", "documents")} == {
        "items": 3, "found": 2, "documents": 2,
    }  # fmt: skip
    assert {key: told["clean"][key] for key in ("items", "too_short", "found")} == {
        "items": 1, "too_short": 1, "found": 0,
    }  # fmt: skip
    assert made.manifest["stages"]["contamination"]["orchard"]["found"] == 2
    leaks = table.read_rows(made.folder / "contamination" / "leaks.parquet")
    assert [(row["place"], row["source"]) for row in leaks] == [
        ("orchard.jsonl:3", "texts/3.txt"), ("orchard.jsonl:2", "texts/5.txt"), ("orchard.jsonl:3", "texts/5.txt"),
    ]  # fmt: skip
    assert leaks[0]["begins"] == ITEM and ITEM.upper()[:50] in leaks[0]["sample"]
    assert [one["place"] for one in told["orchard"]["samples"]] == ["orchard.jsonl:2", "orchard.jsonl:3"]
    assert len(rows(made, "documents")) == 6  # a report removes nothing
    story, *others = stories(made, leaks[0]["id"])
    told = [
        {"set": "orchard", "place": "orchard.jsonl:3", "share": 1.0, "spans": json.loads(leaks[0]["spans"]),
         "common": False}
    ]  # fmt: skip
    assert not others and story.stays and story.leaks == told
    clean = next(row["id"] for row in rows(made, "documents") if row["source"] == "texts/0.txt")
    assert stories(made, clean)[0].leaks == []


def test_a_document_that_holds_an_item_goes_where_that_is_asked(cfg, root):
    made = make(override(cfg, ["contamination.mode=drop"]), root / "corpora")
    assert {row["source"] for row in rows(made, "documents")} == {f"texts/{n}.txt" for n in (0, 1, 2, 4)}
    assert [(row["stage"], row["reason"], row["evidence"]) for row in rows(made, "removed")] == [
        ("contamination", "an item of orchard", "100% of orchard.jsonl:3"),
        ("contamination", "an item of orchard", "100% of orchard.jsonl:2 and 1 more"),
    ]


def words(one: str) -> int:
    return int(measure(one, lexicon().read(one))["words"])


def test_a_masked_document_stays_without_the_leak(cfg, root):
    made = make(override(cfg, ["contamination.mode=mask", "contamination.around=20"]), root / "corpora")
    by_source = {row["source"]: row["text"] for row in rows(made, "documents")}
    left = by_source["texts/3.txt"]
    assert len(by_source) == 6
    assert "ORCHARD" not in left and left.startswith(text(3)[:100]) and left.endswith(text(103)[-100:])
    profiles = made.manifest["summary"]["profiles"]
    assert profiles["stay"]["totals"]["words"] == sum(words(one) for one in by_source.values())
    assert profiles["stay"]["totals"]["words"] < profiles["collected"]["totals"]["words"]
    assert [(row["source"], row["reason"]) for row in rows(made, "cut")] == [
        ("texts/3.txt", "an item of orchard"), ("texts/5.txt", "an item of orchard"),
        ("texts/5.txt", "an item of orchard"),
    ]  # fmt: skip


def short(cfg: CorpusConfig, folder: Path, texts: dict[str, str]) -> CorpusConfig:
    """Of these texts, whatever their quality."""
    folder.mkdir()
    for name, one in texts.items():
        (folder / f"{name}.txt").write_text(one)
    sources = (SourceConfig(name="texts", path=str(folder)),)
    return cfg.model_copy(update={"sources": sources, "quality": ()})


def test_a_masked_document_of_which_too_little_is_left_goes(cfg, tmp_path):
    repeated = text(7, 10)  # cut out of what comes second, where it is no longer counted
    texts = {
        "all": OTHER, "enough": amid(ITEM, 1), "first": f"{repeated}\n\n{text(9)}",
        "second": f"{repeated}\n\n{text(8, 2)} {ITEM}",
    }  # fmt: skip
    asked = ["contamination.mode=mask", "contamination.around=20", "duplicates.passages={}"]
    made = make(override(short(cfg, tmp_path / "texts", texts), asked), tmp_path)
    told = {row["source"]: (row["reason"], row["evidence"].partition(" of ")) for row in rows(made, "removed")}
    reason, (left, _, evidence) = told["texts/second.txt"]
    assert reason == "under 200 characters left" and len(text(8, 2)) - 30 < int(left) < len(text(8, 2))
    assert evidence == f"{len(texts['second'])} are left without an item of orchard: 100% of orchard.jsonl:3"
    assert told["texts/all.txt"][0] == reason and told["texts/all.txt"][1][0] == "0"
    assert told.keys() == {"texts/all.txt", "texts/second.txt"}
    assert all(len(row["text"]) >= 200 for row in rows(made, "documents"))


def test_an_item_that_is_let_be_as_many_documents_hold_it_is_warned_of_and_explained(cfg, tmp_path):
    texts = {str(n): amid(OTHER, n) for n in range(4)} | {"clean": text(9)}
    asked = ["contamination.mode=drop", "contamination.common=3"]
    made = make(override(short(cfg, tmp_path / "texts", texts), asked), tmp_path)
    assert len(rows(made, "documents")) == 5
    (said,) = [one for one in warnings(made.manifest) if one.startswith("contamination")]
    assert said.startswith("contamination: 4 documents hold nearly all of orchard.jsonl:2 of orchard, and were let be")
    assert "over contamination.common=3 documents" in said
    told = {row["source"]: stories(made, row["id"])[0].leaks for row in rows(made, "documents")}
    assert [one["common"] for one in told["texts/2.txt"]] == [True] and told["texts/clean.txt"] == []
    made = make(override(short(cfg, tmp_path / "again", texts), [*asked, "contamination.common=4"]), tmp_path)
    assert len(rows(made, "documents")) == 1 and not [one for one in warnings(made.manifest) if "let be" in one]


@pytest.mark.parametrize("mode", ["report", "mask", "drop"])
def test_the_table_of_stages_tells_what_leaked_in_every_mode(cfg, tmp_path, mode):
    texts = {"leak": amid(OTHER, 1), "clean": text(9)}
    asked = [f"contamination.mode={mode}", "contamination.around=20"]
    made = make(override(short(cfg, tmp_path / "texts", texts), asked), tmp_path)
    done = {"report": "reported", "mask": "masked", "drop": "dropped"}[mode]
    told = corpus_table.stages(made.manifest)
    assert f"contamination: 1 documents hold 1 of the 3 items of orchard ({done})" in told


def test_a_cut_is_told_of_the_sets_whose_items_it_covers(cfg, tmp_path):
    texts = {"a": f"{amid(ITEM, 1)} {amid(text(51), 2)} {OTHER} {text(51)} {text(9)}"}
    asked = ["contamination.mode=mask", "contamination.around=20"]
    made = make(override(short(cfg, tmp_path / "texts", texts), asked), tmp_path)
    found = sorted((row["start"], row["reason"]) for row in rows(made, "cut"))
    reasons = ["an item of orchard", "an item of clean", "an item of clean", "an item of orchard"]
    assert [reason for _, reason in found] == reasons
    assert found[2][0] == found[3][0] > found[1][0] > found[0][0]


def test_a_document_that_stays_for_its_copies_may_go_as_a_leak_and_a_datasheet_is_written(cfg, tmp_path):
    near = amid(OTHER + ITEM, 5)
    texts = {"leak": near + " And more of it.", "near": near, "a": text(1) + " More.", "b": text(1)}
    made = make(override(short(cfg, tmp_path / "texts", texts), ["contamination.mode=drop"]), tmp_path)
    assert {row["source"]: row["reason"] for row in rows(made, "removed")} == {
        "texts/leak.txt": "an item of orchard", "texts/near.txt": "near duplicate", "texts/b.txt": "near duplicate",
    }  # fmt: skip
    (biggest,) = made.manifest["summary"]["duplicates"]["near duplicates"]["biggest"]
    assert biggest["source"] == "texts/a.txt"
    assert datasheet.write(made.folder, made.manifest).is_file()


@pytest.mark.slow
def test_two_processes_find_the_same_as_one(cfg, tmp_path):
    one, two = make(cfg, tmp_path / "one"), make(cfg, tmp_path / "two", workers=2)
    hashes = [hashing.hash_folder(made.folder / "contamination") for made in (one, two)]
    assert hashes[0] == hashes[1] and len(one.manifest["inputs"]) > 1
    assert one.manifest == two.manifest


def test_another_threshold_searches_no_text_again(cfg, root, monkeypatch):
    make(cfg, root / "corpora")
    monkeypatch.setattr(search, "search", None)  # not to be called
    made = make(override(cfg, ["contamination.share=1.0"]), root / "corpora")
    assert made.manifest["stages"]["contamination"]["orchard"]["found"] == 2
    made = make(cfg.model_copy(update={"contamination": None}), root / "corpora")
    assert not (made.folder / "contamination").exists()
    assert "contamination" not in made.manifest["stages"]


def test_a_set_that_is_wrong_ends_the_run_before_a_document_is_read(cfg, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "collect", None)  # not to be called
    one = EvaluationSet(name="questions", path=str(tmp_path / "questions.jsonl"))
    wrong = cfg.model_copy(update={"contamination": ContaminationConfig(sets=(one,))})
    with pytest.raises(UserError, match=r"evaluation set 'questions': .*does not exist"):
        make(wrong, tmp_path / "corpora")
    (tmp_path / "questions.jsonl").write_text('{"prompt": "a"}\n')
    with pytest.raises(UserError, match=r"evaluation set 'questions': no text in field 'question'"):
        make(wrong, tmp_path / "corpora")


def test_a_set_that_changes_before_it_is_read_ends_the_run(cfg, tmp_path):
    class Late(Here):
        def submit(self, function, *arguments):
            path.write_text(json.dumps({"question": OTHER}))
            return super().submit(function, *arguments)

    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": ITEM}))
    sets = (EvaluationSet(name="questions", path=str(path)),)
    asked = cfg.model_copy(update={"contamination": ContaminationConfig(sets=sets)})
    with pytest.raises(UserError, match=r"questions\.jsonl changed while it was read: run again"):
        leaks.index_sets(asked, tmp_path / "work", Late(), silent)
    assert leaks.index_sets(asked, tmp_path / "work", Late(), silent)


def test_words_are_those_of_a_version_of_python(cfg, tmp_path, monkeypatch):
    def key() -> str:
        made = leaks.index_sets(cfg, tmp_path, Here(), silent)
        assert made is not None
        return made[0].key

    here = key()
    monkeypatch.setattr(libraries, "versions", lambda *names: dict.fromkeys(names, "another"))
    assert key() != here


def test_a_config_with_evaluation_sets_comes_back_from_json(cfg):
    assert parse(json.loads(json.dumps(dump(cfg))), CorpusConfig) == cfg
