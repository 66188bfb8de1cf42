"""Labels of planted texts: who is labelled how, what is told of it, and that the same input makes the same bytes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxlm import hashing
from jaxlm.config import dump, load, override, shipped
from jaxlm.corpus import collect
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, SourceConfig
from jaxlm.corpus.document import Document
from jaxlm.corpus.labels.config import ExamplesFile, LabelConfig, LabelStudioFile, SampleConfig
from jaxlm.corpus.labels.consensus import Majority
from jaxlm.corpus.labels.make import make
from jaxlm.corpus.labels.rules import LanguageRule, MeasureRule, PatternRule, WordsRule
from jaxlm.corpus.labels.sample import export
from jaxlm.corpus.pipeline import make as make_corpus
from jaxlm.corpus.rules import Bounds
from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import Classification
from jaxlm.errors import UserError

TEXTS = ["tea with milk", "green tea", "hot coffee", "tea or coffee", "water", "tea again", "coffee", "tea"]
TRUTH = ["tea", "tea", "coffee", "coffee", "tea", "tea", "coffee", "coffee"]
RULES = (
    WordsRule(name="has tea", vote="tea", words=("tea",)),
    WordsRule(name="has coffee", vote="coffee", words=("coffee",)),
    PatternRule(name="green", vote="tea", pattern="green|milk"),
)


@pytest.fixture
def source(tmp_path) -> str:
    lines = [json.dumps({"text": text}) for text in [*TEXTS, "tea", " "]]  # one is there twice, one is blank
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    (tmp_path / "gold.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "label": label}) for text, label in zip(TEXTS, TRUTH, strict=True))
    )
    return str(tmp_path / "texts.jsonl")


def config(source: str | None, **more) -> LabelConfig:
    settings = {"name": "drinks", "classes": ("tea", "coffee"), "source": source, "rules": RULES, "model": Majority()}
    return LabelConfig(**{**settings, **more})


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_kill_while_labels_are_replaced_does_not_lose_the_old_ones(source, tmp_path, monkeypatch):
    folder = tmp_path / "labels" / "drinks"
    make(config(source, rules=RULES[:2]), folder.parent)
    old, rename = hashing.hash_folder(folder), os.rename

    def killed(path, target):
        if target == folder and "building" in path.name:
            raise KeyboardInterrupt
        rename(path, target)

    monkeypatch.setattr(os, "rename", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            make(config(source), folder.parent)
        assert hashing.hash_folder(folder.with_name(".drinks.old")) == old
    monkeypatch.undo()
    make(config(source), folder.parent)
    assert hashing.hash_folder(folder) != old
    assert sorted(path.name for path in folder.parent.iterdir()) == [".drinks.lock", "drinks"]


def test_texts_are_labelled_by_their_votes_and_ties_are_not(source, tmp_path):
    made = make(config(source), tmp_path / "labels")
    found = {row["text"]: row["label"] for row in lines(tmp_path / "labels/drinks/examples.jsonl")}
    assert found == {
        text: "coffee" if "coffee" in text else "tea" for text in TEXTS if text not in ("water", "tea or coffee")
    }
    told = made.report["outcome"]
    assert (told["items"], told["labelled"]) == (8, 6)
    assert told["unlabelled"] == {"no votes": 1, "tie": 1, "unsure": 0}
    assert made.report["left_out"] == {"equal to another": 1, "no text": 1}
    (tie,) = [row for row in lines(tmp_path / "labels/drinks/votes.jsonl") if row["why_none"]]
    assert tie["votes"] == {"has tea": "tea", "has coffee": "coffee"} and tie["why_none"] == "tie"


def test_the_examples_are_those_that_a_classifier_reads(source, tmp_path):
    make(config(source), tmp_path / "labels")
    cfg = DataConfig(
        source=str(tmp_path / "labels/drinks/examples.jsonl"), length=8, batch=1,
        objective=Classification(classes=("tea", "coffee")),
    )  # fmt: skip
    labels = [document.marks["pieces"][0].labels[0][1] for document in collect.documents(cfg)]
    assert labels == [0, 0, 1, 0, 1, 0]


def test_a_rule_is_told_by_coverage_overlap_conflict_and_accuracy(source, tmp_path):
    gold = ExamplesFile(path=str(tmp_path / "gold.jsonl"))
    told = make(config(source, votes=(gold,), gold=("gold",)), tmp_path / "labels").report
    tea = told["annotators"]["has tea"]
    assert (tea["coverage"], tea["overlaps"], tea["conflicts"]) == (5 / 8, 3 / 8, 1 / 8)
    assert (tea["judged"], tea["accuracy"], tea["votes"]) == (5, 3 / 5, {"tea": 5})
    assert "gold" not in told["annotators"] and told["outcome"]["gold"] == {"tea": 4, "coffee": 4}
    assert (told["outcome"]["judged"], told["outcome"]["accuracy"]) == (6, 5 / 6)
    assert told["agreement"]["rules"]["items"] == 3 and told["agreement"].keys() == {"rules"}


def test_where_gold_is_known_examples_and_votes_tell_it_and_accuracy_stays_that_of_the_votes(source, tmp_path):
    gold = ExamplesFile(path=str(tmp_path / "gold.jsonl"))
    only_tea = (WordsRule(name="has tea", vote="tea", words=("tea",)),)
    made = make(config(source, rules=only_tea, votes=(gold,), gold=("gold",)), tmp_path / "labels")
    rows = lines(tmp_path / "labels/drinks/examples.jsonl")
    assert [(row["text"], row["label"]) for row in rows] == list(zip(TEXTS, TRUTH, strict=True))
    assert {(row["by"], row["confidence"]) for row in rows} == {("gold", 1.0)}
    told = {row["id"]: row for row in lines(tmp_path / "labels/drinks/votes.jsonl")}
    contradicted, gold_alone = (told[Document.of(text, "").id] for text in ("tea", "water"))
    assert (contradicted["votes"], contradicted["gold"]) == ({"has tea": "tea"}, {"gold": "coffee"})
    assert (gold_alone["votes"], gold_alone["label"], gold_alone["by"]) == ({}, "tea", "gold")
    outcome = made.report["outcome"]
    assert (outcome["labelled"], outcome["judged"], outcome["accuracy"]) == (5, 5, 3 / 5)
    assert outcome["examples"] == {"gold": 8, "model": 0}


def test_gold_that_is_of_two_minds_leaves_a_text_to_the_votes(source, tmp_path):
    path = tmp_path / "two.jsonl"
    said = [("ann", "tea"), ("bob", "coffee")]
    path.write_text("\n".join(json.dumps({"text": "tea", "label": label, "who": who}) for who, label in said))
    two = ExamplesFile(path=str(path), annotator_field="who")
    make(config(source, votes=(two,), gold=("ann", "bob")), tmp_path / "labels")
    (row,) = [row for row in lines(tmp_path / "labels/drinks/examples.jsonl") if row["text"] == "tea"]
    assert (row["label"], row["by"]) == ("tea", "model")
    (row,) = [row for row in lines(tmp_path / "labels/drinks/votes.jsonl") if row["gold"]]
    assert row["gold"] == dict(said) and row["label"] == "tea"


def test_people_vote_beside_the_rules_and_agree_with_each_other(source, tmp_path):
    path, labels = tmp_path / "people.jsonl", {"ann": ["coffee", "tea", "coffee"], "bob": ["coffee", "tea", "tea"]}
    path.write_text("\n".join(
        json.dumps({"text": text, "label": label, "who": who})
        for who, said in labels.items() for text, label in zip(["tea or coffee", "water", "coffee"], said, strict=True)
    ))  # fmt: skip
    people = ExamplesFile(path=str(path), annotator_field="who")
    made = make(config(source, votes=(people,)), tmp_path / "labels")
    found = {row["text"]: row["label"] for row in lines(tmp_path / "labels/drinks/examples.jsonl")}
    assert found["tea or coffee"] == "coffee" and found["water"] == "tea"
    (pair,) = made.report["agreement"]["people"]["pairs"]
    assert (pair["first"], pair["second"], pair["items"], pair["equal"]) == ("ann", "bob", 3, 2 / 3)
    np.testing.assert_allclose(pair["kappa"], 0.4)  # 2/3 observed, 4/9 by chance
    assert made.report["annotators"]["ann"]["kind"] == "person"


def test_without_a_source_the_texts_are_those_of_the_people(source, tmp_path):
    gold = ExamplesFile(path=str(tmp_path / "gold.jsonl"))
    make(config(None, rules=(), votes=(gold,)), tmp_path / "labels")
    assert [row["label"] for row in lines(tmp_path / "labels/drinks/examples.jsonl")] == TRUTH


def test_the_same_input_makes_the_same_bytes_over_what_was_there(source, tmp_path):
    cfg = override(config(source), ["model.kind=dawid_skene"])
    one = make(cfg, tmp_path / "labels"), hashing.hash_folder(tmp_path / "labels/drinks")
    two = make(cfg, tmp_path / "labels"), hashing.hash_folder(tmp_path / "labels/drinks")
    assert one[1] == two[1] and {path.name for path in (tmp_path / "labels").iterdir()} == {"drinks", ".drinks.lock"}
    confusion = one[0].report["annotators"]["has tea"]["confusion"]
    np.testing.assert_allclose(sum(confusion["tea"].values()), 1, atol=1e-5)


def test_labels_below_the_source_are_no_texts_of_it(source, tmp_path):
    cfg = config(str(tmp_path), include=("texts.jsonl", "examples.jsonl"))
    assert make(cfg, tmp_path / "labels").report == make(cfg, tmp_path / "labels").report


def test_a_source_that_changes_while_it_is_read_is_told_and_nothing_is_written(source, tmp_path):
    change = lambda done, total, what: what == "label model" and Path(source).write_text(json.dumps({"text": "gone"}))
    with pytest.raises(UserError, match=r"source='.*' changed while it was read: run again when it stays"):
        make(config(source), tmp_path / "labels", change)
    assert [path.name for path in (tmp_path / "labels").iterdir()] == [".drinks.lock"]


def test_what_is_unsure_gets_no_label(source, tmp_path):
    made = make(
        config(source, least_confidence=1.0, rules=(*RULES, WordsRule(name="x", vote="coffee", words=("green",)))),
        tmp_path,
    )
    assert made.report["outcome"]["unlabelled"] == {"no votes": 1, "tie": 1, "unsure": 1}


def test_a_corpus_lends_its_notes_to_the_rules(tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    long = "All human beings are born free and equal in dignity and rights. "
    (tmp_path / "texts/a.txt").write_text(long * 3 + "Write to ann.smith@realmail.com.")
    (tmp_path / "texts/b.txt").write_text("Alle Menschen sind frei und gleich an Würde und Rechten geboren.")
    corpus = make_corpus(
        CorpusConfig(
            name="c",
            sources=(SourceConfig(name="t", path=str(tmp_path / "texts")),),
            quality=(),
            duplicates=DuplicatesConfig(near=None),
        ),
        tmp_path,
    )
    monkeypatch.setattr("jaxlm.corpus.labels.rules.measure", None)  # not to be called: they are noted
    rules = (
        MeasureRule(name="long", vote="a", measure="words", bounds=Bounds(least=30)),
        LanguageRule(name="german", vote="b", languages=("de",)),
    )
    make(LabelConfig(name="n", classes=("a", "b"), source=str(corpus.folder), rules=rules), tmp_path / "labels")
    found = {row["source"]: row for row in lines(tmp_path / "labels/n/examples.jsonl")}
    make(LabelConfig(name="m", classes=("a", "b"), source=str(corpus.documents), rules=rules), tmp_path / "labels")
    assert lines(tmp_path / "labels/m/examples.jsonl") == list(found.values()), "its documents are the corpus too"
    assert {source: row["label"] for source, row in found.items()} == {"t/a.txt": "a", "t/b.txt": "b"}
    assert "<EMAIL>" in found["t/a.txt"]["text"], "as the corpus writes it, under the id of what was collected"
    assert found["t/a.txt"]["id"] == Document.of((tmp_path / "texts/a.txt").read_text(), "").id


def test_a_sample_goes_to_people_and_their_answers_come_back(source, tmp_path):
    cfg = config(source, sample=SampleConfig(count=3))
    made = make(cfg, tmp_path / "labels")
    assert export(made, "label_studio", tmp_path / "out/tasks.json") == 3
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    for task in tasks:
        chosen = [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["coffee"]}}]
        task["annotations"] = [{"completed_by": 1, "result": chosen}]
    (tmp_path / "done.json").write_text(json.dumps(tasks))
    again = make(
        override(cfg, ["gold=['1']"]).model_copy(
            update={"votes": (LabelStudioFile(path=str(tmp_path / "done.json")),)}
        ),
        tmp_path / "labels",
    )
    assert again.report["outcome"]["gold"] == {"tea": 0, "coffee": 3}
    export(again, "argilla", tmp_path / "next.jsonl")
    assert not {row["id"] for row in lines(tmp_path / "next.jsonl")} & {task["data"]["id"] for task in tasks}


def test_the_least_clear_texts_come_first(source, tmp_path):
    made = make(config(source, sample=SampleConfig(count=2, by="least_confidence")), tmp_path / "labels")
    export(made, "argilla", tmp_path / "a.jsonl")
    first, second = lines(tmp_path / "a.jsonl")
    assert first["fields"]["text"] == "tea or coffee" and first["suggestions"] == {}
    assert second["suggestions"]["label"]["score"] == 1.0
    with pytest.raises(UserError, match=r"sample.by='least_confidence': no text has a vote"):
        rules = (WordsRule(name="x", vote="tea", words=("absent",)),)
        export(make(made.cfg.model_copy(update={"rules": rules}), tmp_path / "labels"), "argilla", tmp_path / "b.jsonl")


WRONG = [
    ({"rules": ()}, r"rules=\(\) and votes=\(\) leave nobody to vote"),
    ({"source": None}, r"source=None takes the texts of votes"),
    ({"rules": (*RULES, RULES[0])}, r"rules have the name 'has tea' twice"),
    ({"classes": ("tea", "water")}, r"rule 'has coffee' votes for 'coffee', which is none of classes="),
    ({"level": "interval"}, r"level='interval' measures how far classes=.* lie apart"),
]


@pytest.mark.parametrize("change, message", WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_a_config_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        config(**{"source": "x.jsonl", **change})


def test_mistakes_of_a_run_are_told_and_leave_what_was_there(source, tmp_path, caplog):
    make(config(source), tmp_path / "labels")
    before = hashing.hash_folder(tmp_path / "labels/drinks")
    with pytest.raises(
        UserError, match=r"gold names 'nobody', who does not vote: there are has tea, has coffee, green"
    ):
        make(config(source, gold=("nobody",)), tmp_path / "labels")
    with pytest.raises(UserError, match=r"source='.*nowhere' does not exist"):
        make(config(str(tmp_path / "nowhere")), tmp_path / "labels")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match=r"empty.txt' holds no text: 1 empty"):
        make(config(str(tmp_path / "empty.txt")), tmp_path / "labels")
    gold = ExamplesFile(path=str(tmp_path / "gold.jsonl"), annotator_field="label")
    with pytest.raises(UserError, match=r"gold.jsonl, line 1: a person is named 'tea', as a rule is"):
        make(
            config(source, rules=(WordsRule(name="tea", vote="tea", words=("x",)),), votes=(gold,)), tmp_path / "labels"
        )
    assert hashing.hash_folder(tmp_path / "labels/drinks") == before
    (tmp_path / "other.jsonl").write_text(json.dumps({"text": "elsewhere", "label": "tea"}))
    make(config(source, votes=(ExamplesFile(path=str(tmp_path / "other.jsonl")),)), tmp_path / "labels")
    assert "1 of 1 texts that people looked at are not in source=" in caplog.text


@pytest.mark.parametrize("name", [name for name in shipped() if name.startswith("label_")])
def test_a_shipped_config_of_labels_is_one_and_comes_back_from_json(name, tmp_path):
    cfg = load(name, LabelConfig)
    assert cfg.name == name
    (tmp_path / "saved.json").write_text(json.dumps(dump(cfg)))
    assert load(tmp_path / "saved.json", LabelConfig) == cfg
