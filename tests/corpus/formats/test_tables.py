"""A row is a document, in whatever format its table is; a damaged table is told and ends nothing else."""

import datetime
import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats import csv_table, tables, unpack
from jaxlm.errors import UserError
from tests.faults import hostile

TEXTS = ["one", "two\nlines, and a comma", "", 'a "quoted" word', "中文 😀", "x" * 300_000] * 60
KINDS = {
    "a.parquet": hostile.parquet,
    "a.arrow": lambda texts, **columns: hostile.arrow(texts, stream=False, **columns),
    "stream.arrow": lambda texts, **columns: hostile.arrow(texts, stream=True, **columns),
}


def read(path, data: bytes, text_field: str = "text", budget: float = 1.0) -> tuple[list[Document], Tally]:
    path.write_bytes(data)
    tally = Tally(budget=budget)
    module = csv_table if ".csv" in path.name or ".tsv" in path.name else tables
    return list(module.read(path, path.name, text_field, tally)), tally


@pytest.mark.parametrize("name", KINDS)
def test_every_row_comes_back_with_its_marks(name, tmp_path):
    dates = [datetime.date(2020, 1, 2)] * len(TEXTS)
    urls = [f"http://example.org/{i}" if i % 2 else None for i in range(len(TEXTS))]
    data = KINDS[name]([text or None for text in TEXTS], rows=100, license=["CC0"] * len(TEXTS), url=urls, date=dates)
    found, tally = read(tmp_path / name, data)
    assert [d.text for d in found] == [text for text in TEXTS if text] and tally.skipped == {"empty": 60}
    assert found[0].source == f"{name}:1" and found[2].source == f"{name}:4"
    assert found[0].marks == {"licence": "CC0", "date": "2020-01-02"}
    assert found[1].marks["url"] == "http://example.org/1"


@pytest.mark.parametrize(
    "name, pack", [("a.csv", bytes), ("a.csv.gz", gzip.compress), ("a.csv.zst", zstandard.compress)]
)
def test_rows_of_csv_come_back(name, pack, tmp_path):
    rows = ["text,url,n"] + ['"' + text.replace('"', '""') + '",http://a,1' for text in TEXTS]
    for end in ("\n", "\r\n"):
        found, tally = read(tmp_path / name, pack(b"\xef\xbb\xbf" + end.join(rows).encode()))
        assert [d.text for d in found] == [text for text in TEXTS if text] and tally.skipped == {"empty": 60}
        assert found[0].marks == {"url": "http://a"} and found[0].source == f"{name}:2"


def test_rows_of_tsv_are_cut_at_tabs_alone(tmp_path):
    found, _ = read(tmp_path / "a.tsv", b'id\ttext\n1\t"Yes, \n2\tNo" he said\n')
    assert [document.text for document in found] == ['"Yes, ', 'No" he said']


@pytest.mark.parametrize("name", [*KINDS, "a.csv"])
def test_a_missing_column_is_named_with_the_mend(name, tmp_path):
    data = b"text,id\na,1\n" if name == "a.csv" else KINDS[name](["a"], id=[1])
    with pytest.raises(UserError, match=r"no column 'body'; set data\.text_field to one of its columns: 'text', 'id'"):
        read(tmp_path / name, data, text_field="body")


@pytest.mark.parametrize("name", KINDS)
def test_a_column_of_numbers_is_no_text(name, tmp_path):
    with pytest.raises(UserError, match=r"column 'id' is int64, but must be strings"):
        read(tmp_path / name, KINDS[name](["a"], id=[1]), text_field="id")


def test_dictionaries_and_large_strings_are_strings(tmp_path):
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        file = pa.BufferOutputStream()
        batch = pa.record_batch({"text": pa.array(["a", "b", "a"]).cast(kind)})
        with pa.ipc.new_stream(file, batch.schema) as writer:
            writer.write_batch(batch)
        assert [d.text for d in read(tmp_path / "a.arrow", file.getvalue().to_pybytes())[0]] == ["a", "b", "a"]


@pytest.mark.parametrize("name", KINDS)
def test_a_table_cut_short_gives_whole_rows_and_a_reason(name, tmp_path):
    texts = [f"text {i}" for i in range(3_000)]
    whole = KINDS[name](texts)
    for cut in [b"", *hostile.cuts(whole, seed=0, count=10)]:
        found, tally = read(tmp_path / name, cut)
        assert [d.text for d in found] == texts[: len(found)]
        assert tally.skipped == {"damaged or cut short": 1} or len(found) == 3_000, len(whole) - len(cut)
    with pytest.raises(UserError, match=r"damaged or cut short after row 0 .*: copy it again"):
        read(tmp_path / name, whole[:100], budget=0.0)


@pytest.mark.parametrize("name", KINDS)
def test_changed_bytes_never_end_the_process(name, tmp_path):
    for changed in hostile.flips(KINDS[name]([f"text {i}" for i in range(300)], rows=50), seed=0, count=100):
        try:
            found, tally = read(tmp_path / name, changed)
        except UserError:  # the name or type of the column was hit
            continue
        assert len(found) == 300 or tally.skipped


@pytest.mark.parametrize(
    "data, reasons",
    [
        (b"", {"empty": 1}),
        (b"text,id\n", {}),
        (b"text,id\na,1\nb\nc,3\n", {"a row that does not fit its header": 1}),
        (b"text,id\na,1\nb,2,3\nc,3\n", {"a row that does not fit its header": 1}),
        (b'text,id\na,1\nc,3\n"b', {"no row of CSV": 1}),
        (b'text,id\na,1\n"b"x,2\nc,3\n', {"no row of CSV": 1}),
        ("text,id\na,1\ncaf\u00e9,2\nc,3\n".encode("latin-1"), {"not UTF-8, convert it with iconv -t UTF-8": 1}),
    ],
)
def test_a_wrong_row_of_csv_is_counted_with_its_line(data, reasons, tmp_path):
    found, tally = read(tmp_path / "a.csv", data)
    assert tally.skipped == reasons and [d.text for d in found] == (["a", "c"] if b"a,1" in data else [])
    if tally.bad_records:
        with pytest.raises(UserError, match=r"a\.csv, line [34]: "):
            read(tmp_path / "a.csv", data, budget=0.0)


@pytest.mark.parametrize("name, pack", [("a.csv", bytes), ("a.csv.gz", gzip.compress)])
@pytest.mark.parametrize("place", [1, 700, 1_499])
def test_an_unclosed_quote_costs_its_line_and_no_other(place, name, pack, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "LINE_BYTES", 10_000)
    rows = [f'"{n}",two' if 900 < n < 1_000 else f"{n},two" for n in range(1, 1_500)]
    rows[place - 1] = f'"{place},two'
    found, tally = read(tmp_path / name, pack(_csv(rows)))
    assert [int(document.text) for document in found] == [n for n in range(1, 1_500) if n != place]
    assert tally.skipped == {"no row of CSV": 1}
    assert f", line {place + 1:,}: no row of CSV (a quote opens in it" in tally.bad_shown[0]


def test_quotes_that_are_all_unclosed_are_read_twice_and_no_more(tmp_path, monkeypatch):
    taken, take = [], csv_table._Lines.__next__
    monkeypatch.setattr(csv_table._Lines, "__next__", lambda lines: taken.append(lines.number) or take(lines))
    found, tally = read(tmp_path / "a.csv", _csv(['x","z'] * 3_000 + ['"no"w'] + ["a,1"]))  # each closes one, opens one
    assert [document.text for document in found] == ["a"] and tally.skipped == {"no row of CSV": 3_001}
    assert len(taken) < 4 * 3_000
    assert (
        "line 2: no row of CSV (a quote opens in it that is not rightly closed up to line 3,002)" in tally.bad_shown[0]
    )


def test_what_was_read_before_a_csv_breaks_off_is_given_though_a_quote_is_open(tmp_path):
    data = gzip.compress(_csv(["a,1", '"b,2', "c,3"])) + gzip.compress(b"d,4\ne,5")[:-4]
    found, tally = read(tmp_path / "a.csv.gz", data)
    assert [document.text for document in found] == ["a", "c", "d"]
    assert tally.skipped == {"no row of CSV": 1, "damaged or cut short": 1}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_lines_that_end_with_a_carriage_return_are_named(name, tmp_path):
    data = b"text,id\ra,1\rb,2\r".replace(b",", b"\t" if name == "a.tsv" else b",")
    _, tally = read(tmp_path / name, data)
    assert tally.skipped == {r"lines that end with \r": 1}
    with pytest.raises(UserError, match=r"line 1: lines that end with \\r: convert them to \\n, as tr"):
        read(tmp_path / name, data, budget=0.0)


def _csv(rows: list[str]) -> bytes:
    return "\n".join(["text,id", *rows, ""]).encode()


def test_the_files_beside_a_hugging_face_dataset_are_no_text(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/cache-1.arrow"):
        (tmp_path / name).write_bytes(b"{}")
        assert tables.describes(tmp_path / name) == (name == "train/cache-1.arrow")
    (tmp_path / "train" / "data-00000-of-00001.arrow").write_bytes(hostile.arrow(["a"], stream=True))
    assert not tables.describes(tmp_path / "train" / "data-00000-of-00001.arrow")
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/cache-1.arrow"):
        assert tables.describes(tmp_path / name)


BOMBS = ["parquet", "dictionary", "view", "packed"]


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_table_that_says_one_text_over_and_over_is_refused_as_other_bombs_are(kind, groups, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "FREE_BYTES", 6_000_000)
    monkeypatch.setattr(tables, "BATCH_BYTES", 1 << 20)
    text = "x" * 30_000
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow")
    data = hostile.table_bomb(kind, text, 1_200 // groups, groups=groups)
    before = pa.total_allocated_bytes()
    path.write_bytes(data)
    tally, made = Tally(budget=1.0), 0
    for document in tables.read(path, path.name, "text", tally):
        made += len(document.text)
        assert kind == "packed" or pa.total_allocated_bytes() - before < 4 << 20, "a batch of 256 is 7 MB"
    assert made <= max(6_000_000, 200 * len(data)) < 1_200 * len(text)
    assert set(tally.skipped) == {"unpacks to over 200 times its size"}
    with pytest.raises(UserError, match=r"a\.\w+: unpacks to over 200 times its size after row \d+ .*: remove it, or"):
        read(path, data, budget=0.0)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_table_of_few_words_is_no_bomb(kind, tmp_path):
    data = hostile.table_bomb(kind, "the same few words", 800, groups=3)
    found, tally = read(tmp_path / ("a.parquet" if kind == "parquet" else "a.arrow"), data)
    assert len(found) == 2_400 and not tally.skipped


def test_a_missing_table_is_named(tmp_path):
    for name in KINDS:
        with pytest.raises(UserError, match=r"gone.*: damaged or cut short after row 0 .*No such file"):
            list(tables.read(tmp_path / f"gone-{name}", name, "text", Tally()))


def test_a_footer_that_counts_bytes_twice_is_damage(tmp_path, monkeypatch):
    data = hostile.parquet(["x" * 1_000] * 10)
    monkeypatch.setattr(tables, "_chunks", lambda group: [group.column(0)] * 99)
    assert read(tmp_path / "a.parquet", data)[1].skipped == {"damaged or cut short": 1}


def test_parquet_is_read_in_batches(tmp_path):
    pq.write_table(pa.table({"text": ["x" * 1_000] * 20_000, "other": [1] * 20_000}), tmp_path / "a.parquet")
    before = pa.total_allocated_bytes()
    for _ in tables.read(tmp_path / "a.parquet", "a.parquet", "text", Tally()):
        assert pa.total_allocated_bytes() - before < 8_000_000
