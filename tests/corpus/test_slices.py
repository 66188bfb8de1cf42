"""Slices give what the whole file gives, in the same words, also where it is damaged."""

import bz2
import gzip
import io
import itertools
import json
import random
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from jaxlm.corpus import collect, slices
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import WHOLE, File, Slice
from jaxlm.corpus.formats import unpack
from jaxlm.errors import UserError
from tests.corpus.formats.test_warc import arc
from tests.corpus.formats.test_wikipedia import export, page
from tests.faults import hostile

PART = 4 << 10


def lines() -> bytes:
    texts = ["one", "", "two\nlines", "中文 \ud800", "x" * 300, None, 'a 5" disk']
    found = [json.dumps({"text": texts[i % 7], "url": f"http://a/{i}"}).encode() for i in range(400)]
    found[7], found[150], found[300] = b"", b"{not json", b'{"body": 1}'
    return b"\xef\xbb\xbf" + b"\n".join(found)


def rows() -> bytes:
    fields = ['"two\nlines, and a comma"', "plain", 'a 5" disk', '""', '"a ""quoted"" word"', "x" * 200]
    found = [f"{fields[i % 6]},http://a/{i}" for i in range(500)]
    found[100], found[300], found[400], found[401] = '"wrong"x,1', "three,fields,here", '"a"b"c"', ""
    found[150:152], found[200:210] = ['"open,x', "plain,x"], ['x","z'] * 10
    return "\n".join(["text,url", *found]).encode()


def records(pack: Callable[[bytes], bytes] = bytes) -> bytes:
    bodies = [hostile.PAGE.replace(b"Tea", b"Tea %d" % i) for i in range(60)]
    found = [
        hostile.response(body, *(["Content-Type: image/png"] if i % 9 == 5 else [])) for i, body in enumerate(bodies)
    ]
    return b"".join(pack(record) for record in found)


def arcs(pack: Callable[[bytes], bytes] = bytes) -> bytes:
    found = [arc(f"http://example.org/{i}", b"words %d " % i * 30) for i in range(60)]
    return b"".join(pack(record) for record in [arc("filedesc://a.arc", b"1 0 x\n"), *found])


def pages() -> bytes:
    talk = "<ns>1</ns>"
    return export(
        *[page(f"Grüner Tee {i}", f"Text {i} of a page. " * 9, talk if i % 7 == 3 else "<ns>0</ns>") for i in range(80)]
    )


def streams() -> bytes:
    """As Wikipedia's multistream dumps are: what describes the site, and every few pages, packed for themselves."""
    head, *found = pages().split(b"<page>")
    some = [b"".join(b"<page>" + one for one in found[i : i + 7]) for i in range(0, len(found), 7)]
    return b"".join(map(bz2.compress, [head, *some]))


def packed_lines(pack: Callable[[bytes], bytes]) -> bytes:
    """In members some of which end within a line."""
    data, rng = lines(), random.Random(0)
    text = [json.dumps({"text": "".join(rng.choices("etaoin shrdlu", k=200))}).encode() + b"\n" for _ in range(300)]
    some = [b"".join(text[i : i + 7]) for i in range(0, 300, 7)]
    return b"".join([*map(pack, some), pack(data[:5_000]), pack(data[5_000:] + b"\n"), *map(pack, some), bytes(9)])


TEXTS = [f"text {i} " * 20 for i in range(300)]
FILES: dict[str, bytes] = {
    "a.jsonl": lines(), "a.csv": rows(), "a.xml": pages(),
    "a.xml.bz2": streams(), "a.warc": records(),
    "a.warc.gz": records(gzip.compress), "a.wet.zst": records(zstandard.compress),
    "a.arc": arcs(), "a.arc.gz": arcs(gzip.compress),
    "a.jsonl.gz": packed_lines(gzip.compress), "a.jsonl.zst": packed_lines(zstandard.compress)[:-9],
    "a.parquet": hostile.parquet(TEXTS, rows=40),
    "a.arrow": hostile.arrow(TEXTS, stream=False, rows=20), "b.arrow": hostile.arrow(TEXTS, stream=True, rows=20),
}  # fmt: skip


def given(path, parts: list[Slice]) -> tuple[list[Document], Tally]:
    tally = Tally(budget=1.0)
    file = File(path.name, path, path.stat().st_size)
    return [doc for part in parts for doc in collect.read(file._replace(slice=part), "text", tally)], tally


def cut(path, part_bytes: int = PART) -> list[Slice]:
    return slices.cut(File(path.name, path, path.stat().st_size), part_bytes)


@pytest.mark.parametrize("name", FILES)
def test_slices_give_what_the_whole_file_gives(name, tmp_path):
    (tmp_path / name).write_bytes(FILES[name])
    whole = given(tmp_path / name, [WHOLE])
    for part_bytes in (1 << 10, PART):
        parts = cut(tmp_path / name, part_bytes)
        assert parts[0].begin == 0 and (len(parts) > 1 or part_bytes == PART)
        assert all(before.end == after.begin for before, after in itertools.pairwise(parts))
        assert given(tmp_path / name, parts) == whole
    assert len(whole[0]) > 40


def damaged(data: bytes, count: int) -> list[bytes]:
    return [*hostile.flips(data, seed=1, count=count), *hostile.cuts(data, seed=2, count=count)[-count - 2 :]]


@pytest.mark.parametrize(
    "name, count",
    [*((name, 1) for name in FILES), *(pytest.param(name, 60, marks=pytest.mark.slow) for name in FILES)],
)
def test_slices_of_a_damaged_file_give_what_it_gives_and_the_same_reasons(name, count, tmp_path):
    for changed in damaged(FILES[name], count):
        (tmp_path / name).write_bytes(changed)
        try:
            whole = given(tmp_path / name, [WHOLE])
        except UserError:  # the name of the column was hit
            continue
        assert given(tmp_path / name, cut(tmp_path / name, 1 << 10)) == whole


def test_a_slice_is_read_without_what_comes_before(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(FILES["a.jsonl"])
    last = cut(tmp_path / "a.jsonl")[-1]
    blank = bytes(last.begin) + FILES["a.jsonl"][last.begin :]
    whole = given(tmp_path / "a.jsonl", [last])
    (tmp_path / "a.jsonl").write_bytes(blank)
    assert given(tmp_path / "a.jsonl", [last]) == whole != ([], Tally(budget=1.0))


@pytest.mark.parametrize("name", ["a.txt", "a.html", "a.jsonl.gz", "b.xml", "c.csv", "a.parquet.gz", "cache-1.arrow"])
def test_what_cannot_be_cut_stays_one(name, tmp_path):
    one_line = b"<a><page>" + b"x" * 100_000 + b"</page></a>"
    data = {"a.jsonl.gz": gzip.compress(lines()), "b.xml": one_line * 3, "cache-1.arrow": FILES["a.arrow"]}
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / name).write_bytes(data.get(name, one_line))
    assert cut(tmp_path / name) == [WHOLE]


def test_dictionaries_of_arrow_hold_for_all_that_follows(tmp_path):
    file, batch = io.BytesIO(), pa.record_batch({"text": pa.array(TEXTS).dictionary_encode()})
    with pa.ipc.new_stream(file, batch.schema) as writer:
        for _ in range(30):
            writer.write_batch(batch)
    (tmp_path / "a.arrow").write_bytes(file.getvalue())
    assert cut(tmp_path / "a.arrow") == [WHOLE]


def test_a_changed_end_leaves_the_slices_before_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(FILES["a.jsonl"])
    facts = found(path)
    path.write_bytes(FILES["a.jsonl"] + b'\n{"text": "more"}')
    after = found(path)
    assert after["digests"][:-1] == facts["digests"][:-1] and after["digests"][-1] != facts["digests"][-1]
    assert len(set(after["digests"])) == len(after["slices"]) > 2


def test_other_columns_are_another_slice(tmp_path):
    columns = [["text", "url"], ["body", "url"]]
    for name, write in (("a.csv", rows), ("a.parquet", None)):
        digests = []
        for first, _ in columns:
            renamed = pa.table({first: TEXTS})
            data = rows().replace(b"text,", first.encode() + b",", 1) if write else written(renamed)
            (tmp_path / name).write_bytes(data)
            digests.append(found(tmp_path / name)["digests"])
        assert not set(digests[0]) & set(digests[1])


def written(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=40)
    return file.getvalue()


def found(path) -> dict:
    file = File(path.name, path, path.stat().st_size)
    return slices.find(path.parent, file, PART, slices.digest([file]))


def test_a_file_that_changed_since_it_was_looked_at_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(FILES["a.jsonl"])
    file = File(path.name, path, path.stat().st_size)
    whole, (first, *_, last) = slices.digest([file]), cut(path)
    named = {part: slices.digest([file._replace(slice=part)]) for part in (first, last)}
    path.write_bytes(FILES["a.jsonl"][:-1])
    with pytest.raises(UserError, match=r"a\.jsonl changed while it was read: run again when it stays as it is"):
        slices.find(tmp_path, file, PART, whole)
    with slices.unchanged([file._replace(slice=first)], named[first]):
        pass
    with pytest.raises(UserError, match="changed"), slices.unchanged([file._replace(slice=last)], named[last]):
        raise UserError("what comes of it")


def test_a_bomb_is_refused_in_slices_where_it_is_in_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "FREE_BYTES", 1 << 20)
    path, pack = tmp_path / "a.jsonl.gz", gzip.compress
    line = json.dumps({"text": random.Random(0).randbytes(6_000).hex()}).encode() + b"\n"
    bomb = pack(b'{"text": "' + b" " * (24 << 20) + b'"}\n')
    path.write_bytes(pack(line) * 5 + bomb + pack(line) * 5)
    parts, whole = cut(path), given(path, [WHOLE])
    assert given(path, parts) == whole and len(parts) > 2
    assert "unpacks to over 200 times its size" in whole[1].bad_shown[0]


@pytest.mark.parametrize("kind", ["parquet", "dictionary", "view", "packed"])
def test_a_table_that_is_a_bomb_is_refused_in_slices_where_it_is_in_the_whole(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "FREE_BYTES", 1 << 20)
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    path.write_bytes(hostile.table_bomb(kind, "x" * 10_000, 1_000, groups=2))
    parts, whole = cut(path, 50), given(path, [WHOLE])
    assert given(path, parts) == whole and len(parts) == (2 if kind == "parquet" else 1)
    assert "unpacks to over 200 times its size" in whole[1].bad_shown[0]
