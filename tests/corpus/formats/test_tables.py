"""A row is a document, in whatever format its table is; a damaged table is told and ends nothing else."""

import datetime
import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats import csv_table, tables
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


def test_the_files_beside_a_hugging_face_dataset_are_no_text(tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/cache-1.arrow"):
        (tmp_path / name).write_bytes(b"{}")
        assert tables.describes(tmp_path / name) == (name == "train/cache-1.arrow")
    (tmp_path / "train" / "data-00000-of-00001.arrow").write_bytes(hostile.arrow(["a"], stream=True))
    assert not tables.describes(tmp_path / "train" / "data-00000-of-00001.arrow")
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/cache-1.arrow"):
        assert tables.describes(tmp_path / name)


def test_parquet_is_read_in_batches(tmp_path):
    pq.write_table(pa.table({"text": ["x" * 1_000] * 20_000, "other": [1] * 20_000}), tmp_path / "a.parquet")
    before = pa.total_allocated_bytes()
    for _ in tables.read(tmp_path / "a.parquet", "a.parquet", "text", Tally()):
        assert pa.total_allocated_bytes() - before < 8_000_000
