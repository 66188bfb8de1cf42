"""`jaxlm label`: what it prints, the folder it fills, and mistakes in a line."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def drinks(tmp_path):
    texts = ["green tea", "tea", "coffee", "tea or coffee", "water"]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    rules = [{"kind": "words", "name": f"has {name}", "vote": name, "words": [name]} for name in ("tea", "coffee")]
    cfg = {
        "kind": "labels", "name": "drinks", "classes": ["tea", "coffee"], "source": "texts.jsonl", "rules": rules,
        "model": {"kind": "majority"},
    }  # fmt: skip
    (tmp_path / "drinks.json").write_text(json.dumps(cfg))
    return tmp_path / "drinks.json"


def test_labelling_prints_its_file_and_what_became_of_the_texts(jaxlm, drinks, tmp_path):
    answer = jaxlm("label", drinks)
    assert answer.code == 0 and answer.out.splitlines()[0] == "labels/drinks/examples.jsonl"
    assert (tmp_path / "labels/drinks/examples.jsonl").is_file()
    assert "3 of 5 texts have a label; without: 1 no votes, 1 tie" in answer.out
    assert "has coffee  rule  coffee        40.0%     20.0%      20.0%" in answer.out
    assert "agreement of rules on 1 texts with several votes: alpha 0.000" in answer.out


def test_labelling_can_answer_in_json(jaxlm, drinks, tmp_path):
    told = jaxlm("label", drinks, "--labels-dir", tmp_path / "else", "--json").json
    assert told["examples"] == str(tmp_path / "else/drinks/examples.jsonl")
    assert told["outcome"]["labelled"] == 3 and told["annotators"]["has tea"]["coverage"] == 0.6


def test_labelling_says_how_many_examples_are_by_gold(jaxlm, drinks):
    answer = jaxlm("label", drinks, "--set", "gold=['has coffee']")
    assert "4 examples, 2 with the class that gold knows" in answer.out


def test_a_sample_is_written_for_people(jaxlm, drinks, tmp_path):
    answer = jaxlm("label", drinks, "--export", "label_studio", "tasks.json", "--set", "sample.count=2")
    assert "tasks.json: 2 texts for people to look at" in answer.out and '<Choice value="tea"/>' in answer.out
    assert len(json.loads((tmp_path / "tasks.json").read_text())) == 2
    told = jaxlm("label", drinks, "--export", "argilla", "records.jsonl", "--json").json
    assert told["exported"] == {"file": "records.jsonl", "texts": 5}


@pytest.mark.parametrize(
    "options, message",
    [
        (("--export", "label_studi", "x"), "--export 'label_studi': did you mean 'label_studio'?"),
        (("--export", "argilla", "x.csv"), "--export argilla x.csv: its name must end in .jsonl or .json"),
        (("--set", "model.kind=mayority"), "did you mean 'majority'?"),
        (("--set", "source=nowhere"), "source='nowhere' does not exist"),
        (("--set", "include=['*.md']", "--set", "source=."), "no text: there is no file: name"),
        (("--set", "text_field=body"), "set text_field to one of its fields: 'text'"),
        (("--set", "rules=[{'kind': 'word'}]"), "did you mean 'words'?"),
    ],
    ids=["program", "suffix", "model", "source", "nothing", "field", "rule"],
)
def test_a_mistake_is_one_message(jaxlm, drinks, options, message):
    answer = jaxlm("label", drinks, *options)
    assert (answer.code, answer.out) == (2, "") and message in answer.err and "Traceback" not in answer.err
    assert not Path("labels/drinks").exists()
