"""A line is a document; what is wrong with a line is said with its number."""

import gzip
import json

import pytest
import zstandard

from jaxlm.corpus import jsonl
from jaxlm.corpus.document import Tally
from jaxlm.corpus.formats.unpack import LINE_BYTES
from jaxlm.errors import UserError

TEXTS = ["one", "two\nlines\r\n", "tab\t\0 nul \u2028", "中文 😀", "x" * 3_000_000]
PLAIN = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)).encode()


def read(path, data: bytes, tally=None, field="text"):
    path.write_bytes(data)
    return list(jsonl.read(path, path.name, field, tally or Tally()))


@pytest.mark.parametrize(
    "name, pack",
    [
        ("a.jsonl", bytes),
        ("a.jsonl.gz", gzip.compress),
        ("a.jsonl.zst", zstandard.compress),
        ("many.jsonl.gz", lambda data: gzip.compress(data[:5_000]) + gzip.compress(data[5_000:])),
        ("many.jsonl.zst", lambda data: zstandard.compress(data[:5_000]) + zstandard.compress(data[5_000:])),
    ],
)
def test_every_line_comes_back_from_every_packing(name, pack, tmp_path):
    found = read(tmp_path / name, pack(PLAIN))
    assert [document.text for document in found] == TEXTS
    assert [document.source for document in found] == [f"{name}:{i}" for i in range(1, 6)]


@pytest.mark.parametrize("pack, name", [(gzip.compress, "a.jsonl.gz"), (zstandard.compress, "a.jsonl.zst")])
def test_a_packed_file_cut_short_is_named(pack, name, tmp_path):
    whole = pack(PLAIN)
    for size in (1, 3, len(whole) // 2, len(whole) - 1):
        with pytest.raises(UserError, match=rf"{name}: damaged or cut short"):
            read(tmp_path / name, whole[:size])


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_file_that_is_not_packed_as_its_name_says_is_named(name, tmp_path):
    with pytest.raises(UserError, match="damaged or cut short"):
        read(tmp_path / name, PLAIN)


def test_the_last_line_needs_no_newline_and_blank_lines_do_not_count(tmp_path):
    found = read(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"text":"a"}\r\n\n  \n{"text":"b"}')
    assert [(d.text, d.source) for d in found] == [("a", "a.jsonl:1"), ("b", "a.jsonl:4")]


@pytest.mark.parametrize(
    "line, message",
    [
        (b'{"text": "a"', r"line 2: not JSON .*mend or remove the line"),
        (b"plain words", r"line 2: not JSON"),
        (b"[" * 200_000, r"line 2: not JSON"),
        (b'["a"]', r"line 2: a list, but each line must be an object with 'text'"),
        (b'{"body": "a", "id": 1}', r"line 2: no field 'text'; set data.text_field .* 'body', 'id'"),
        (b'{"text": 3}', r"line 2: 'text' is a int, but must be a string or null"),
    ],
)
def test_a_wrong_line_is_named_with_the_mend(line, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.jsonl", b'{"text": "fine"}\n' + line + b"\n")


def test_null_and_empty_texts_are_skipped_and_counted(tmp_path):
    tally = Tally()
    assert [d.text for d in read(tmp_path / "a", b'{"text":null}\n{"text":""}\n{"text":"a"}\n', tally)] == ["a"]
    assert tally.skipped == {"empty": 2} and tally.first == {"empty": "a:1"}


def test_half_surrogate_pairs_are_replaced_and_counted(tmp_path):
    tally = Tally()
    found = read(tmp_path / "a", b'{"text":"a\\ud800b \\ud83d\\ude00", "score": NaN}\n', tally)
    assert found[0].text == "a\ufffdb 😀" and tally.replaced == 1


def test_a_line_in_another_encoding_is_skipped_and_counted(tmp_path):
    tally = Tally()
    data = '{"text": "café"}\n'.encode("latin-1") + '{"text": "café"}\n'.encode()
    assert [d.text for d in read(tmp_path / "a", data, tally)] == ["café"]
    assert [n for reason, n in tally.skipped.items() if "not UTF-8" in reason] == [1]


def test_where_a_record_comes_from_is_marked(tmp_path):
    (document,) = read(
        tmp_path / "a", b'{"text": "a", "url": "http://a\\ud800", "license": "CC0", "date": 2020, "id": 1}\n'
    )
    assert document.marks == {"url": "http://a?", "licence": "CC0", "date": "2020"}


def test_a_line_too_long_for_memory_is_told_and_the_next_is_read(tmp_path):
    data = b'{"text": "' + b"x" * LINE_BYTES + b'"}\n{"text": "b"}\n'
    tally = Tally(budget=1.0)
    assert [d.text for d in read(tmp_path / "a", data, tally)] == ["b"]
    assert tally.bad_shown == [f"{tmp_path / 'a'}, line 1: longer than 64 MiB: split or remove the line"]


def test_another_field_may_hold_the_text(tmp_path):
    assert read(tmp_path / "a", b'{"body": "words"}', field="body")[0].text == "words"
