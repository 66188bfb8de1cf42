"""Measures are their definitions, spelt out here in loops."""

import math
import random
from collections import Counter

import pytest

from jaxlm.corpus.quality import REPEATED, TOP, measure
from jaxlm.corpus.words import Lexicon


def measured(text: str) -> dict[str, float]:
    return measure(text, Lexicon().read(text))


def top(words: list[str], n: int) -> int:
    grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    commonest, times = Counter(grams).most_common(1)[0]
    return len(commonest) * times


def repeated(words: list[str], n: int) -> int:
    seen, characters, place = set(), 0, 0
    while place + n <= len(words):
        gram = tuple(words[place : place + n])
        if gram in seen:
            characters, place = characters + sum(map(len, gram)), place + n
        else:
            seen.add(gram)
            place += 1
    return characters


@pytest.mark.parametrize("seed", range(40))
def test_shares_of_n_grams_are_those_of_a_loop(seed):
    rng = random.Random(seed)
    words = [rng.choice(["a", "bb", "ccc", "dddd", "eeeee"][: rng.randint(1, 5)]) for _ in range(rng.randint(1, 60))]
    if seed % 2:
        words += words[: rng.randint(0, 20)] * 3
    text = " ".join(words)
    found = measured(text)
    for n in TOP:
        assert math.isclose(found[f"top_{n}_gram"], top(words, n) / len(text)), n
    for n in REPEATED:
        assert math.isclose(found[f"repeated_{n}_grams"], repeated(words, n) / len(text)), n


def test_measures_of_words_count_what_their_names_say():
    found = measured("The # of cats... 12 be—ing, that’s it…")
    words = ["The", "#", "of", "cats", "...", "12", "be", "—", "ing", ",", "that", "’s", "it", "…"]
    real = ["The", "of", "cats", "12", "be", "ing", "that", "’s", "it"]
    assert found["words"] == len(real)
    assert math.isclose(found["mean_word_length"], sum(map(len, real)) / len(real))
    assert found["hashes"] == 1 / len(words)
    assert found["ellipses"] == 2 / len(words)
    assert found["alphabetic_words"] == 8 / len(words)
    assert found["stop_words"] == 3  # of, be, that: "The" has a capital


def test_measures_of_lines_count_what_their_names_say():
    found = measured("- one\n• two\nthree…\nfour.\n\nA line that is over thirty characters.\nfour.")
    assert found["bullet_lines"] == 2 / 7
    assert found["ellipsis_lines"] == 1 / 7
    assert found["terminal_lines"] == 3 / 6
    assert found["short_lines"] == 5 / 6
    assert found["line_breaks"] == 6 / 18  # - one • two three … four . A line that is over thirty characters . four .


def test_what_repeats_is_counted_from_its_second_time():
    text = "aa\naa\n\nbbb\naa\n\n\nbbb\naa"
    found = measured(text)
    assert found["repeated_paragraphs"] == 1 / 3
    assert found["repeated_paragraph_characters"] == len("bbb\naa") / len(text)
    assert found["repeated_lines"] == 4 / 6
    assert found["repeated_block_characters"] == len("aaaabbbaa") / len(text)
    assert found["repeated_line_characters"] == len("aaaabbbaa") / len(text.replace("\n", ""))


def test_one_word_has_every_measure():
    found = measured("word")
    assert found["words"] == 1
    assert not any(found[f"top_{n}_gram"] for n in TOP)


def test_the_third_longest_line_is_none_of_two():
    assert measured("one\nfour\nsix six\n\ntwo")["third_longest_line"] == 3
    assert measured("one\nfour")["third_longest_line"] == 0
