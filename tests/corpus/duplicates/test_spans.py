"""Places of words in a text beside the words themselves."""

import unicodedata

import hypothesis.strategies as st
from hypothesis import given

from jaxlm.corpus.duplicates.words import spans, words
from tests.corpus.duplicates.test_shingles import ALPHABET


@given(st.text(st.sampled_from(ALPHABET + "\u0301\u0323İ"), max_size=40))
def test_what_stands_where_a_word_does_holds_that_word(text):
    """And nothing else, but where a character is several, as that of a voiced syllable."""
    starts, ends = spans(text)
    expected = words([text]).hashes.flat.tolist()
    found = words([text[start:end] for start, end in zip(starts, ends, strict=True)]).hashes
    assert len(starts) == len(expected)
    assert all(word in found.row(n) for n, word in enumerate(expected))
    if all(len(unicodedata.normalize("NFKD", one)) == 1 for one in text):
        assert found.flat.tolist() == expected


def test_a_number_and_a_letter_with_its_accents_are_whole():
    text = "in 1,234 cafe\u0301 of “ﬁne” 中文"
    starts, ends = spans(text)
    found = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    assert found == ["in", "1,234", "cafe\u0301", "of", "ﬁne", "中", "文"]
