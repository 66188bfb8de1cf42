"""Words and shingles beside the same rules written character by character."""

import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given

from jaxlm.corpus.duplicates import shingles as shingles_module
from jaxlm.corpus.duplicates import words as words_module
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.shingles import shingles
from jaxlm.corpus.duplicates.words import words

ALPHABET = "abZÉé 9१4.,-'\n\t\0\u2028\u00a0中文かがไทย한ßﬁ½😀\u0301\U00020000\U0010ffff"
TEXTS = st.lists(st.text(ALPHABET, max_size=30), min_size=1, max_size=8)


def plain_words(text: str) -> list[str]:
    """The rules of `words`, a character at a time; a word of a script without spaces is a character."""
    found, inside = [], False
    for character in unicodedata.normalize("NFKD", text).lower():
        category = unicodedata.category(character)
        if character.isspace():
            inside = False
        elif "\u0300" <= character <= "\u036f" or (category[0] in "PSC" and ord(character) < 0x20000):
            continue
        elif any(low <= character <= high for low, high in ("\u0e00\u0eff", "\u3040\u312f", "\u3400\u9fff")) or (
            0x20000 <= ord(character) <= 0x3FFFF
        ):
            found, inside = [*found, character], False
        else:
            letter = "0" if category == "Nd" else character
            if not inside:
                found, inside = [*found, letter], True
            elif not (letter == "0" and found[-1].endswith("0")):
                found[-1] += letter
    return found


@given(TEXTS)
def test_words_are_as_the_rules_written_out(texts):
    found = words(texts)
    plain = [plain_words(text) for text in texts]
    assert found.hashes.counts.tolist() == [len(one) for one in plain]
    names: dict[int, str] = {}
    for index, one in enumerate(plain):
        for hash_, word in zip(found.hashes.row(index).tolist(), one, strict=True):
            assert names.setdefault(hash_, word) == word
    assert len(set(names.values())) == len(names)  # one hash a word


def windows(words: list[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + length]) for i in range(max(len(words) - length + 1, 1))} if words else set()


@given(TEXTS, st.integers(1, 4))
def test_shingles_are_the_set_of_windows(texts, length):
    cfg = NearConfig(words=length, characters=length)
    got = shingles(texts, cfg)
    plain = [windows(plain_words(text), length) for text in texts]
    assert got.counts.tolist() == [len(one) for one in plain]
    assert len(set(got.flat.tolist())) == len(set().union(*plain))  # one hash a window, in all texts
    for index, text in enumerate(texts):
        assert got.row(index).tolist() == sorted(shingles([text], cfg).flat.tolist())


def test_a_text_longer_than_the_table_of_powers_is_hashed_alike(monkeypatch):
    text = f"a few words then {'x' * 500} and a few more"
    whole = shingles([text], NearConfig())
    monkeypatch.setattr(words_module, "_REACH", 20)
    assert (shingles([text], NearConfig()).flat == whole.flat).all()


@pytest.mark.parametrize("block", [1, 50, 1_000])
def test_blocks_change_nothing(block, monkeypatch):
    texts = [f"text {'word ' * n} ends, naïvely 中文 {n}" for n in range(40)]
    whole = shingles(texts, NearConfig())
    monkeypatch.setattr(shingles_module, "BLOCK", block)
    again = shingles(texts, NearConfig())
    assert (whole.flat == again.flat).all()
    assert (whole.offsets == again.offsets).all()


def test_case_accents_punctuation_and_numbers_make_no_difference():
    a, b = "The café -- at 12,500 feet -- 'closed' in 1999.", "the cafe at 7 feet “closed” in 2024"
    got = shingles([a, b], NearConfig())
    assert got.row(0).tolist() == got.row(1).tolist() != []


def test_a_text_without_a_word_has_no_shingle_and_a_short_one_has_one():
    assert shingles(["", "?!", "one", "one two three four", "a b c d e f"], NearConfig()).counts.tolist() == [
        0,
        0,
        1,
        1,
        2,
    ]


def test_no_texts_have_no_shingles():
    assert shingles([], NearConfig()).offsets.tolist() == [0]


def test_a_script_without_spaces_is_cut_by_characters():
    chinese, english = "天地玄黃宇宙洪荒日月盈昃", "heaven and earth dark and yellow"
    mixed = [chinese, english, f"{chinese} {english}", f"{english} {chinese[:4]}"]
    assert words(mixed).unspaced.tolist() == [True, False, True, False]
    assert shingles([chinese, english], NearConfig(characters=10)).counts.tolist() == [3, 2]
