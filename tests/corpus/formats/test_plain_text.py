"""A text is one document, a very long one several, and what is no text costs no more than its first bytes."""

import gzip
import random
import resource

import pytest
import zstandard

from jaxlm.corpus import jsonl
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats import plain_text


def read(path, data: bytes) -> tuple[list[Document], Tally]:
    path.write_bytes(data)
    tally = Tally(budget=1.0)
    return list(plain_text.read(path, path.name, tally)), tally


@pytest.mark.parametrize("name, pack", [("a.txt", bytes), ("a.txt.gz", gzip.compress)])
@pytest.mark.parametrize(
    "text, pieces",
    [
        ("para one\nand\n\npara two\n\nthree", ["para one\nand\n\n", "para two\n\nthree"]),
        ("line one\r\n\r\nline two\r\nthree", ["line one\r\n\r\n", "line two\r\nthree"]),
        ("a line of it\nanother line", ["a line of it\n", "another line"]),
        ("many words without an end", ["many words without ", "an end"]),
        ("茶" * 10, ["茶" * 6, "茶" * 4]),
        ("x" * 45, ["x" * 20, "x" * 20, "x" * 5]),
        ("x" * 20, ["x" * 20]),
    ],
)
def test_a_long_text_is_cut_where_something_ends_and_nothing_is_lost(name, pack, text, pieces, tmp_path, monkeypatch):
    monkeypatch.setattr(plain_text, "PIECE_BYTES", 20)
    found, tally = read(tmp_path / name, pack(text.encode()))
    assert [document.text for document in found] == pieces and not tally.skipped
    offsets = [len("".join(pieces[:n]).encode()) for n in range(len(pieces))]
    sources = [f"{name}:{offset}" for offset in offsets]
    assert [document.source for document in found] == (sources if len(pieces) > 1 else [name])


def test_a_piece_that_is_no_text_is_left_out_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_text, "PIECE_BYTES", 20)
    found, tally = read(tmp_path / "a.gz", gzip.compress(b"words and more\n\n" + bytes(15) + b"\nlast words here"))
    assert [document.text for document in found] == ["words and more\n\n", "last words here"]
    assert tally.first == {"binary": "a.gz:16"}


def test_a_large_image_is_not_read(tmp_path):
    with open(tmp_path / "disk.img", "wb") as file:
        file.truncate(1 << 40)
    before, tally = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, Tally()
    assert list(plain_text.read(tmp_path / "disk.img", "disk.img", tally)) == [] and tally.skipped == {"binary": 1}
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < 32 << 20


@pytest.mark.parametrize("name, pack", [("a.txt", bytes), ("a.txt.gz", gzip.compress)])
def test_an_empty_file_is_counted(name, pack, tmp_path):
    assert read(tmp_path / name, pack(b""))[1].skipped == {"empty": 1}


@pytest.mark.parametrize("suffix, pack", [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_packed_text_cut_short_keeps_what_comes_before_as_lines_do(suffix, pack, tmp_path, monkeypatch):
    words = [random.Random(n).randbytes(90).hex() for n in range(900)]
    text = "".join(f'{{"text": "{word} {word}"}}\n' for word in words)
    cut = pack(text.encode())[:-10]
    (tmp_path / f"a.jsonl{suffix}").write_bytes(cut)
    lines = list(jsonl.read(tmp_path / f"a.jsonl{suffix}", "a", "text", Tally(budget=1.0)))
    for most, several in ((plain_text.PIECE_BYTES, False), (90_000, True)):
        monkeypatch.setattr(plain_text, "PIECE_BYTES", most)
        found, tally = read(tmp_path / f"a.txt{suffix}", cut)
        kept = "".join(document.text for document in found)
        assert (len(found) > 1) == several and tally.skipped == {"damaged or cut short": 1}
        assert text.startswith(kept) and kept[-1].isspace() and kept.count("\n") == len(lines) > 0


@pytest.mark.parametrize("text, kept", [("茶" * 9, "茶" * 9), ("words\n" + "茶" * 9, "words\n" + "茶" * 9), ("", "")])
def test_a_text_cut_within_a_character_loses_no_more_than_that(text, kept, tmp_path):
    member = gzip.compress(text.encode() + "茶".encode()[:2] * bool(text))
    found, tally = read(tmp_path / "a.txt.gz", member + gzip.compress(b"")[:5])
    assert [document.text for document in found] == [kept] * bool(kept)
    assert tally.skipped == {"damaged or cut short": 1} and not tally.replaced
