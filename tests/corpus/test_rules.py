"""Thresholds are allowed values; every rule has a measure, and every measure a rule."""

import pytest

from jaxlm.config import override, parse
from jaxlm.corpus import lines_refinedweb
from jaxlm.corpus.lines import C4Lines, trim
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import C4, Bounds, C4Paragraphs, FineWeb, Gopher, GopherRepetition, RefinedWeb, reasons
from jaxlm.corpus.words import Lexicon
from jaxlm.errors import UserError

SETS = [Gopher(), GopherRepetition(), C4(), C4Paragraphs(), FineWeb(), RefinedWeb()]


def test_every_rule_has_its_measure_and_every_measure_a_rule():
    lexicon, lines = Lexicon(), ["Some text."]
    trimmed = trim(lines, lexicon, C4Lines()), lines_refinedweb.trim(lines, lines_refinedweb.RefinedWebLines())
    found = {**measure(lines[0], lexicon.read(lines[0])), **trimmed[0].measures, **trimmed[1].measures}
    assert {name for rules in SETS for name in rules.bounds("en", {})} == found.keys()


def test_a_bound_itself_is_allowed():
    measures = {"sentences": 5, "lorem_ipsum": 0, "braces": 0}
    assert reasons(measures, [C4()], "en") == []
    assert reasons(measures | {"sentences": 4}, [C4()], "en") == ["C4.sentences below 5"]
    assert reasons(measures | {"braces": 1}, [C4()], "en") == ["C4.braces above 0"]


def test_a_threshold_is_set_as_any_field_and_can_be_lifted():
    assert override(Gopher(), ["words.least=20"]).words == Bounds(least=20, most=100_000)
    assert override(Gopher(), ["words.least=none"]).words == Bounds(most=100_000)


def test_bounds_that_leave_nothing_are_refused():
    with pytest.raises(UserError, match=r"least=3 is above most=2, which no text can be: swap them"):
        parse({"words": {"least": 3, "most": 2}}, Gopher)
