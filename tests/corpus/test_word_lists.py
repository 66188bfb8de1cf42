"""Lists of words and phrases, in scripts with spaces and without."""

import pytest

from jaxlm.corpus.rules import Bounds, reasons
from jaxlm.corpus.word_lists import Listed, Measurer, WordList, WordListConfig, load
from jaxlm.errors import UserError

MEASURER = Measurer([Listed("tea", ("en",), ("tea", "iced tea")), Listed("tea", ("zh",), ("红茶", "茶"))])


@pytest.mark.parametrize(
    ("text", "language", "share", "count"),
    [
        ("TEA, and more tea. Teas!", "en", 2 / 5, 2),
        ("iced coffee; iced  TEA", "en", 2 / 4, 2),
        ("nothing", "en", 0, 0),
        ("", "en", 0, 0),
        ("我喝红茶。", "zh", 2 / 4, 2),
    ],
)
def test_words_and_phrases_are_found_whole(text, language, share, count):
    assert MEASURER.measure(text, language) == {"tea_share": pytest.approx(share), "tea_count": count}


def test_a_language_without_a_list_has_no_measure_and_no_bound():
    assert MEASURER.measure("tea", "fr") == {}
    rule = WordList(words="tea", count=Bounds(most=0), share=Bounds(most=0.5))
    assert reasons({}, [rule], "fr") == []
    assert reasons(MEASURER.measure("tea", "en"), [rule], "en") == [
        "WordList.tea_share above 0.5", "WordList.tea_count above 0",
    ]  # fmt: skip


def test_a_list_is_a_file_of_lines(tmp_path):
    (tmp_path / "list.txt").write_text("\nTea\n iced tea \nTea\n")
    config = WordListConfig(name="tea", path=str(tmp_path / "list.txt"), languages=())
    assert load([config]) == [Listed("tea", (), ("Tea", "iced tea"))]
    assert Measurer(load([config])).measure("iced tea", "fi")["tea_share"] == 1


@pytest.mark.parametrize(("data", "reason"), [(None, "No such file"), (b"\n\n", "no word"), (b"\0\1", "name a text")])
def test_a_list_that_holds_no_words_is_refused(tmp_path, data, reason):
    if data is not None:
        (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(UserError, match=rf"words 'tea': path=.*{reason}"):
        load([WordListConfig(name="tea", path=str(tmp_path / "list.txt"))])
