"""Each record of an archive is a document or a reason, and damage is told."""

import gzip
from collections import Counter

import pytest

from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats import warc
from jaxlm.corpus.profile import Profile
from jaxlm.errors import UserError
from tests.faults import hostile

NO_PAGE = "a web record that is no page: "
UNDECODED = "a record that cannot be decoded"


def read(path, data: bytes) -> tuple[list[Document], Tally]:
    path.write_bytes(data)
    tally = Tally(budget=1.0)
    return list(warc.read(path, path.name, tally)), tally


@pytest.mark.parametrize("name, pack", [("a.warc", bytes), ("a.warc.gz", gzip.compress)])
def test_a_page_comes_with_its_marks(name, pack, tmp_path):
    link = 'Link: <https://creativecommons.org/licenses/by/4.0/>; rel="license"'
    first, second = hostile.response(hostile.PAGE), hostile.response(b"plain words", "Content-Type: text/plain", link)
    found, tally = read(tmp_path / name, pack(first) + pack(second))
    assert found[0].text.startswith("Tea") and found[1].text == "plain words" and not tally.skipped
    assert found[1].source == f"{name}:{len(first)}"
    assert found[1].marks == {
        "url": "http://example.org/", "date": "2020-01-02T03:04:05+00:00", "offset": len(first),
        "licence": "https://creativecommons.org/licenses/by/4.0/",
    }  # fmt: skip


def test_a_page_of_an_archive_has_its_title_and_a_licence_that_http_tells_first(tmp_path):
    page = b"<title>Tea</title><link rel=license href=/own>" + hostile.PAGE
    link = 'Link: <https://cc.org/by>; rel="license"'
    data = hostile.response(page) + hostile.response(page, "Content-Type: text/html", link)
    found, _ = read(tmp_path / "a.warc", data)
    assert [document.marks["title"] for document in found] == ["Tea", "Tea"]
    assert [document.marks["licence"] for document in found] == ["http://example.org/own", "https://cc.org/by"]


@pytest.mark.parametrize(
    "record, reason",
    [
        (hostile.response(b"x", "Content-Type: image/png"), "a web record of type image/png"),
        (hostile.response(b"x", "Server: x"), "a web record of type unknown"),
        (hostile.response(b"gone", http="HTTP/1.1 404 Not Found"), "a web response with status 404"),
        (hostile.response(b"", http="nonsense"), "a web response without a valid HTTP header"),
        (hostile.response(b""), "empty"),
        (hostile.response(b" ", "Content-Type: text/plain"), "empty"),
        (hostile.response(bytes(1000), "Content-Type: text/plain"), "binary"),
        (hostile.response(b"x").replace(b"WARC-Type: response", b"WARC-Type: request"), NO_PAGE + "request"),
        (hostile.response(b"x").replace(b"WARC-Type: response", b"WARC-Type: other"), NO_PAGE + "other"),
        (hostile.response(b"zz\r\nx", "Content-Type: text/html", "Transfer-Encoding: chunked"), UNDECODED),
        (hostile.response(b"not packed", "Content-Type: text/html", "Content-Encoding: gzip"), UNDECODED),
        (hostile.response(b"x", "Content-Type: text/html", "X: " + "a" * 100_000), UNDECODED),
        (
            hostile.response(hostile.zip_bomb("gz", 1 << 30), "Content-Type: text/html", "Content-Encoding: gzip"),
            "a web record of over 64 MiB",
        ),
    ],
)  # fmt: skip
def test_a_record_without_text_is_counted_and_the_next_is_read(record, reason, tmp_path):
    found, tally = read(tmp_path / "a.warc", record + hostile.response(hostile.PAGE))
    assert len(found) == 1 and tally.skipped == {reason: 1}


@pytest.mark.parametrize("name, pack", [("a.warc", bytes), ("a.warc.gz", gzip.compress)])
def test_an_archive_cut_short_gives_what_was_whole_and_a_reason(name, pack, tmp_path):
    record = pack(hostile.response(hostile.PAGE))
    for cut in hostile.cuts(record, seed=0, count=40):
        found, tally = read(tmp_path / name, record + cut)
        assert len(found) == 1 or (len(found) == 2 and len(record) - len(cut) < 20), len(cut)
        assert tally.bad_records or len(found) == 2, (len(cut), tally)


def test_changed_bytes_end_nothing_but_the_file(tmp_path):
    records = gzip.compress(hostile.response(hostile.PAGE)) * 3
    for changed in hostile.flips(records, seed=0, count=100):
        found, tally = read(tmp_path / "a.warc.gz", changed)
        assert len(found) <= 3 and (len(found) == 3 or tally.skipped)
    for changed in hostile.flips(hostile.response(hostile.PAGE) * 3, seed=1, count=200):
        found, tally = read(tmp_path / "a.warc", changed)
        assert len(found) <= 3 and (len(found) == 3 or tally.skipped)


def test_a_length_beyond_the_file_is_told_and_asks_for_no_memory(tmp_path):
    _, tally = read(tmp_path / "a.warc", hostile.response(b"x", length=1000))
    assert tally.skipped == {"a record cut short": 1}
    _, tally = read(tmp_path / "a.warc", hostile.response(b"x", length=1 << 50))
    assert tally.skipped == {"a web record of over 64 MiB": 1}


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz", "a.arc", "a.wet.gz"])
def test_an_empty_archive_is_counted(name, tmp_path):
    assert read(tmp_path / name, b"")[1].skipped == {"an archive without records": 1}


def test_a_zip_bomb_in_an_archive_is_refused(tmp_path):
    bomb = hostile.response(b"", length=4 << 30).rstrip()
    (tmp_path / "a.warc.gz").write_bytes(gzip.compress(bomb + b"\r\n\r\n") + hostile.zip_bomb("gz", 4 << 30))
    with pytest.raises(UserError, match="unpacks to over 200 times its size"):
        list(warc.read(tmp_path / "a.warc.gz", "a.warc.gz", Tally()))


def arc(url: str, block: bytes, kind: str = "text/plain", length: int | None = None, more: str = "") -> bytes:
    length = len(block) if length is None else length
    return f"{url} 127.0.0.1 20140216050221 {kind} {more}{length}\n".encode() + block + b"\n"


def test_arc_of_both_versions_is_read(tmp_path):
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + hostile.PAGE
    data = arc("filedesc://a.arc", b"1 0 x\n") + arc("http://example.org/a b", http, "text/html")
    found, tally = read(tmp_path / "a.arc", data + arc("http://example.org/2", b"words", more="200 sum - 0 a.arc "))
    assert [d.text[:5] for d in found] == ["Tea\n\n", "words"] and tally.skipped == {NO_PAGE + "filedesc": 1}
    assert found[0].marks["url"] == "http://example.org/a b" and found[0].marks["date"] == "2014-02-16T05:02:21+00:00"
    assert data[found[0].marks["offset"] :].startswith(b"http://example.org/a b")


def test_a_date_of_arc_counts_to_its_year_and_one_that_is_no_day_is_left_out(tmp_path):
    record, profile = arc("http://a", b"words"), Profile()
    dates = [b"19970205093000", b"199702050930", b"19970231093000"]
    found, _ = read(tmp_path / "a.arc", b"".join(record.replace(b"20140216050221", date) for date in dates))
    dates = ["1997-02-05T09:30:00+00:00", "1997-02-05T09:30:00+00:00", None]
    assert [document.marks.get("date") for document in found] == dates
    for document in found:
        profile.add(document.text, 5, 1, "en", document.marks)
    assert profile.years == {"1997": 2}


def test_wrong_arc_gives_reasons(tmp_path):
    _, tally = read(tmp_path / "a.arc", arc("http://a", b"x", length=10))
    assert tally.skipped == {"a record cut short": 1}
    _, tally = read(tmp_path / "a.arc", b"nonsense\n")
    assert tally.skipped == {"no valid record": 1} and "byte 0" in tally.bad_shown[0]
    _, tally = read(tmp_path / "a.arc", arc("http://a", b"x", length=1 << 50))
    assert tally.skipped == {"a web record of over 64 MiB": 1}


# file -> (documents, records that are none, bad ones among these), counted by hand from the upstream descriptions
SAMPLES = {
    "commoncrawl/whirlwind.warc.gz": (1, 3, 0), "commoncrawl/whirlwind.warc.wat.gz": (0, 2, 0),
    "commoncrawl/whirlwind.warc.wet.gz": (1, 1, 0), "iipc/hello-world.warc": (1, 5, 0),
    "iipc/hello-world.warc.gz": (1, 5, 0), "iipc/20130729-heritrix-original.warc.gz": (1, 0, 0),
    "warcio/bad.arc": (0, 1, 1), "warcio/example-bad-non-chunked.warc.gz": (1, 5, 0),
    "warcio/example-bad.warc.gz.bad": (0, 1, 1), "warcio/example-iana.org-chunked.warc": (1, 2, 0),
    "warcio/example-resource.warc.gz": (1, 2, 0), "warcio/example-space-in-target-uri.warc.gz": (0, 2, 0),
    "warcio/example-space-in-url.arc": (0, 2, 1), "warcio/example-trunc.warc": (1, 3, 1),
    "warcio/example-wrong-chunks.warc.gz": (1, 1, 0), "warcio/example.arc": (1, 1, 0),
    "warcio/example.arc.gz": (1, 1, 0), "warcio/example.warc": (1, 5, 0), "warcio/example.warc.gz": (1, 5, 0),
    "warcio/post-test.warc.gz": (0, 6, 0), "warcio/example-digest.warc": (0, 4, 0),
    "warcio/example-wget-bad-target-uri.warc.gz": (1, 5, 0),
}  # fmt: skip


def test_every_record_of_real_archives_is_a_document_or_a_reason(real_data):
    folder = real_data / "warc-samples"
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md")
    assert len(files) == 26
    for path in files:
        tally = Tally(budget=1.0)
        found = list(warc.read(path, path.name, tally))
        counts = len(found), sum(Counter(tally.skipped).values()), tally.bad_records
        assert counts == SAMPLES.get(str(path.relative_to(folder)), counts), path
        assert sum(counts) and all(document.text and document.marks["url"] for document in found)
