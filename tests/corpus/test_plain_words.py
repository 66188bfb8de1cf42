"""Words of any script against their definition, character by character."""

import unicodedata

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.corpus import plain_words

TEXTS = st.text(st.sampled_from("ab AB\n\t.,-_1é\u0301中文。のक\u093f\u2003\u00a0İßſ"), max_size=40)


def letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"


def spelled(text: str, spaced: bool) -> list[str]:
    """The words as strings."""
    text = text.lower()
    if not spaced:
        return list(filter(letter, text))
    found = []
    for run in text.split():
        places = [place for place, character in enumerate(run) if letter(character)]
        if places:
            found.append(run[places[0] : places[-1] + 1])
    return found


@given(TEXTS, st.booleans())
def test_two_words_have_one_number_if_and_only_if_they_are_equal(text, spaced):
    expected, found = spelled(text, spaced), plain_words.words(text, spaced).tolist()
    assert len(found) == len(expected)
    assert len(set(zip(expected, found, strict=True))) == len(set(expected)) == len(set(found))


def test_a_word_has_its_number_wherever_it_stands():
    one = plain_words.words("Tea", spaced=True)[0]
    assert plain_words.words(f"{'x' * 1000} (tea) \n«TEA»", spaced=True)[1:].tolist() == [one, one]
    assert plain_words.words("teas eta ate", spaced=True).tolist().count(one) == 0


def test_grams_are_of_neighbours_in_order():
    a, b, c = words = plain_words.words("one two three", spaced=True)
    assert len(plain_words.grams(words, 2)) == 2
    assert plain_words.grams(words, 4).size == 0
    assert plain_words.grams(np.array([a, b, a, b]), 2)[0] == plain_words.grams(np.array([a, b, a, b]), 2)[2]
    assert plain_words.grams(np.array([a, b, c, b, a]), 2).tolist().count(plain_words.grams(words, 2)[0]) == 1
