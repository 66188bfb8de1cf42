"""C4's rules of lines."""

import pytest

from jaxlm.corpus.lines import C4Lines, trim
from jaxlm.corpus.words import Lexicon

GOOD = "This line is a sentence."


def trimmed(*lines: str, **cfg):
    return trim(lines, Lexicon(), C4Lines(**cfg))


@pytest.mark.parametrize(
    ("line", "reason", "cfg"),
    [
        ("Home | About us", "no end of a sentence", {"terminal": False}),
        ("And so it goes on...", "no end of a sentence", {"terminal": False}),
        ("Too short.", "under 3 words", {"words": 2}),
        ("Please turn on JavaScript now.", "javascript", {"javascript": False}),
        ("This site uses cookies, of course.", "cookies or terms of use", {"policy": False}),
        ("A word of " + 1_001 * "x" + ".", "a word over 1,000 characters", {"longest_word": 2_000}),
    ],
)
def test_a_line_that_is_no_text_goes_unless_its_rule_is_off(line, reason, cfg):
    assert trimmed(GOOD, line).text == GOOD
    assert trimmed(GOOD, line).removed == {reason: 1}
    assert trimmed(GOOD, line, **cfg).text == f"{GOOD}\n{line}"


def test_citations_are_cut_out_and_sentences_counted_without_them():
    found = trimmed("It was built in 1900.[12] Nobody knows why.[citation needed]")
    assert found.text == "It was built in 1900. Nobody knows why."
    assert found.measures["sentences"] == 2
    assert trimmed("It is so.[1]", citations=False).removed == {"no end of a sentence": 1}


def test_only_lines_that_stay_are_counted():
    found = trimmed(GOOD, "x = {", "Here { is a brace.", "Lorem ipsum dolor sit amet.", "{ lorem ipsum")
    assert found.measures == {"sentences": 3, "lorem_ipsum": 1, "braces": 1}
