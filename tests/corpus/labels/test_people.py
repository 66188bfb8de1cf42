"""Files of Label Studio, Argilla and jaxlm: what comes back is what was said, and what is broken is named."""

import json

import pytest

from jaxlm.corpus.document import Document
from jaxlm.corpus.labels import argilla, label_studio
from jaxlm.corpus.labels.config import ArgillaFile, ExamplesFile, LabelConfig, LabelStudioFile
from jaxlm.corpus.labels.given import answers
from jaxlm.corpus.labels.rules import Item
from jaxlm.errors import UserError

CLASSES = ("bad", "good")

# As https://labelstud.io/guide/task_format shows one, with a choice for its rectangle.
EXPORTED = {
    "id": 1, "created_at": "2021-03-09T21:52:49.513742Z", "updated_at": "2021-03-09T22:16:08.746926Z", "project": 83,
    "data": {"text": "a fine film"},
    "annotations": [{
        "id": "1001", "was_cancelled": False, "ground_truth": False, "created_at": "2021-03-09T22:16:08.728353Z",
        "updated_at": "2021-03-09T22:16:08.728378Z", "lead_time": 4.288, "result_count": 0, "task": 1,
        "completed_by": 10,
        "result": [{
            "from_name": "label", "id": "Dx_aB91ISN", "to_name": "text", "type": "choices",
            "value": {"choices": ["good"]},
        }],
    }],
    "predictions": [{
        "model_version": "model 1", "score": 0.7,
        "result": [{"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["bad"]}}],
    }],
}  # fmt: skip

# As Argilla 2's Record.to_dict makes one.
RECORD = {
    "id": "5f1a", "fields": {"text": "a fine film"}, "metadata": {"page": 3},
    "suggestions": {"label": {"value": "bad", "score": 0.7, "agent": "model 1"}},
    "responses": {"label": [{"value": "good", "user_id": "a1b2"}], "why": [{"value": "fun", "user_id": "a1b2"}]},
    "vectors": {}, "status": "completed", "_server_id": "0b7e",
}  # fmt: skip

# As its server answers, and as Argilla 1 wrote.
SERVED = {
    "id": "0b7e", "external_id": "5f1a", "status": "completed", "fields": {"text": "a fine film"},
    "suggestions": [{"question_name": "label", "value": "bad", "score": 0.7, "agent": "model 1"}],
    "responses": [
        {"user_id": "a1b2", "status": "submitted", "values": {"label": {"value": "good"}}},
        {"user_id": "c3d4", "status": "draft", "values": {"label": {"value": "bad"}}},
        {"user_id": "e5f6", "status": "discarded", "values": None},
    ],
}  # fmt: skip


def said(*files, classes=CLASSES) -> list[tuple]:
    """(id, annotator, label) of each answer."""
    found = answers(LabelConfig(name="n", classes=classes, votes=files))
    return [(answer.id, answer.annotator, answer.label) for answer in found]


def lines(path, *records) -> str:
    path.write_text("".join(one if isinstance(one, str) else json.dumps(one) + "\n" for one in records))
    return str(path)


def test_an_exported_task_is_one_vote_of_its_person(tmp_path):
    id_ = Document.of("a fine film", "").id
    assert said(LabelStudioFile(path=lines(tmp_path / "t.jsonl", EXPORTED))) == [(id_, "10", "good")]
    (tmp_path / "t.json").write_text(json.dumps([EXPORTED], indent=1))
    assert said(LabelStudioFile(path=str(tmp_path / "t.json"), prefix="x-")) == [(id_, "x-10", "good")]


def test_records_of_either_form_are_votes_of_those_who_submitted_one(tmp_path):
    id_ = Document.of("a fine film", "").id
    assert said(ArgillaFile(path=lines(tmp_path / "r.jsonl", RECORD))) == [(id_, "a1b2", "good")]
    assert said(ArgillaFile(path=lines(tmp_path / "s.jsonl", SERVED))) == [
        (id_, "a1b2", "good"), (id_, "c3d4", None), (id_, "e5f6", None),
    ]  # fmt: skip


def test_what_was_skipped_or_left_empty_is_no_vote(tmp_path):
    skipped = {**EXPORTED["annotations"][0], "was_cancelled": True}
    empty = {"completed_by": {"id": 7, "email": "ann@x.org"}, "result": []}
    truth = {**EXPORTED["annotations"][0], "ground_truth": True}
    path = lines(tmp_path / "t.jsonl", {**EXPORTED, "annotations": [skipped, empty, truth]})
    assert [(who, label) for _, who, label in said(LabelStudioFile(path=path))] == [
        ("10", None), ("ann@x.org", None), ("ground_truth", "good"),
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
@pytest.mark.parametrize(
    "write, file, people",
    [
        (label_studio.task, LabelStudioFile, ["1", "ann@x.org", "ground_truth"]),
        (argilla.record, ArgillaFile, ["a1b2", "c3d4", "e5f6"]),
    ],
    ids=["label_studio", "argilla"],
)
def test_what_is_written_comes_back(tmp_path, write, file, people, suffix):
    told = {
        "a fine film": dict(zip(people, ["good", "bad", "good"], strict=True)),
        "zwei\n„Männer“": {people[0]: "bad"},
    }
    ids = {text: Document.of(text + " before it was scrubbed", "").id for text in told}
    written = [write(Item(ids[text], text, "a.txt"), ("bad", 0.75), given, "m") for text, given in told.items()]
    path = tmp_path / f"tasks{suffix}"
    path.write_text(json.dumps(written) if suffix == ".json" else "\n".join(map(json.dumps, written)))
    assert said(file(path=str(path))) == [
        (ids[text], who, label) for text, given in told.items() for who, label in given.items()
    ]


def test_a_task_for_people_has_what_label_studio_asks_for():
    task = label_studio.task(Item("0" * 32, "a film", "a.txt"), ("bad", 0.75), {}, "m")
    assert task["data"] == {"text": "a film", "id": "0" * 32, "source": "a.txt"} and task["annotations"] == []
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("m", 0.75)
    assert prediction["result"] == [
        {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["bad"]}}
    ]
    assert "predictions" not in label_studio.task(Item("", "a film", ""), None, {}, "m")


def test_a_record_for_people_has_what_argilla_asks_for():
    record = argilla.record(Item("0" * 32, "a film", "a.txt"), ("bad", 0.75), {}, "m")
    assert (record["id"], record["fields"], record["status"]) == ("0" * 32, {"text": "a film"}, "pending")
    assert record["suggestions"] == {"label": {"value": "bad", "score": 0.75, "agent": "m"}}
    assert record["responses"] == {} and argilla.record(Item("", "a", ""), None, {}, "m")["suggestions"] == {}


def test_labelled_examples_are_votes_too(tmp_path):
    path = lines(tmp_path / "ann.jsonl", {"text": "a", "label": "good"}, {"text": "b", "label": None})
    assert [(who, label) for _, who, label in said(ExamplesFile(path=path))] == [("ann", "good"), ("ann", None)]
    path = lines(tmp_path / "all.jsonl", {"t": "a", "y": 1, "who": "bob"})
    file = ExamplesFile(path=path, text_field="t", label_field="y", annotator_field="who")
    assert [(who, label) for _, who, label in said(file, classes=("0", "1"))] == [("bob", "1")]


def broken(**change) -> dict:
    return {**EXPORTED, "annotations": [{**EXPORTED["annotations"][0], **change}]}


def choosing(*choices) -> list[dict]:
    return [{"from_name": "label", "type": "choices", "value": {"choices": list(choices)}}]


BROKEN = [
    (LabelStudioFile, json.dumps(EXPORTED)[:100], r"line 2: not JSON .*mend or remove the line"),
    (LabelStudioFile, ["a list"], r"line 2: a list, but must be an object"),
    (LabelStudioFile, {"text": "flat"}, r"line 2: no 'data', it has 'text', but must have 'data' of type dict"),
    (LabelStudioFile, {"data": {"body": "x"}}, r"line 2: no 'text', it has 'body'"),
    (LabelStudioFile, {"data": {"text": " "}}, r"line 2: 'text' is empty: remove the record"),
    (LabelStudioFile, {"data": {"text": "x"}, "annotations": {}}, r"line 2: 'annotations' is a dict"),
    (LabelStudioFile, broken(completed_by=None), r"line 2, annotation 1: 'completed_by' is None, but must be"),
    (LabelStudioFile, broken(result=choosing("god")), r"line 2, annotation 1: 'god' is none of classes: 'bad', 'good'"),
    (LabelStudioFile, broken(result=choosing("bad", "good")), r"line 2, annotation 1: 2 choices.*remove all but one"),
    (LabelStudioFile, broken(result=[{"from_name": "label", "type": "choices"}]), r"annotation 1: no 'value'"),
    (ArgillaFile, {"fields": "x"}, r"line 2: 'fields' is a str, but must have 'fields' of type dict"),
    (ArgillaFile, {**RECORD, "responses": "x"}, r"line 2: 'responses' is a str, but must be an object or a list"),
    (ArgillaFile, {**RECORD, "responses": {"label": [{"value": "good"}]}}, r"line 2, response 1: 'user_id' is None"),
    (ArgillaFile, {**RECORD, "responses": {"label": [{"value": ["good"], "user_id": "a"}]}}, r"is no single label"),
    (ArgillaFile, {**RECORD, "responses": {"label": ["good"]}}, r"line 2, response 1: a str, but must be an object"),
    (ExamplesFile, {"text": "x", "label": "god"}, r"line 2: 'god' is none of classes"),
]  # fmt: skip


@pytest.mark.parametrize("kind, record, message", BROKEN, ids=[str(n) for n in range(len(BROKEN))])
def test_what_is_broken_is_named_with_its_line_and_its_mend(tmp_path, kind, record, message):
    fine = {"text": "x", "label": "good"} if kind is ExamplesFile else EXPORTED if kind is LabelStudioFile else RECORD
    with pytest.raises(UserError, match=message):
        said(kind(path=lines(tmp_path / "votes.jsonl", fine, record)))


def test_a_list_that_is_cut_short_is_named_with_its_line(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps([EXPORTED, EXPORTED], indent=1)[:-30])
    with pytest.raises(UserError, match=r"t.json, line 102: not JSON .*export the file again"):
        said(LabelStudioFile(path=str(tmp_path / "t.json")))
    (tmp_path / "t.json").write_text(json.dumps(EXPORTED))
    with pytest.raises(UserError, match=r"t.json: a dict, but a .json file holds one list"):
        said(LabelStudioFile(path=str(tmp_path / "t.json")))


@pytest.mark.parametrize(
    "file, message",
    [
        (lambda path: LabelStudioFile(path=lines(path, EXPORTED), choices="mood"), r"nobody chose of 'mood'.*'label'"),
        (
            lambda path: ArgillaFile(path=lines(path, RECORD), question="mood"),
            r"nobody answered 'mood'.*'label', 'why'",
        ),
    ],
    ids=["label_studio", "argilla"],
)
def test_another_name_of_the_question_is_told(tmp_path, file, message):
    with pytest.raises(UserError, match=message):
        said(file(tmp_path / "votes.jsonl"))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"votes: 'nowhere.jsonl' does not exist"):
        said(LabelStudioFile(path="nowhere.jsonl"))
