"""Records in one .json file."""

import json

import pytest

from jaxlm.corpus.collect import documents
from jaxlm.corpus.document import Tally
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


@pytest.mark.parametrize("data", ['{"name": 1}', "[1, 2]", '[{"a": "b"}]', "{not json", '[{"text": "a"}', "[" * 5000])
def test_a_file_without_such_an_object_is_one_text(tmp_path, data):
    assert [document.text for document in read(tmp_path, data)] == [data]


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
