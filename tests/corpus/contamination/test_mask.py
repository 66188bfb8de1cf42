"""Leaks are cut out of a document with what stands around them, and nothing else is."""

from jaxlm.corpus import cuts
from jaxlm.corpus.contamination import mask


def masked(text: str, leaks: list[tuple[int, int]], around: int) -> str:
    return cuts.apply(text, mask.cuts(text, leaks, around)).strip()


def test_what_is_masked_is_the_leak_and_whole_words_around_it():
    text = "Before it all stood. Who wrote this book? Jane Austen did. After it all stood."
    start, end = text.index("Who"), text.index("?")
    assert masked(text, [(start, end)], around=0) == "Before it all stood.\n\n? Jane Austen did. After it all stood."
    assert masked(text, [(start, end)], around=13) == "Before it\n\ndid. After it all stood."
    assert masked(text, [(start, end)], around=1_000) == ""
    assert masked(text, [], around=13) == text


def test_leaks_whose_surroundings_meet_are_one():
    text = "one two three four five six seven eight"
    assert [cut[:2] for cut in mask.cuts(text, [(4, 7), (14, 18)], around=6)] == [(0, 24)]
    assert [cut[:2] for cut in mask.cuts(text, [(4, 7), (24, 27)], around=0)] == [(3, 8), (23, 28)]


def test_a_script_without_spaces_is_cut_where_it_is():
    assert masked("甲乙丙丁戊己庚辛", [(3, 5)], around=1) == "甲乙\n\n庚辛"
