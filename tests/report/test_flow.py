import re

import pytest

from jaxlm.report.flow import RIBBONS, flow, ribbons
from jaxlm.report.plots import Bins, Layer, Row, bars, histogram

TRUNK = 660  # units: all that was collected


def stage(*took: tuple[int, int], entered: tuple[int, int] = (1_000, 50_000), name: str = "quality") -> dict:
    rules = [{"reason": f"rule <{n}>", "first": gone, "first_bytes": size} for n, (gone, size) in enumerate(took)]
    documents, bytes_ = (sum(one[n] for one in took) for n in (0, 1))
    left = {"documents": entered[0] - documents, "bytes": entered[1] - bytes_}
    return {"stage": name, "in": {"documents": entered[0], "bytes": entered[1]}, "out": left, "rules": rules}


def widths(html: str) -> list[float]:
    """Of the bars in which ribbons end."""
    return [float(wide) for wide in re.findall(r'<rect x="[\d.]+" y="\d+" width="([\d.]+)"', html)]


@pytest.mark.parametrize("by", ["documents", "bytes"])
def test_ribbons_are_as_wide_as_what_leaves(by):
    one = stage((300, 5_000), (100, 20_000))
    assert widths(flow([one], one["in"], by)) == pytest.approx(
        [TRUNK * part for part in ((0.3, 0.1) if by == "documents" else (0.1, 0.4))], abs=0.1
    )


def test_a_stage_begins_where_the_one_before_it_ended():
    one = stage((400, 10))
    two = stage((300, 10), entered=(600, 49_990), name="duplicates")
    html = flow([one, two], one["in"], "documents")
    trunks = re.findall(r'class="trunk" d="M0 0H([\d.]+)C.*? ([\d.]+) 100H0Z"', html)
    assert [tuple(map(float, ends)) for ends in trunks] == [(660.0, 396.0), (396.0, 198.0)]


def test_a_reason_that_takes_little_is_still_seen_and_many_share_a_ribbon():
    one = stage(*[(1, 1)] * 9, entered=(10**9, 10**9))
    assert min(widths(flow([one], one["in"], "documents"))) >= 3
    found = ribbons(one)
    assert len(found) == RIBBONS and found[-1] == ("5 other rules", 5, 5)


def test_a_corpus_of_nothing_and_a_stage_that_takes_nothing_can_be_drawn():
    empty = stage((0, 0), entered=(0, 0))
    assert "nothing goes" in flow([empty], empty["in"], "documents")
    assert "Stays" in flow([], {"documents": 0, "bytes": 0}, "bytes")


def test_names_on_drawings_are_text():
    assert "<0>" not in flow([stage((1, 1))], {"documents": 1_000, "bytes": 50_000}, "documents")
    assert "<i>x" not in bars("<i>x", [Row("<i>x", 1, 2, "<i>x")])


def test_the_bars_of_a_histogram_are_as_high_as_their_counts():
    bins = Bins([0, 1, 2, 3], [(1, "one")], ["a", "b", "c"])
    html = histogram(
        "id", "Title", "unit", bins, [Layer("stay", "stay", [100, 50, 0]), Layer("go", "gone", [0, 50, 1])]
    )
    high = {
        (look, name): float(height)
        for look, height, name in re.findall(r'<rect class="(\w+)".*?height="([\d.]+)"><title>(\w)', html)
    }
    assert [2 * high[look, "b"] for look in ("stay", "gone")] == pytest.approx([high["stay", "a"]] * 2, abs=0.2)
    assert 2 < high["gone", "c"] < high["stay", "a"] / 50
    assert ("gone", "a") not in high
    assert "b: 50 stay and 50 go" in html
