"""Cuts and personal data in one text: nothing of either is left, and everything else is where it was."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from jaxlm.corpus import pii_scrub
from jaxlm.corpus.cuts import Cut, apply, with_gaps
from jaxlm.corpus.pii import Span

LONG = 30


@st.composite
def spans(draw, apart: bool = False) -> list[tuple[int, int]]:
    edges = draw(st.lists(st.integers(0, LONG), max_size=8, unique=apart))
    edges = sorted(edges) if apart else edges
    return [(min(a, b), max(a, b)) for a, b in zip(edges[::2], edges[1::2], strict=False) if a != b]


def by_characters(text: str, cuts: list[Cut]) -> str:
    """A character that a cut covers goes; a replacement stands where its cut begins, unless another covers it all."""
    covers = lambda one, other: one.start <= other.start and other.end <= one.end
    told = []
    for n, cut in enumerate(cuts):
        earlier = any(covers(other, cut) for other in cuts[:n])
        larger = any(covers(other, cut) and not covers(cut, other) for other in cuts)
        told += [] if earlier or larger else [cut]
    out = ""
    for place, character in enumerate(text):
        out += "".join(cut.replacement for cut in told if cut.start == place)
        out += "" if any(cut.start <= place < cut.end for cut in cuts) else character
    return out


@given(spans(), spans(apart=True), st.sampled_from(["tag", "mask", "fake"]))
def test_cuts_and_personal_data_come_out_as_if_character_by_character(cut, personal, mode):
    text = "".join(chr(ord("a") + n) for n in range(26)) + "äöü "
    cuts = [Cut(start, end, f"[{n}]" if n % 2 else "") for n, (start, end) in enumerate(cut)]
    addresses = [Span(start, end, "email") for start, end in personal]
    found = pii_scrub.cuts(text, addresses, mode)
    both = apply(text, cuts + found)
    assert both == by_characters(text, cuts + found)
    gone = {place for start, end in [*cut, *personal] for place in range(start, end)}
    kept = "".join(c for place, c in enumerate(text) if place not in gone)
    assert set(kept) <= set(both)
    if not cuts:
        assert both == pii_scrub.scrub(text, addresses, mode)


@given(st.permutations([Cut(0, 4, "a"), Cut(3, 9, "b"), Cut(3, 5, "c"), Cut(9, 10, "d"), Cut(12, 14)]))
def test_the_order_of_cuts_changes_nothing(cuts):
    assert apply("0123456789ABCDEFG", cuts) == "abdABEFG"


@pytest.mark.parametrize(
    "text, cut, left",
    [
        ("a\n\nB\n\nc", "B", "a\n\nc"),
        ("a\n\nB\nC\n\nd", "B", "a\n\nC\n\nd"),
        ("a\n\nB\nC\n\nd", "C", "a\n\nB\n\nd"),
        ("a\n\nB\nC\n\nd", "BC", "a\n\nd"),
        ("a\nB\nC\nd", "BC", "a\nd"),
        ("B\n\na\n\nC", "BC", "a"),
        ("a\nB\n    c", "B", "a\n    c"),
        ("a\n \n\nB\n\n    c", "B", "a\n \n\n    c"),
        ("B\nC", "BC", ""),
    ],
)
def test_what_is_left_has_the_gaps_it_had(text, cut, left):
    cuts = [Cut(text.index(one), text.index(one) + 1) for one in cut]
    assert apply(text, with_gaps(text, cuts)).strip("\n") == left


@given(st.lists(st.sampled_from(["A", "B", "c", "\n", "\n\n", " "]), max_size=12))
def test_wider_cuts_take_no_more_than_white_space(pieces):
    text = "\n".join(pieces)
    cuts = [Cut(place, place + 1) for place, c in enumerate(text) if c in "AB"]
    wide = with_gaps(text, cuts)
    assert [c for c in apply(text, wide) if not c.isspace()] == ["c"] * text.count("c")
    assert all(
        one.start <= cut.start and cut.end <= one.end and text[one.start : one.end].strip() == text[cut.start]
        for one, cut in zip(wide, cuts, strict=True)
    )
