"""The summary of a planted corpus: that it adds up, what it warns of, and that no cut into parts changes it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from jaxlm.corpus.bigscience import BigScience
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, LanguagesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, NearConfig
from jaxlm.corpus.finished import Corpus
from jaxlm.corpus.forecast import would_end
from jaxlm.corpus.pii import PiiConfig
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.rules import Bounds
from jaxlm.corpus.score_config import ProbabilityConfig
from jaxlm.corpus.summary import warnings
from jaxlm.corpus.word_lists import WordList, WordListConfig
from jaxlm.errors import UserError
from tests.corpus.test_pipeline import text

LENIENT = CapConfig(share=1)


def plant(folder: Path) -> Path:
    folder.mkdir()
    near = text(3).split()
    near[7] = "otherwise"
    told = [
        {"text": text(1), "licence": "CC0", "date": "2019-05-01"}, {"text": text(2)}, {"text": text(2)},
        {"text": text(3) + " More."}, {"text": " ".join(near)}, {"text": "Few words: ann.smith@realmail.com"},
        {"text": "The same line of words.\n" * 60, "date": "circa 1851"}, {"text": "Few."}, {"text": "Few, too."},
        {"text": "Few again."},
    ]  # fmt: skip
    (folder / "a.jsonl").write_text(
        "\n".join([*map(json.dumps, told[:5]), "{not json", '{"words": 1}', '{"text": ""}'])
    )
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, told[5:])))
    (folder / "c.txt").write_text("")
    return folder


def config(source: Path, **more) -> CorpusConfig:
    settings = {
        "name": "planted", "sources": (SourceConfig(name="texts", path=str(source)),), "bad_records": 0.5,
        "quality": (QualityConfig(languages=()),),
        "duplicates": DuplicatesConfig(exact=ExactConfig(cap=LENIENT), near=NearConfig(cap=LENIENT)),
    }  # fmt: skip
    return CorpusConfig(**{**settings, **more})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("summary")
    return make(config(plant(folder / "texts")), folder / "corpora")


def rule(corpus: Corpus, stage: str, reason: str) -> dict:
    (flow,) = [one for one in corpus.manifest["summary"]["flow"] if one["stage"] == stage]
    return next(one for one in flow["rules"] if one["reason"] == reason)


def test_the_flow_adds_up_from_what_was_collected_to_what_stays(corpus):
    found = corpus.manifest["summary"]
    entered = found["profiles"]["collected"]["totals"]
    for stage in found["flow"]:
        assert stage["in"] == {"documents": entered["documents"], "bytes": entered["bytes"]}
        for unit, gone in (("documents", "first"), ("bytes", "first_bytes")):
            assert stage["in"][unit] - sum(one[gone] for one in stage["rules"]) == stage["out"][unit]
        entered = stage["out"]
    assert entered["documents"] == found["profiles"]["stay"]["totals"]["documents"] == 3
    assert [stage["stage"] for stage in found["flow"]] == ["quality", "duplicates"]


def test_a_rule_tells_what_it_took_what_it_took_alone_and_of_how_many(corpus):
    few, plain = (rule(corpus, "quality", f"Gopher.{name}") for name in ("words below 50", "stop_words below 2"))
    assert (few["documents"], few["first"], few["alone"], few["judged"]) == (4, 4, 0, 10)
    assert (plain["documents"], plain["first"], plain["alone"]) == (5, 1, 0)  # all of those, and what repeats
    assert rule(corpus, "quality", "Gopher.hashes above 0.1")["documents"] == 0
    near = rule(corpus, "duplicates", "near duplicate")
    assert (near["documents"], near["alone"], near["judged"]) == (1, 1, 5)


def test_samples_show_what_was_measured_and_no_personal_data(corpus):
    few = rule(corpus, "quality", "Gopher.words below 50")["samples"]
    assert len(few) == 3 and all(one["evidence"].startswith("it is ") for one in few)
    assert [one["id"] for one in few] == sorted(one["id"] for one in few)
    assert "realmail" not in json.dumps(corpus.manifest["summary"])


def test_the_most_copied_documents_are_named(corpus):
    (one,) = corpus.manifest["summary"]["duplicates"]["near duplicates"]["biggest"]
    assert one["texts"] == 2 and one["source"] == "texts/a.jsonl:4" and text(3).startswith(one["begins"])


def test_profiles_count_licences_years_and_lengths(corpus):
    found = corpus.manifest["summary"]["profiles"]
    assert found["collected"]["licences"] == {"CC0": 1}
    assert found["collected"]["years"] == {"2019": 1, "1851": 1} and found["stay"]["years"] == {"2019": 1}
    lengths = [count for bins in found["collected"]["lengths"].values() for count in bins.values()]
    assert sum(lengths) == found["collected"]["totals"]["documents"] == 10


def test_the_cut_into_parts_changes_no_summary(corpus, tmp_path):
    other = make(config(plant(tmp_path / "texts"), part_bytes=1 << 10), tmp_path / "corpora")
    assert len(other.manifest["inputs"]) > len(corpus.manifest["inputs"]) == 1
    assert other.manifest["summary"] == corpus.manifest["summary"]


def test_what_gave_no_document_is_a_row_with_its_file_and_place(corpus):
    rows = pq.read_table(corpus.folder / "left_out.parquet").to_pylist()
    assert [(row["source"], row["place"], row["bad"], row["reason"]) for row in rows] == [
        ("texts/a.jsonl", "line 6", True, "not JSON"),
        ("texts/a.jsonl", "line 7", True, "no field 'text'"),
        ("texts/a.jsonl", "8", False, "empty"),
        ("texts/c.txt", "", False, "empty"),
    ]
    assert "set text_field to one of its fields: 'words'" in rows[1]["detail"]


def test_rules_that_take_nothing_too_much_or_judge_none_are_told(corpus, tmp_path):
    lost, idle = warnings(corpus.manifest)
    assert lost.startswith("source 'texts': 4 of 14 files and records (29%) gave no document, 2 of them as 'empty'")
    assert idle.startswith("rules that removed nothing: Gopher.bullet_lines above 0.9, ")
    assert idle.endswith("more rules (check their thresholds)") and "duplicate" not in idle
    source = plant(tmp_path / "texts")
    klingon = QualityConfig(languages=("tlh",))
    wanted = LanguagesConfig(keep=("xx",), probability=0.0)  # of a sample, as nothing stays
    off = DuplicatesConfig(exact=None, near=None)
    asked = config(source, quality=(klingon,), languages=wanted, duplicates=off)
    said = warnings(make(asked, tmp_path, sample_of=tmp_path / "planted").manifest)
    assert said[0] == "languages removed 10 of the 10 documents it judged (100%): look at its samples"
    assert "judged no document, since none is in their languages: see quality.languages" in said[2]


def test_a_corpus_of_which_nothing_stays_is_an_error_that_names_what_took_most(tmp_path):
    source = plant(tmp_path / "texts")
    made = make(config(source), tmp_path / "corpora")
    wanted = config(source, languages=LanguagesConfig(keep=("xx",), probability=0.0))
    with pytest.raises(UserError, match=r"of 10, language removed 10, \d of them for 'in pcm': change languages;"):
        make(wanted, tmp_path / "corpora")
    assert made.verify() == [] and not list(made.folder.glob(".*"))  # the one before is as it was
    sampled = make(wanted, tmp_path / "sample", sample_of=tmp_path / "corpora" / "planted")
    assert "change languages, or the run ends without a corpus" in would_end(wanted, sampled)[0]


def test_a_source_that_loses_many_files_is_warned_of_and_one_that_loses_few_is_not(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.txt").write_text(text(number))
    (folder / "empty.txt").write_text("")
    assert not [one for one in warnings(make(config(folder), tmp_path).manifest) if "gave no document" in one]
    (folder / "latin.txt").write_bytes("é à ü ".encode("latin-1") * 50)
    (folder / "older.txt").write_bytes("è à ü ".encode("latin-1") * 50)
    (said,) = [one for one in warnings(make(config(folder), tmp_path).manifest) if "gave no document" in one]
    assert said == (
        "source 'texts': 3 of 13 files and records (23%) gave no document, 2 of them as 'not UTF-8, convert it with "
        "iconv -t UTF-8', the first texts/latin.txt: left_out.parquet names all"
    )


def test_a_corpus_without_copies_or_personal_data_is_no_mistake(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(text(1))
    drop = PiiConfig(mode="drop")
    clean = make(config(tmp_path / "texts", quality=(), personal=drop), tmp_path).manifest
    assert warnings(clean) == []
    own = LanguagesConfig(keep=tuple(clean["stages"]["annotate"]["languages"]), probability=0.0)
    (said,) = warnings(make(config(tmp_path / "texts", quality=(), languages=own), tmp_path).manifest)
    assert said == "rules that removed nothing: languages.keep (check their thresholds)"


class Even(NamedTuple):
    """A scorer that has one answer."""

    digest: str = "even"

    def __call__(self, texts: Sequence[str]) -> list[float]:
        return [0.5 for _ in texts]


def test_lists_of_words_and_scores_that_take_nothing_are_told(tmp_path):
    for name in ("stop", "flagged"):
        (tmp_path / f"{name}.txt").write_text("xyzzy\n")
    lists = tuple(
        WordListConfig(name=name, path=str(tmp_path / f"{name}.txt"), languages=languages)
        for name, languages in (("stop", ("tlh",)), ("flagged", ()))
    )
    rules = (WordList(words="flagged", count=Bounds(most=0)), BigScience())
    least = ProbabilityConfig(name="sound", run="x", of="good", bounds=Bounds(least=0.1))
    cfg = config(
        plant(tmp_path / "texts"), words=lists, scores=(least,), quality=(QualityConfig(languages=(), rules=rules),)
    )
    made = make(cfg, tmp_path, scorers={"sound": Even()})
    flow = {
        stage["stage"]: {one["reason"]: one for one in stage["rules"]} for stage in made.manifest["summary"]["flow"]
    }
    counts = lambda stage, reason: (flow[stage][reason]["judged"], flow[stage][reason]["documents"])
    assert counts("quality", "WordList.flagged_count above 0") == counts("score", "sound below 0.1") == (10, 0)
    assert counts("quality", "BigScience.flagged_share above 0.01")[0]
    assert not any("stop_share" in reason for reason in flow["quality"])  # its list is of no language that is there
    (said,) = [one for one in warnings(made.manifest) if "removed nothing" in one]
    judged = [one for stage in ("quality", "score") for one in flow[stage].values() if one["judged"]]
    count = sum(not one["documents"] for one in judged)
    assert f"and {count - 3} more rules" in said
