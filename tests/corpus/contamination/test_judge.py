"""What is a leak and what is not: planted items, phrases, numbers, and the definition in plain loops."""

import random
from collections import defaultdict

import numpy as np
import pytest

from jaxlm.corpus import pii
from jaxlm.corpus.contamination import judge
from jaxlm.corpus.contamination.grams import every_gram, grams, plain
from jaxlm.corpus.cuts import Cut
from tests.corpus.contamination.cases import findings, judged, leaked
from tests.corpus.test_pipeline import text

ITEM = (
    "A farmer's well-known orchard had 1,250 apple trees, and after the storm of last Tuesday only three out of every "
    "five trees were still standing; how many trees did the farmer lose in that one night?"
)
CHINESE = "在公元前二百二十一年統一了中國並且自稱為始皇帝的那一位秦國君主，他的本名到底叫做什麼？"
LICENCE = "All rights reserved and no part of this book may be reproduced in any form."
AMID = "{} And then {} which nobody had expected of him. {}"


def amid(leak: str, seed: int = 0) -> str:
    return AMID.format(text(seed), leak, text(seed + 100))


CHANGED = {
    "verbatim": ITEM,
    "in capitals": ITEM.upper(),
    "without punctuation": "".join(one for one in plain(ITEM) if one.isalnum() or one == " "),
    "with other punctuation": ITEM.replace(", ", " -- ").replace(";", ".").replace("'", "’").replace("-", "–"),
    "on other lines": ITEM.replace(" ", "\n  "),
    "with accents and wide letters": ITEM.replace("a", "á").replace("o", "ｏ"),
    "with other numbers": ITEM.replace("1,250", "90"),
}


@pytest.mark.parametrize("how", CHANGED)
def test_a_leak_is_found_and_its_place_known(how):
    document = amid(CHANGED[how])
    (found,) = findings([text(1), document], [text(2), ITEM])
    assert (found["row"], found["item"], found["share"]) == (1, 1, 1.0)
    ((start, end),) = found["spans"]
    assert document[start:end] == CHANGED[how].rstrip("?")
    assert document[start:end][:20] in found["sample"]


def test_half_of_an_item_is_a_leak_and_a_quotation_from_it_is_not():
    words = ITEM.split()
    assert leaked([amid(" ".join(words[: len(words) // 2]))], [ITEM]) == [(0, 0)]
    assert leaked([amid(" ".join(words[:13]))], [ITEM]) == []
    assert leaked([amid(" ".join(words[:13]))], [ITEM], share=0.3) == [(0, 0)]


def test_an_item_with_a_word_changed_is_found_by_what_is_left():
    (found,) = findings([amid(ITEM.replace("storm", "flood"))], [ITEM])
    assert 0.5 < found["share"] < 1


def test_a_short_item_is_found_as_a_whole_alone():
    item = "Which river flows through the old town of Bern"  # 9 words
    assert leaked([amid(item), amid(item.replace("old", "new")), amid(item[:-5])], [item]) == [(0, 0)]
    assert leaked([amid("Who was the author of Persuasion")], ["Who was the author of Persuasion", ITEM]) == []


def test_a_script_without_spaces_is_searched_by_characters():
    document = "他回頭看了一看。" * 3 + CHINESE[:30] + "無人知道。" + text(3)
    (found,) = findings([document, "他回頭看了一看。" * 9], [CHINESE, ITEM])
    assert (found["row"], found["item"]) == (0, 0)
    ((start, end),) = found["spans"]
    assert document[start:end] == CHINESE[:30]


def test_a_phrase_that_many_documents_hold_is_none_and_told():
    few, many = [amid(LICENCE, n) for n in range(3)], [amid(LICENCE, n) for n in range(12)]
    assert leaked(few, [LICENCE]) == [(n, 0) for n in range(3)]
    assert judged(many, [text(200), LICENCE]) == ([], {1: 12})
    assert leaked(many, [LICENCE], common=12) == [(n, 0) for n in range(12)]


def test_a_common_line_in_an_item_condemns_no_document():
    item = f"{LICENCE} Which clause of the licence above forbids it to copy the book?"
    assert leaked([amid(LICENCE, n) for n in range(12)], [item]) == []
    assert leaked([*(amid(LICENCE, n) for n in range(12)), amid(item)], [item]) == [(12, 0)]


def test_an_item_that_many_sites_copied_is_a_leak():
    assert leaked([amid(ITEM, n) for n in range(12)], [ITEM]) == [(n, 0) for n in range(12)]


def test_documents_that_are_gone_neither_leak_nor_make_a_phrase_common():
    many = [amid(LICENCE, n) for n in range(12)]
    assert leaked(many, [LICENCE], gone=[0, 1, 2]) == [(n, 0) for n in range(3, 12)]


def test_what_is_cut_out_of_a_document_no_longer_leaks():
    document = amid(ITEM)
    start = document.index(ITEM)
    assert leaked([document], [ITEM], cut=[(0, Cut(start, start + len(ITEM)))]) == []
    assert leaked([document], [ITEM], cut=[(0, Cut(0, start))]) == [(0, 0)]


def test_a_table_of_numbers_is_no_leak_of_another():
    table = " ".join(map(str, range(100, 140)))
    item = f"What comes next in this row of numbers here: {' '.join(map(str, range(20)))}?"
    assert leaked([table, text(1)], [item, ITEM]) == []


def test_an_item_over_two_documents_is_in_neither():
    words = ITEM.split()
    assert leaked([" ".join(words[:10]), " ".join(words[10:20])], [" ".join(words[:20])]) == []


def by_definition(texts: list[str], items: list[str], n: int, share: float, most: int) -> list[tuple[int, int]]:
    """The rule of judge.py, gram by gram, for items of spaced words that are no shorter than `n`."""
    holders = defaultdict(set)
    for number, one in enumerate(texts):
        words = one.split()
        for start in range(len(words) - n + 1):
            holders[tuple(words[start : start + n])].add(number)
    found = []
    for number in range(len(texts)):
        for which, item in enumerate(items):
            words, rare, whole = item.split(), set(), set()
            for start in range(len(words) - n + 1):
                gram = tuple(words[start : start + n])
                if number in holders[gram] and len(set(gram)) > n / 2:
                    whole.update(range(start, start + n))
                    rare.update(range(start, start + n) if len(holders[gram]) <= most else ())
            copied = len(whole) >= max(0.8 * len(words), 2 * n)
            if len(rare) >= share * len(words) or copied:
                found.append((number, which))
    return found


@pytest.mark.parametrize("at_once", [1, 1_000_000])
def test_leaks_are_their_definition(at_once, monkeypatch):
    monkeypatch.setattr(judge, "_AT_ONCE", at_once)
    rng = random.Random(0)
    phrases = [" ".join(rng.choices("abcdefgh", k=rng.randint(2, 9))) for _ in range(30)]
    make = lambda count: " ".join(rng.choices(phrases, k=count))
    items, texts = [make(rng.randint(2, 4)) + " a b c d" for _ in range(60)], [make(12) for _ in range(80)]
    got = leaked(texts, items, words=4, shortest=4, share=0.6, common=3)
    assert got == by_definition(texts, items, n=4, share=0.6, most=3)
    assert 20 < len(got) < len(items) * len(texts) / 2


@pytest.mark.parametrize("length", [1, 2, 5, 8, 13, 20])
def test_every_gram_is_the_gram_of_each_word(length):
    flat = np.random.default_rng(0).integers(0, 2**63, 60).astype(np.uint64)
    np.testing.assert_array_equal(every_gram(flat, length), grams(flat, np.arange(61 - length), length))
    assert len(every_gram(flat[: length - 1], length)) == 0


def test_a_sample_of_a_leak_holds_no_personal_data():
    item = "which of the seven rivers that cross the old town did the bishop bless before the flood of that winter"
    (found,) = findings([f"Write to ann.smith@realmail.com. {item} Or call."], [item])
    assert found["sample"].startswith("Write to <EMAIL>. which of")


def test_personal_data_are_looked_for_once_in_a_document_however_many_items_it_holds(monkeypatch):
    looked, find = [], pii.find
    monkeypatch.setattr(pii, "find", lambda text, kinds: looked.append(text) or find(text, kinds))
    items = [f"{ITEM} It was the year {one} of the old king." for one in ("first", "second", "third")]
    documents = [amid(" ".join(items), 1), text(2), amid(items[0], 3)]
    assert len(findings(documents, items)) == 6
    assert looked == [documents[0], documents[2]]
