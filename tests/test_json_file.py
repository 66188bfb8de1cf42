"""JSON that somebody else wrote is bounded before it is read."""

import os

import pytest

from jaxlm import json_file
from jaxlm.errors import UserError


@pytest.mark.parametrize(
    "content, words",
    [
        (b'{"a":' * 100_000, "nested too deeply|not valid JSON"),
        (b"[" * 100_000, "nested too deeply|not valid JSON"),
        (b"[" + b"[]," * 2_000_000 + b"[]]", r"holds some 4,000,00\d values, more than the 1,000,000"),
        (b"1" + b"0" * 5_000, "not valid JSON: Exceeds the limit"),
        (b"\xff", "not valid JSON"),
        (b"", "not valid JSON"),
    ],
    ids=["objects", "lists", "many", "digits", "no text", "nothing"],
)
def test_what_is_none_or_too_much_is_one_line(content, words, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        json_file.read(tmp_path / "a.json")
    assert "\n" not in str(error.value)


def test_commas_of_a_text_are_no_values():
    text = "one, two: [three], {four}. " * 100_000
    assert json_file.parse(b'{"text": "' + text.encode() + b' \\" , "}', "t")["text"].startswith("one")


def test_a_file_too_long_or_without_an_end_is_not_read(tmp_path):
    with open(tmp_path / "long.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="1,099,511,627,776 bytes, more than"):
        json_file.read(tmp_path / "long.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match="it is no file"):
        json_file.read(tmp_path / "pipe.json")
