"""Records in one .json file."""

import json

import pytest

from jaxlm.corpus.collect import documents
from jaxlm.corpus.document import Tally
from jaxlm.corpus.formats.unpack import LINE_BYTES
from jaxlm.data.dataset import DataConfig
from jaxlm.errors import UserError


def read(tmp_path, data: object, **more) -> list:
    path = tmp_path / "texts.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return list(documents(DataConfig(source=str(path), length=8, batch=1, **more)))


def test_each_object_with_the_field_is_a_document_at_any_depth(tmp_path):
    nested = {"books": [{"chapters": [{"text": "one"}, {"text": ["two", "three"], "title": "T"}]}, {"text": "four"}]}
    found = read(tmp_path, nested)
    assert [document.text for document in found] == ["one", "two\nthree", "four"]
    assert [document.source for document in found] == [f"texts.json:{n}" for n in (1, 2, 3)]
    assert found[1].marks == {"title": "T"}
    assert [document.text for document in read(tmp_path, [{"body": "a"}], text_field="body")] == ["a"]


@pytest.mark.parametrize("data", ['{"name": "text"}', "[1, 2]", "{not json", "// a\n{}", "[" * 5000, "[]"])
def test_a_file_without_such_an_object_is_one_text(tmp_path, data):
    assert [document.text for document in read(tmp_path, data)] == [data]


@pytest.mark.parametrize(
    "data, reason",
    [
        ('[{"text": "a"}, {"tex', r"not JSON \(.*\): mend it or copy it again"),
        ('{"rows": [{"text" : "a"}', r"not JSON \(.*name it texts\.json\.txt, or leave it out with data\.include"),
        ('[{"a": "b"}]', "records of which none has a field 'text': set data.text_field to the field"),
        (json.dumps({"data": [{"body": "tea"}] * 100_000}), "records of which none has a field 'text'"),
    ],
)
def test_records_that_are_broken_or_lack_the_field_are_bad(tmp_path, data, reason):
    with pytest.raises(UserError, match=rf"texts\.json: {reason}"):
        read(tmp_path, data)
    tally = Tally(budget=1.0)
    config = DataConfig(source=str(tmp_path / "texts.json"), length=8, batch=1)
    assert list(documents(config, tally)) == [] and tally.bad_records == 1


def test_a_file_too_long_to_be_read_at_once_is_bad_and_no_text(tmp_path):
    with pytest.raises(UserError, match=r"texts\.json: longer than 64 MiB, .*: write it as \.jsonl, a record a line"):
        read(tmp_path, '[{"text": "tea"}]' + " " * LINE_BYTES)


def test_a_mark_of_byte_order_and_what_only_python_reads_do_no_harm(tmp_path):
    found = read(tmp_path, '\ufeff[{"text": "a", "n": NaN}, {"text": "\\ud800"}]')
    assert [document.text for document in found] == ["a", "\ufffd"]


def test_a_record_that_is_no_text_is_told_with_its_number(tmp_path):
    with pytest.raises(UserError, match=r"texts\.json, record 2: 'text' is a int, but must be a string"):
        read(tmp_path, [{"text": "a"}, {"text": 3}])
    with pytest.raises(UserError, match=r"a list of other things than strings"):
        read(tmp_path, [{"text": ["a", 3]}])


def test_empty_texts_are_counted(tmp_path):
    (tmp_path / "texts.json").write_text('[{"text": ""}, {"text": null}, {"text": []}, {"text": "a"}]')
    tally = Tally()
    config = DataConfig(source=str(tmp_path), length=8, batch=1)
    assert [document.text for document in documents(config, tally)] == ["a"]
    assert tally.skipped == {"empty": 3}
