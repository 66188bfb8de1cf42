"""Reading ends early where too much is bad whatever comes, and else never before all is read."""

import pytest

from jaxlm.corpus.budget import Budget
from jaxlm.corpus.pipeline import make
from jaxlm.errors import UserError
from tests.corpus.test_pipeline import config, text


def part(good: int, bad: int) -> dict:
    return {"counts": {"records": good}, "bad": bad, "bad_shown": [f"line {number}" for number in range(min(bad, 5))]}


def test_reading_ends_where_more_is_bad_than_the_whole_may_hold():
    budget = Budget(0.01, parts=10)
    budget.read([part(1_000, 0), part(950, 50)])  # 2,000 of about 10,000
    budget.read([part(950, 50)])  # 100 of 10,000
    with pytest.raises(UserError) as error:
        budget.read([part(1_000, 0), part(850, 150)])
    assert str(error.value).startswith(
        "250 of 5,000 records read so far (5.00%) are bad, more than bad_records=0.01 bears even if all others are good"
    )
    assert str(error.value).endswith("line 4")


def test_a_few_and_what_was_read_to_its_end_are_not_judged():
    Budget(0.001, parts=10).read([part(0, 100)])
    Budget(0.001, parts=2).read([part(0, 1_000), part(0, 1_000)])


def test_sources_of_which_the_first_is_broken_throughout_are_not_read_to_their_end(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text("{broken\n" * 300)
    for number in range(4):
        (tmp_path / "texts" / f"b{number}.txt").write_text(text(number, 100))
    with pytest.raises(UserError, match=r"300 of 30\d records read so far .*are bad(.|\n)*a\.jsonl, line 1"):
        make(config(tmp_path / "texts", bad_records=0.01), tmp_path)
    assert len(list((tmp_path / "planted" / "work" / "collect").iterdir())) == 1
