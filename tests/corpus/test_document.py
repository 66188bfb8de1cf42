"""What is left out is counted; how many bad records are too many is a budget."""

import pytest

from jaxlm.corpus.document import SHOWN, Document, Tally, component, marks_of
from jaxlm.errors import UserError


def test_without_a_budget_the_first_bad_record_ends_the_run_with_its_whole_message():
    with pytest.raises(UserError, match=r"^a.jsonl, line 3: not JSON \(why\): mend it$"):
        Tally().bad("not JSON", "a.jsonl, line 3", " (why): mend it")


def test_with_a_budget_bad_records_are_counted_and_judged_at_the_end():
    tally = Tally(budget=0.1)
    for line in range(10):
        tally.bad("not JSON", f"a.jsonl, line {line}", f" (why {line})")
    assert tally.skipped == {"not JSON": 10} and tally.first == {"not JSON": "a.jsonl, line 0"}
    tally.check(100)
    with pytest.raises(
        UserError, match=r"10 of 99 records \(10\.10%\) are bad, more than bad_records=0\.1 bears"
    ) as error:
        tally.check(99)
    message = str(error.value)
    assert "a.jsonl, line 0: not JSON (why 0)" in message and "or raise it" in message
    assert message.count("why") == SHOWN


def test_what_is_not_wanted_is_not_bad():
    tally = Tally(budget=0.1)
    tally.skip("empty", "a.txt")
    tally.check(0)
    assert tally.bad_records == 0


def test_a_field_that_is_the_text_is_no_mark():
    record = {"source": "print(1)", "language": "python", "url": "u"}
    assert marks_of(record, "source") == {"language": "python", "url": "u"}
    assert marks_of(record)["source"] == "print(1)"
    assert marks_of({"source": {"name": "x"}, "language": ["en"], "date": 2020}) == {"date": "2020"}


@pytest.mark.parametrize(
    ("place", "marks", "expected"),
    [
        ("a.txt", {}, (".", "und")),
        ("books/old/a.txt", {}, ("books", "und")),
        ("part-0.parquet:12", {"source": "web/x.warc:3", "language": "de"}, ("web", "de")),
        ("part-0.parquet:12", {"source": "/x"}, (".", "und")),
        ("part-0.parquet:12", {"source": "https://example.org/a/b"}, ("example.org", "und")),
        ("part-0.parquet:12", {"source": "s3://bucket"}, ("bucket", "und")),
        ("part-0.parquet:12", {"source": "web/?of=http://a/b"}, ("web", "und")),
    ],
)
def test_a_component_is_a_source_and_a_language(place, marks, expected):
    assert component(Document.of("tea", place)._replace(marks=marks)) == expected
