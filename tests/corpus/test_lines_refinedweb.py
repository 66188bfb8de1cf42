"""RefinedWeb's rules of lines."""

import pytest

from jaxlm.corpus.lines_refinedweb import RefinedWebLines, trim

GOOD = "The cat sat there and slept."


@pytest.mark.parametrize(
    ("line", "reason", "off"),
    [
        ("BREAKING NEWS today", "capitals", {"capitals": 1.0}),
        ("20231129", "digits", {"digits": False, "words": 1}),
        ("  1,204 Likes!", "a counter", {"counters": False}),
        ("1.2K followers", "a counter", {"counters": False}),
        ("Home", "under 2 words", {"words": 1}),
        ("Sign-in Read more...", "a menu", {"menus": False}),
    ],
)
def test_a_line_that_is_no_text_goes_unless_its_rule_is_off(line, reason, off):
    found = trim([GOOD, line], RefinedWebLines())
    assert (found.text, found.removed) == (GOOD, {reason: 1})
    assert trim([GOOD, line], RefinedWebLines(**off)).text == f"{GOOD}\n{line}"


@pytest.mark.parametrize(
    "line", ["Half THE.", "12 likes were given to the cat", "7 cats", "It costs 20 pounds", "学而时习之", "", "  "]
)
def test_a_line_that_breaks_no_rule_stays(line):
    assert trim([GOOD, line, GOOD], RefinedWebLines()).text == f"{GOOD}\n{line}\n{GOOD}"


def test_a_menu_is_cut_out_of_short_lines_alone():
    short, long = "Sign-in to see 3 items in cart here", "Sign-in, it said, and so one two three four five six"
    found = trim([short, long], RefinedWebLines())
    assert found.text == f"to see 3  here\n{long}"
    assert found.removed == {"a menu, in part": 1}
    assert trim(["The cat sat READ MORE..."], RefinedWebLines(capitals=1)).text == "The cat sat"


def test_removed_words_are_counted_of_the_whole_page():
    assert trim([GOOD], RefinedWebLines()).measures == {"removed_words": 0}
    assert trim([GOOD, "3 likes"], RefinedWebLines()).measures["removed_words"] == pytest.approx(2 / 8)
    assert trim([], RefinedWebLines()).measures == {"removed_words": 0}


def test_capitals_are_those_that_python_knows():
    for line in ("ALL NEW \t\x1f[Z]@`{", "Ärger mit ÄÖ", "ǅ Ⅷ Ⓐ", "日本 ABC", "É é"):
        for capitals in (0, 0.2, 0.4, 0.5, 1):
            gone = trim([GOOD, line], RefinedWebLines(capitals=capitals, words=0)).removed["capitals"]
            assert gone == (GOOD[0].isupper() and capitals == 0) + (sum(map(str.isupper, line)) > capitals * len(line))
