"""Rules vote where a text has what they ask for, and only there."""

import pytest

from jaxlm.config import parse
from jaxlm.corpus.labels.rules import (
    MEASURES,
    Item,
    LanguageRule,
    MeasureRule,
    PatternRule,
    SourceRule,
    WordsRule,
    fits,
)
from jaxlm.corpus.quality import measure
from jaxlm.corpus.rules import Bounds
from jaxlm.corpus.words import Lexicon
from jaxlm.errors import UserError


def vote(rule, text: str = "", source: str = "", **noted) -> bool:
    return fits(rule)(Item("", text, source, **noted))


def words(*listed: str, **more) -> WordsRule:
    return WordsRule(name="w", vote="yes", words=listed, **more)


@pytest.mark.parametrize(
    "listed, text, found",
    [
        (("tea",), "Green TEA, please", True),
        (("tea",), "teapots and steam", False),
        (("green tea",), "Green\n tea!", True),
        (("green tea",), "evergreen tea", False),
        (("c++",), "I like C++.", True),
        (("c++",), "xc++", False),
        (("茶",), "我喜欢喝茶。", True),
        (("ชา",), "ฉันชอบชามาก", True),
        (("ㄔㄚ",), "ㄏㄜㄔㄚ", True),
        (("tea", " "), "no such drink", False),
    ],
)
def test_a_listed_word_is_found_whole_and_in_any_case(listed, text, found):
    assert vote(words(*listed), text) is found


def test_occurrences_of_words_and_phrases_are_counted_together():
    rule = words("tea", "hot milk", least=3)
    assert vote(rule, "tea, tea and hot milk") and not vote(rule, "tea and hot milk")


def test_words_may_come_from_a_file(tmp_path):
    (tmp_path / "words.txt").write_text("tea\n\ncoffee\n")
    assert vote(words("milk", path=str(tmp_path / "words.txt")), "Coffee?")
    with pytest.raises(UserError, match=r"rule 'w': path='.*gone.txt' cannot be read: No such file"):
        fits(words(path=str(tmp_path / "gone.txt")))


def test_a_pattern_is_found_in_any_line_so_often():
    rule = PatternRule(name="p", vote="yes", pattern=r"^import \w+$", least=2)
    assert vote(rule, "x\nimport os\nIMPORT re\n") and not vote(rule, "import os\n x import re")
    assert not vote(rule.model_copy(update={"ignore_case": False}), "import os\nIMPORT re\n")


def test_a_measure_votes_within_its_bounds_and_is_measured_where_nobody_noted_it():
    rule = MeasureRule(name="short", vote="yes", measure="words", bounds=Bounds(least=2, most=3))
    assert [vote(rule, text) for text in ("One.", "Two words.", "Three of them.", "There are four here.")] == [
        False, True, True, False,
    ]  # fmt: skip
    assert vote(rule, "One.", measures={"words": 3})


def test_every_measure_may_be_asked_for():
    assert set(MEASURES) == measure("Some text.", Lexicon().read("Some text.")).keys()


def test_a_language_is_the_noted_one_or_found():
    rule = LanguageRule(name="l", vote="yes", languages=("de", "nl"))
    german = "Alle Menschen sind frei und gleich an Würde und Rechten geboren."
    assert vote(rule, german) and not vote(rule, german, language="en")


@pytest.mark.parametrize(
    "source, found",
    [("http/server.py", True), ("http/a.jsonl:12", True), ("test/http/a.py", False), ("a/readme.txt", True)],
)
def test_a_source_is_named_by_patterns_whatever_the_place_in_the_file(source, found):
    assert vote(SourceRule(name="s", vote="yes", patterns=("http/*", "*.txt")), source=source) is found


@pytest.mark.parametrize(
    "cls, wrong, message",
    [
        (PatternRule, {"pattern": "(a"}, r"rule 'r': pattern='\(a' is no regular expression: missing \)"),
        (WordsRule, {}, r"rule 'r': words=\(\) and path=None leave no word to look for"),
        (MeasureRule, {"measure": "wordz", "bounds": {}}, r"'wordz' is no measure of a text; did you mean 'words'\?"),
    ],
    ids=["pattern", "words", "measure"],
)
def test_a_rule_that_cannot_be_is_refused(cls, wrong, message):
    with pytest.raises(UserError, match=message):
        parse({"name": "r", "vote": "yes", **wrong}, cls)
