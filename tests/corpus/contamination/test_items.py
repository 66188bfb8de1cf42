"""Evaluation sets: every kind of file gives the same items, and what is wrong with one is told."""

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.contamination.index import index
from jaxlm.corpus.contamination.items import files, items
from jaxlm.errors import UserError

RECORDS = [
    {"question": "Who wrote it?", "answers": {"text": ["Jane", "Jane Austen"]}},
    {"question": "And, when?", "answers": {"text": []}},
]


def read(path: Path, *fields: str) -> list[str]:
    one = EvaluationSet(name="test", path=str(path), fields=fields or ("question",))
    return [item.text for item in items(one, files(one), Counter())]


def table(path: Path, separator: str) -> None:
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, ["question"], delimiter=separator)
        rows.writeheader()
        rows.writerows({"question": record["question"]} for record in RECORDS)


WRITERS = {
    "test.jsonl": lambda path: path.write_text("".join(json.dumps(one) + "\n" for one in RECORDS)),
    "test.jsonl.gz": lambda path: path.write_bytes(gzip.compress("\n".join(map(json.dumps, RECORDS)).encode())),
    "test.json": lambda path: path.write_text(json.dumps(RECORDS)),
    "test.parquet": lambda path: pq.write_table(pa.Table.from_pylist(RECORDS), path),
    "test.csv": lambda path: table(path, ","),
    "test.tsv": lambda path: table(path, "\t"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_record_is_an_item_whatever_the_file(name, tmp_path):
    WRITERS[name](tmp_path / name)
    assert read(tmp_path / name) == ["Who wrote it?", "And, when?"]


def test_a_line_of_plain_text_is_an_item(tmp_path):
    (tmp_path / "test.txt").write_text("Who wrote it?\n\nAnd, when?\n")
    assert read(tmp_path / "test.txt", "text") == ["Who wrote it?", "And, when?"]


def test_fields_are_put_together_and_lists_below_a_name_too(tmp_path):
    WRITERS["test.jsonl"](tmp_path / "test.jsonl")
    assert read(tmp_path / "test.jsonl", "question", "answers.text")[0] == "Who wrote it?\nJane\nJane Austen"


def test_each_reference_in_a_list_is_an_item_where_it_is_all_that_is_asked_for(tmp_path):
    WRITERS["test.jsonl"](tmp_path / "test.jsonl")
    assert read(tmp_path / "test.jsonl", "answers.text") == ["Jane", "Jane Austen"]


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    (tmp_path / "b.txt").write_text("second\n")
    (tmp_path / "a.txt").write_text("first\n")
    (tmp_path / "README.md").write_text("not an item\n")
    assert read(tmp_path, "text") == ["first", "second"]


BROKEN = {
    "is no file that can be read": ("test.pdf", b"%PDF", r"has no file that ends in .jsonl.*holds test.pdf"),
    "is empty": ("test.jsonl", b"", r"is empty: name another one"),
    "lacks the field": ("test.jsonl", b'{"prompt": "x"}\n', r"'question' of any of its 1 records .*some of 'prompt'"),
    "is no JSON": ("test.json", b"{", r"test.json: not JSON"),
    "is no list": ("test.json", b'{"data": []}', r"a dict, but must be a list of records"),
    "holds no objects": ("test.jsonl", b"3\n", r"record 1: a int, but must be an object"),
    "has a broken line": ("test.jsonl", b'{"question": "x"}\n{"questi', r"test.jsonl, line 2: not JSON"),
    "is cut short": ("test.parquet", b"PAR1", r"test.parquet: damaged or cut short"),
    "is no text": ("test.jsonl", b"\xd0\xe9\xf1" * 50, r"test.jsonl, line 1: not UTF-8.*: save it as UTF-8 text"),
    "has a line that is no text": ("test.jsonl", b'{"question": "x"}\n\0\1\2\n', r"test.jsonl, line 2: binary"),
    "is binary": ("test.csv", b"\x89PNG\0\0\0", r"test.csv: .*save it as UTF-8"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_set_is_refused_that(what, tmp_path):
    name, content, message = BROKEN[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"(?s)evaluation set 'test': .*{message}"):
        read(tmp_path / name)


def test_a_set_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match=r"evaluation set 'test': .*does not exist"):
        read(tmp_path / "missing.jsonl")


def test_a_set_of_short_items_alone_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "test.txt").write_text("Yes\nNo\n" + "0 1 2 3 4 5 6 7 8 9\n")
    one = EvaluationSet(name="test", path=str(tmp_path / "test.txt"), fields=("text",))
    with pytest.raises(UserError, match=r"none of the 3 records .* 2 are shorter .*, 1 repeat few .*lower shortest"):
        index(tmp_path, [(one, files(one))], ContaminationConfig(sets=(one,)))


def test_rules_between_the_numbers_of_a_config_are_kept(tmp_path):
    one = EvaluationSet(name="test", path="x")
    with pytest.raises(ValueError, match=r"shortest=8 is above words=5"):
        ContaminationConfig(sets=(one,), words=5)
    with pytest.raises(ValueError, match=r"sets have the name 'test' twice"):
        ContaminationConfig(sets=(one, one))
