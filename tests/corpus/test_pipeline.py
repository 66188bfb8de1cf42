"""A corpus from planted documents: who stays, why others go, and that nothing but the input decides it."""

import json
import os
import random
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from jaxlm import hashing
from jaxlm.config import dump, load, override, shipped
from jaxlm.corpus import stages
from jaxlm.corpus.bigscience import BigScience
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, LanguagesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.document import Document
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, NearConfig
from jaxlm.corpus.finished import FOLDERS, Corpus
from jaxlm.corpus.lines_refinedweb import RefinedWebLines
from jaxlm.corpus.pii import PiiConfig
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.rules import Bounds, RefinedWeb
from jaxlm.corpus.story import stories
from jaxlm.corpus.summary import warnings
from jaxlm.corpus.word_lists import WordList, WordListConfig
from jaxlm.errors import JaxlmError, UserError
from jaxlm.run_config import RunConfig
from tests.faults import hostile, injector

SYLLABLES = [first + last for first in "bdfgklmnprst" for last in ("a", "e", "i", "o", "u", "an", "er", "in")]


def text(seed: int, sentences: int = 30) -> str:
    """Sentences of words that do not exist, and of some that every English text has."""
    rng = random.Random(seed)
    word = lambda: "".join(rng.choices(SYLLABLES, k=rng.randint(1, 3)))
    sentence = lambda: " ".join(["The", word(), "of", word(), "and", word(), "with", word(), "that", word()]) + "."
    return " ".join(sentence() for _ in range(sentences))


def planted() -> dict[str, str]:
    near = text(3).split()
    near[7] = "otherwise"
    return {
        "kept": text(1), "short": "Too few words.", "copy": text(2), "original": text(2), "long": text(3) + " More.",
        "near": " ".join(near), "personal": text(4) + " Write to ann.smith@realmail.com today.",
        "repeats": "The same line of words.\n" * 60, "blank": " \n ",
    }  # fmt: skip


def plant(folder: Path) -> Path:
    folder.mkdir()
    lines = [json.dumps({"text": value, "url": f"https://x.org/{name}"}) for name, value in planted().items()]
    (folder / "a.jsonl").write_text("\n".join(lines[:5]) + "\n")
    (folder / "b.jsonl").write_text("\n".join(lines[5:]) + "\n")
    for number in range(10, 13):  # with these there are several parts
        (folder / f"c{number}.txt").write_text(text(number, 100))
    return folder


@pytest.fixture
def source(tmp_path) -> Path:
    return plant(tmp_path / "texts")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    """Made once, and only looked at."""
    folder = tmp_path_factory.mktemp("corpus")
    licensed = SourceConfig(name="texts", path=str(plant(folder / "texts")), licence="CC0")
    return make(config(folder / "texts", sources=(licensed,)), folder / "corpora")


def config(source: Path, **more) -> CorpusConfig:
    cap = CapConfig(share=0.9)
    settings = {
        "name": "planted", "sources": (SourceConfig(name="texts", path=str(source)),),
        "quality": (QualityConfig(languages=()),), "part_bytes": 1 << 13,
        "duplicates": DuplicatesConfig(exact=ExactConfig(cap=cap), near=NearConfig(cap=cap)),
    }  # fmt: skip
    return CorpusConfig(**{**settings, **more})


def rows(corpus, name: str) -> list[dict]:
    return [row for path in sorted((corpus.folder / name).iterdir()) for row in pq.read_table(path).to_pylist()]


def names(found: list[dict]) -> dict[str, list[str]]:
    """{name of a planted document: reasons}"""
    of = {f"texts/{'a' if n < 5 else 'b'}.jsonl:{n + 1 if n < 5 else n - 4}": name for n, name in enumerate(planted())}
    told: dict[str, list[str]] = {}
    for row in found:
        if row["source"] in of:
            told.setdefault(of[row["source"]], []).append(row.get("reason", ""))
    return told


def test_what_is_planted_goes_for_its_reason_and_the_rest_stays(corpus):
    removed = names(rows(corpus, "removed"))
    assert removed.keys() == {"short", "original", "near", "repeats"}
    assert "Gopher.words below 50" in removed["short"]
    assert removed["original"] == ["exact duplicate"]
    assert removed["near"] == ["near duplicate"]
    assert "GopherRepetition.repeated_lines above 0.3" in removed["repeats"]
    assert names(rows(corpus, "documents")).keys() == {"kept", "copy", "long", "personal"}
    assert corpus.manifest["stages"]["collect"]["skipped"] == {"no text": 1}


def test_every_document_is_accounted_for(corpus):
    collected, written = corpus.manifest["stages"]["collect"], corpus.manifest["stages"]["write"]
    gone = {(row["id"], row["source"]) for row in rows(corpus, "removed")}
    assert collected["counts"]["documents"] == written["documents"] + len(gone) == len(planted()) + 3 - 1
    assert len(rows(corpus, "documents")) == written["documents"]
    reasons = [count for stage in corpus.manifest["stages"]["removed"].values() for count in stage.values()]
    assert sum(reasons) == len(rows(corpus, "removed"))


def test_the_evidence_of_a_near_duplicate_names_what_stays(corpus):
    (near,) = [row for row in rows(corpus, "removed") if row["reason"] == "near duplicate"]
    (kept,) = [row for row in rows(corpus, "documents") if row["text"] == planted()["long"]]
    assert near["evidence"].endswith(f"with {kept['id']}")
    assert near["sample"] == planted()["near"][:200]


def test_personal_data_is_scrubbed_where_it_is_written(corpus):
    (row,) = [row for row in rows(corpus, "documents") if row["url"] == "https://x.org/personal"]
    assert "realmail" not in row["text"]
    assert "Write to <EMAIL> today." in row["text"]
    assert corpus.manifest["stages"]["annotate"]["personal"] == {"email": 1}


def test_no_sample_holds_personal_data_nor_a_manifest_the_secret_of_the_fakes(tmp_path):
    """Where documents go, where lines are cut, and where either is told again."""
    (tmp_path / "texts").mkdir()
    line = "Whoever has a question may write to ann.smith@realmail.com at any time of day."
    for name, value in (("short", line), ("one", f"{line}\n{text(1)}"), ("two", f"{line}\n{text(2)}")):
        (tmp_path / "texts" / f"{name}.txt").write_text(value)
    cfg = override(
        config(tmp_path / "texts", personal=PiiConfig(mode="fake", salt="grains of it")),
        ["duplicates.passages.unit=line", "duplicates.passages.shortest=50", "duplicates.passages.cap.share=1"],
    )
    made = make(cfg, tmp_path / "corpora")
    assert all("<EMAIL>" in row["sample"] for row in rows(made, "removed") if row["source"] == "texts/short.txt")
    assert rows(made, "cut") and all("<EMAIL>" in row["sample"] for row in rows(made, "cut"))
    told = str([rows(made, "removed"), rows(made, "cut"), made.manifest, stories(made, rows(made, "removed")[0]["id"])])
    assert "realmail" not in told and "grains of it" not in told
    assert made.manifest["config"]["personal"]["salt"] == "(secret)"
    assert not any("salt" in said for said in warnings(made.manifest))
    unsalted = make(override(cfg, ["personal.salt="]), tmp_path / "corpora")
    assert any("anybody can make the fake of a value that he guesses" in said for said in warnings(unsalted.manifest))
    assert unsalted.manifest["digest"] != made.manifest["digest"]
    with pytest.raises(ValueError, match=r"salt='\(secret\)' is what a manifest says instead of it"):
        PiiConfig(salt="(secret)")


def test_texts_with_too_few_letters_to_tell_a_language_can_be_kept(source, tmp_path):
    (source / "d.txt").write_text("1234 5678 " * 30)
    (source / "e.txt").write_text("0x3f 0x2a " * 50)
    wanted = config(source, quality=(), languages=LanguagesConfig(keep=("und", "zxx"), probability=0.5))
    kept = rows(make(wanted, tmp_path / "corpora"), "documents")
    assert {(row["source"], row["language"]) for row in kept} >= {("texts/d.txt", "und"), ("texts/e.txt", "zxx")}


def test_a_document_without_a_licence_has_that_of_its_source(corpus):
    assert {row["licence"] for row in rows(corpus, "documents")} == {"CC0"}


def everything(corpus) -> dict:
    return {name: hashing.hash_folder(corpus.folder / name) for name in FOLDERS}


def test_two_processes_write_the_same_bytes_as_one(source, tmp_path):
    cfg = override(config(source), ["duplicates.passages.unit=line", "duplicates.passages.cap.share=1"])
    one, two = make(cfg, tmp_path / "one"), make(cfg, tmp_path / "two", workers=2)
    assert everything(one) == everything(two)
    assert one.manifest == two.manifest
    assert len(one.manifest["inputs"]) > 2


def test_another_threshold_reads_no_text_again(source, tmp_path, monkeypatch):
    first = make(config(source), tmp_path / "corpora")
    monkeypatch.setattr(stages, "collect", None)  # not to be called
    monkeypatch.setattr(stages, "annotate", None)
    lower = override(config(source), ["quality=[]"])
    second = make(lower, tmp_path / "corpora")
    assert "short" in names(rows(second, "documents"))
    assert first.manifest["digest"] != second.manifest["digest"]


def test_what_is_done_is_found_again_wherever_the_source_lies(source, tmp_path, monkeypatch):
    first = make(config(source), tmp_path / "corpora")
    moved = shutil.move(source, tmp_path / "elsewhere")
    monkeypatch.setattr(stages, "collect", None)
    assert make(config(Path(moved)), tmp_path / "corpora").manifest["digest"] == first.manifest["digest"]


def test_other_languages_than_those_to_keep_go(source, tmp_path):
    (source / "d.txt").write_text("Alle Menschen sind frei und gleich an Würde und Rechten geboren. " * 3)
    wanted = LanguagesConfig(keep=("en",), probability=0.0)
    made = make(config(source, languages=wanted), tmp_path / "corpora")
    (german,) = [row for row in rows(made, "removed") if row["source"] == "texts/d.txt" and row["stage"] == "language"]
    assert german["reason"] == "in de"


def test_a_few_bad_records_are_counted_and_many_end_the_run(source, tmp_path):
    with (source / "b.jsonl").open("a") as file:
        file.write("{not json\n")
    with pytest.raises(UserError, match=r"1 of 13 records \(7.69%\) are bad"):
        make(config(source), tmp_path / "corpora")
    made = make(config(source, bad_records=0.1), tmp_path / "corpora")
    assert made.manifest["stages"]["collect"]["bad"] == 1


def test_a_disk_that_is_full_among_the_duplicates_is_named(tmp_path):
    lines = [json.dumps({"text": text(number, 4)}) for number in range(100)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    cfg = config(tmp_path / "texts.jsonl", quality=(), part_bytes=1 << 20)
    make(override(cfg, ["duplicates.near=null"]), tmp_path / "corpora")  # what is written until then is smaller
    with injector.file_size_limit(20_000), pytest.raises(JaxlmError, match="no space left for the corpus in"):
        make(cfg, tmp_path / "corpora")


def test_a_document_tells_its_story(corpus):
    corpus = Corpus.open(corpus.folder)
    (short,) = [row["id"] for row in rows(corpus, "removed") if row["reason"] == "Gopher.words below 50"]
    (story,) = stories(corpus, short[:12])
    assert not story.stays and story.source == "texts/a.jsonl:2" and story.begins == planted()["short"]
    assert {"stage": "quality", "reason": "Gopher.words below 50", "evidence": ""} in story.reasons
    assert story.note["measures"]["words"] == 3
    twice = stories(corpus, Document.of(text(2), "").id)
    assert [one.stays for one in twice] == [True, False]
    assert twice[1].reasons[0]["evidence"] == f"equal to {twice[0].id}"
    with pytest.raises(UserError, match=r"no document of .* has an id that begins with 'zz'"):
        stories(corpus, "zz")
    with pytest.raises(UserError, match=r"10 ids of .* begin with ''.*: give more of one"):
        stories(corpus, "")


def test_a_folder_that_is_no_corpus_is_told(tmp_path):
    with pytest.raises(UserError, match=r"has no manifest.json .*made by `jaxlm prepare`"):
        Corpus.open(tmp_path)


def test_a_source_without_files_is_named(source, tmp_path):
    (tmp_path / "empty").mkdir()
    nothing = SourceConfig(name="nothing", path=str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"source 'nothing': path=.* holds no file: name another one"):
        make(config(source, sources=(nothing,)), tmp_path / "corpora")
    missing = SourceConfig(name="missing", path=str(tmp_path / "missing"))
    with pytest.raises(UserError, match=r"source 'missing': path=.*does not exist"):
        make(config(source, sources=(missing,)), tmp_path / "corpora")


def test_sources_without_text_are_told_by_the_files_that_they_hold(tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(7):
        (tmp_path / "texts" / f"{number}.txt").write_bytes(b"PK\3\4" if number else b"")
    with pytest.raises(UserError, match="the sources of 'planted' hold no text: 6 a zip") as caught:
        make(config(tmp_path / "texts"), tmp_path / "corpora")
    first, *shown = str(caught.value).splitlines()
    assert first.endswith(": name other files; the first are")
    assert shown[:2] == [
        "  texts/0.txt: empty",
        "  texts/1.txt: a zip archive (as .docx, .xlsx and .epub are): unpack it",
    ]
    assert len(shown) == 5


def test_web_pages_are_read_by_the_library_that_a_source_names(tmp_path, monkeypatch):
    stand_in = ModuleType("trafilatura")
    monkeypatch.setattr(stand_in, "extract", lambda page, **_: f"By another reader. {text(1)}", raising=False)
    monkeypatch.setitem(sys.modules, "trafilatura", stand_in)
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.html").write_bytes(hostile.PAGE)
    (tmp_path / "pages" / "b.warc").write_bytes(hostile.response(hostile.PAGE))
    pages = SourceConfig(name="pages", path=str(tmp_path / "pages"), main_text="trafilatura")
    cfg = config(tmp_path, sources=(pages,), duplicates=DuplicatesConfig(exact=None, near=None))
    made = make(cfg, tmp_path / "corpora")
    assert [row["text"][:10] for row in rows(made, "documents")] == ["By another"] * 2
    assert made.manifest["config"]["sources"][0]["main_text"] == "trafilatura"


def test_a_reader_of_web_pages_is_refused_where_it_is_missing_or_has_nothing_to_read(source, tmp_path, monkeypatch):
    wanted = SourceConfig(name="texts", path=str(source), main_text="trafilatura")
    with pytest.raises(UserError, match=r"source 'texts': main_text='trafilatura' is for web pages .*leave main_text"):
        make(config(source, sources=(wanted,)), tmp_path / "corpora")
    monkeypatch.setitem(sys.modules, "trafilatura", None)
    (source / "page.html.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"source 'texts': main_text='trafilatura' needs .*pip install 'jaxlm\[quality"):
        make(config(source, sources=(wanted,)), tmp_path / "corpora")


def test_sources_of_one_name_and_rules_without_measures_are_refused(source):
    twice = SourceConfig(name="texts", path=str(source))
    with pytest.raises(ValueError, match=r"sources have the name 'texts' twice"):
        config(source, sources=(twice, twice))
    with pytest.raises(ValueError, match=r"lines=None and quality has rules of kind 'c4'.*set lines=C4Lines\(\)"):
        config(source, quality=({"rules": [{"kind": "c4"}]},))


def test_rules_of_other_sets_judge_by_language_lists_and_lines(tmp_path):
    (tmp_path / "texts").mkdir()
    texts = {
        "en": text(1),
        "shouting": text(2) + "\nHOME ABOUT US\n" * 40,
        "zh": "学而时习之，不亦说乎？" * 20,
        "bad": text(3) + " Darn.",
    }
    for name, value in texts.items():
        (tmp_path / "texts" / f"{name}.txt").write_text(value)
    (tmp_path / "flagged.txt").write_text("darn\n")
    cfg = config(
        tmp_path / "texts",
        lines=RefinedWebLines(),
        words=(WordListConfig(name="flagged", path=str(tmp_path / "flagged.txt"), languages=()),),
        quality=(
            QualityConfig(languages=(), rules=(RefinedWeb(), WordList(words="flagged", count=Bounds(most=0)))),
            QualityConfig(languages=("zh",), rules=(BigScience(),)),
        ),
    )
    made = make(cfg, tmp_path / "corpora")
    gone = {row["source"].removesuffix(".txt"): row["reason"] for row in rows(made, "removed")}
    assert gone == {
        "texts/shouting": "RefinedWeb.removed_words above 0.05", "texts/bad": "WordList.flagged_count above 0",
        "texts/zh": "BigScience.repeated_words above 0.96",
    }  # fmt: skip
    assert made.manifest["stages"]["collect"]["lines"] == {"capitals": 40}


def test_a_rule_about_a_list_that_is_not_there_is_refused(source):
    with pytest.raises(ValueError, match=r"words='flagged', and the lists in `words` are none: name one of these"):
        config(source, quality=({"rules": [{"kind": "word_list", "words": "flagged"}]},))


@pytest.mark.parametrize("name", [name for name in shipped() if name.startswith("corpus_")])
def test_a_shipped_config_of_a_corpus_is_one_and_comes_back_from_json(name, tmp_path):
    cfg = load(name, (RunConfig, CorpusConfig))
    assert isinstance(cfg, CorpusConfig) and cfg.name == name
    (tmp_path / "saved.json").write_text(json.dumps(dump(cfg)))
    assert load(tmp_path / "saved.json", (RunConfig, CorpusConfig)) == cfg


@pytest.mark.slow
@pytest.mark.skipif("JAXLM_DATA" not in os.environ, reason="JAXLM_DATA is not set: it names a folder of real text")
def test_real_archives_pages_and_wikis_are_all_accounted_for(tmp_path):
    made = make(load("corpus_demo", CorpusConfig), tmp_path)
    gone = {(row["id"], row["source"]) for row in rows(made, "removed")}
    assert made.manifest["stages"]["collect"]["counts"]["documents"] == len(rows(made, "documents")) + len(gone)
    editions = [row for row in rows(made, "documents") if "pride" in row["source"]]
    assert len(editions) == 1  # of five
    assert {row["source"].split("/")[0] for row in rows(made, "documents")} >= {"html-cc", "udhr", "enwiki-xml-sample"}


@pytest.mark.parametrize("mode, shown", [("tag", "write to <EMAIL>"), ("drop", None)])
def test_marks_go_out_and_are_counted_without_personal_data(mode, shown, tmp_path):
    address = "ann.smith@realmail.com"
    marked = {
        "url": f"https://x.org/?email={address}", "licence": f"write to {address}", "date": f"2019, {address}",
        "title": f"write to {address}",
    }  # fmt: skip
    plain = {"url": "https://x.org/4111111111111111", "licence": "CC0", "date": "2020-01-02", "title": "Tea"}
    records = [{"text": text(1), **marked}, {"text": text(2), **plain}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    cfg = CorpusConfig(
        name="x", sources=(SourceConfig(name="a", path=str(tmp_path / "a.jsonl")),), quality=(),
        personal=PiiConfig(mode=mode),
    )  # fmt: skip
    made = make(cfg, tmp_path / "corpora")
    first, second = rows(made, "documents")
    assert (first["title"], first["licence"]) == (shown, shown) and {**second, **plain} == second
    assert first["url"] == (None if mode == "drop" else "https://x.org/?email=<EMAIL>")
    assert "realmail" not in str((first, made.manifest)), "nor where marks are counted, which a datasheet shows"
