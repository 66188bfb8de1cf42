"""Equal documents, paragraphs and lines: the first in the order of keeping stays, the rest is cut with evidence."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from jaxlm.corpus.duplicates import exact
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, PassagesConfig
from jaxlm.corpus.duplicates.part import Row
from jaxlm.errors import UserError
from tests.corpus.duplicates.near_cases import cut

ANY = CapConfig(share=1)


def evidence(parts, folder, cfg, **more):
    """{(id cut from, what is cut): (id kept, what is kept)}, and how many cuts."""
    cuts = exact.find(parts, folder, cfg, **more)
    table = [one for number in range(len(parts)) for one in cuts.of(number)]
    rows = {(p, r): row for p, rows in enumerate(parts) for r, row in enumerate(rows)}
    place = lambda number: rows[int(number) >> 32, int(number) & 0xFFFFFFFF]
    found = {}
    for one in table:
        gone, kept = place(one["place"]), place(one["kept_place"])
        was = gone.text[int(one["start"]) : int(one["end"])]
        found[gone.id, int(one["start"]), was] = (kept.id, kept.text[int(one["kept_start"]) : int(one["kept_end"])])
    return found


@pytest.mark.parametrize("unit, between", [("document", "\0"), ("paragraph", "\n\n"), ("line", "\n")])
@pytest.mark.parametrize("form", ["raw", "normal"])
def test_every_repeat_goes_and_the_first_stays(unit, between, form, tmp_path):
    rng = random.Random(0)
    units = ["Alpha beta  gamma", "alpha beta gamma", "ﬁne", "fine", "x" * 30, "ab", "ÄB cde", "äb cde", "ab"]
    rows = [Row(str(n), between.join(rng.choices(units, k=4)), "s", n % 2) for n in range(60)]
    whole = ExactConfig(form=form, cap=ANY)
    cfg = whole if unit == "document" else PassagesConfig(unit=unit, form=form, shortest=4, left=4, cap=ANY)
    got = evidence(cut(rows, 7), tmp_path, cfg)
    same = (lambda text: text) if form == "raw" else exact.normal
    shortest = 1 if unit == "document" else 4
    all_units = [
        (row, start, row.text[start:end]) for row in rows for start, end in exact.spans(row.text, unit) if end > start
    ]
    long = [one for one in all_units if len(one[2]) >= shortest]
    kept = [one for one in long if (one[0].id, one[1], one[2]) not in got]
    assert len({same(text) for _, _, text in kept}) == len(kept) == len({same(text) for _, _, text in long})
    best = {same(text): (row.priority, -len(row.text)) for row, _, text in kept}
    for row, start, text in long:
        assert best[same(text)] <= (row.priority, -len(row.text))
        if (row.id, start, text) in got:
            assert same(got[row.id, start, text][1]) == same(text)


@given(
    st.lists(st.text("ab\n \t", max_size=12), min_size=1, max_size=3),
    st.sampled_from(["paragraph", "line", "document"]),
)
def test_units_and_what_is_between_make_the_text(texts, unit):
    for text in texts:
        end = 0
        for start, stop in exact.spans(text, unit):
            assert text[end:start].strip() == "" and end <= start <= stop
            assert unit == "document" or "\n" not in text[start:stop] or unit == "paragraph"
            assert unit == "document" or "\n\n" not in text[start:stop]
            end = stop
        assert end == len(text)


def test_parts_and_their_order_change_nothing(tmp_path):
    rng = random.Random(1)
    lines = [f"line number {n} that is long enough" for n in range(30)]
    rows = [Row(str(n), "\n".join(rng.choices(lines, k=5)), "s") for n in range(80)]
    cfg = PassagesConfig(unit="line", shortest=10, left=10, cap=ANY)
    first = evidence(cut(rows, 80), tmp_path / "whole", cfg)
    assert len(first) == 400 - 30
    for number, size in enumerate((9, 33)):
        small = cfg.model_copy(update={"memory": 10_000})  # below what a config may ask: many partitions
        shuffled = random.Random(number).sample(rows, len(rows))
        assert evidence(cut(shuffled, size), tmp_path / str(number), small) == first


def test_all_128_bits_tell_units_apart(tmp_path, monkeypatch):
    digest = exact.xxhash.xxh3_128_digest
    monkeypatch.setattr(exact.xxhash, "xxh3_128_digest", lambda own: b"half the" + digest(own)[8:])
    rows = [Row(str(n), text, "s") for n, text in enumerate(["one", "two", "one", "three", "two", "four"])]
    assert len(evidence([rows], tmp_path, ExactConfig())) == 2


def test_short_lines_stay_and_short_documents_go(tmp_path):
    rows = [Row("a", "}\n}", "s"), Row("b", "}\n}", "s")]
    assert evidence([rows], tmp_path / "lines", PassagesConfig(unit="line")) == {}
    assert len(evidence([rows], tmp_path / "documents", ExactConfig())) == 1


def test_spans_of_a_part_are_in_order(tmp_path):
    rows = [Row("a", "one line\nanother\none line", "s"), Row("b", "another", "s")]
    cuts = exact.find([rows, []], tmp_path, PassagesConfig(unit="line", shortest=3, left=3, cap=ANY))
    assert cuts.of(0)[["place", "start", "end"]].tolist() == [(0, 17, 25), (1, 0, 7)]
    assert len(cuts.of(1)) == 0


def test_empty_documents_and_parts_are_left_alone(tmp_path):
    parts = [[], [Row("a", "", "s"), Row("b", "", "s"), Row("c", " \n", "s"), Row("d", "\t", "s")]]
    assert evidence(parts, tmp_path, ExactConfig()) == {}
    assert evidence([], tmp_path / "none", ExactConfig()) == {}


def test_a_source_that_would_lose_too_much_stops_the_run(tmp_path):
    rows = [Row(f"page-{n}", f"this is page {n}\n{'the same footer ' * 20}", "site") for n in range(120)]
    with pytest.raises(
        UserError,
        match=r"source 'site': .* of 120 documents .* equal lines.* above duplicates\.passages\.cap\.share=0\.5",
    ):
        evidence([rows], tmp_path, PassagesConfig(unit="line"))
