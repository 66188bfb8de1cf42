"""The language of a text: as py3langid says of the same bytes, of the whole as of the sample, and of 31 languages."""

import os
import re
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from jaxlm.corpus.language import _REACH, UNDETERMINED, Identifier, LanguageConfig, classify, sample

UDHR = Path(os.environ.get("JAXLM_DATA", "")) / "udhr"
needs_udhr = pytest.mark.skipif("JAXLM_DATA" not in os.environ or not UDHR.is_dir(), reason="needs $JAXLM_DATA/udhr")
CODES = {
    "arb": "ar", "ben": "bn", "ces": "cs", "cmn_hans": "zh", "cmn_hant": "zh", "dan": "da", "deu": "de",
    "ell_monotonic": "el", "eng": "en", "fin": "fi", "fra": "fr", "heb": "he", "hin": "hi", "hun": "hu", "ind": "id",
    "ita": "it", "jpn": "ja", "kor": "ko", "nld": "nl", "pol": "pl", "por_BR": "pt", "por_PT": "pt", "ron": "ro",
    "rus": "ru", "spa": "es", "swe": "sv", "swh": "sw", "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi",
}  # fmt: skip
ENGLISH = "All human beings are born free and equal in dignity and rights. "


@pytest.fixture(scope="module")
def peer() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def declarations() -> list[tuple[str, str]]:
    """(language, text) of every file, with single spaces."""
    return [(CODES[path.stem], " ".join(path.read_text().split())) for path in sorted(UDHR.glob("*.txt"))]


def pieces(characters: int, step: int) -> list[tuple[str, str]]:
    texts = declarations()
    return [(code, t[i : i + characters]) for code, t in texts for i in range(0, len(t) - characters + 1, step)]


def documents() -> list[tuple[str, str]]:
    """About 4 kB each."""
    found = []
    for code, text in declarations():
        size = 4_000 * len(text) // len(text.encode())
        found += [(code, text[i : i + size]) for i in range(0, len(text) - size + 1, size // 3)]
    return found


@needs_udhr
def test_the_answer_for_the_same_bytes_is_py3langids_to_the_last_bit(peer):
    texts = [
        text for size, step in ((1, 997), (7, 997), (200, 1_999), (4_000, 4_000)) for _, text in pieces(size, step)
    ]
    texts += [text.upper() for text in texts[::7]] + [unicodedata.normalize("NFD", text) for text in texts[::7]]
    pairs = [(classify(text), peer.classify(text)) for text in texts]
    assert len([ours for ours, _ in pairs if ours[0] != UNDETERMINED]) > 800
    assert [(ours, theirs) for ours, theirs in pairs if ours != theirs and ours[0] != UNDETERMINED] == []
    without = {theirs for ours, theirs in pairs if ours[0] == UNDETERMINED}
    assert {language for language, _ in without} == {"sr"} and max(p for _, p in without) < 3 / 142, (
        "without an n-gram all 142 classes are equal, and two are called sr"
    )


def test_no_ngram_reaches_further_back_than_a_walk_starts(peer):
    """The depth of the automaton: how many bytes lead from the root to its last states."""
    row, following = np.array(peer.tk_row), np.array(peer.tk_nextmove).reshape(-1, 256)
    seen, front, depth = np.zeros(len(row), bool), np.array([0]), 0
    while front.size:
        seen[front] = True
        depth += 1
        reached = np.unique(following[row[front]])
        front = reached[~seen[reached]]
    assert seen.all() and depth - 1 == _REACH


@pytest.mark.parametrize("text", ["a\0b\0\0 the cat sat on the mat", "half a pair \ud800 in the text", "x" * 1_000])
def test_odd_text_is_answered_as_by_py3langid(text, peer):
    assert classify(text) == peer.classify(text)


@needs_udhr
def test_a_sample_answers_as_the_whole_text_does():
    found = documents()
    identifier = Identifier()
    same = [identifier.identify(text)[0] == classify(text)[0] for _, text in found]
    print(f"\nthe same from a sample: {sum(same)} of {len(same)} documents of 4 kB")
    assert len(same) > 200 and all(same)


@needs_udhr
def test_31_declarations_are_in_their_languages(peer):
    identifier = Identifier()
    rows = []
    for name, texts in (("file", declarations()), ("4 kB", documents()), ("200 characters", pieces(200, 200))):
        ours = Counter((code, identifier.identify(text)[0]) for code, text in texts)
        theirs = Counter((code, peer.classify(text)[0]) for code, text in texts)
        right = [sum(n for (a, b), n in counted.items() if a == b) / len(texts) for counted in (ours, theirs)]
        wrong = {pair: n for pair, n in ours.most_common() if pair[0] != pair[1]}
        rows.append((name, len(texts), *right, wrong))
    for name, count, ours, theirs, wrong in rows:
        print(f"{name:15} {count:6} texts: right {ours:.4f}, py3langid alone {theirs:.4f}; wrong {wrong}")
    assert [ours for _, _, ours, _, _ in rows[:2]] == [1.0, 1.0]
    assert rows[2][2] >= 0.98 and rows[2][2] >= rows[2][3]


def test_few_letters_are_undetermined():
    identify = Identifier().identify
    for text in ("", " \n", "1,234.50 ... 2026-11-29", "Chapter 12", "=" * 5_000, "12 34 " * 1_000, "人权宣言"):
        assert identify(text) == (UNDETERMINED, 0.0), text
    assert identify(ENGLISH)[0] == "en" and identify("人人生而自由在尊严和权利上一律平等")[0] == "zh"


def test_the_least_number_of_letters_is_a_setting():
    assert Identifier(LanguageConfig(letters=200)).identify(ENGLISH)[0] == UNDETERMINED
    assert Identifier(LanguageConfig(letters=0)).identify("guten Tag")[0] != UNDETERMINED


@pytest.mark.parametrize(
    "text, language",
    [
        ("ข้อ 1 มนุษย์ทั้งหลายเกิดมามีอิสระ", "th"),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다", "ko"),
        ("すべての人間は、生まれながらにして自由であり", "ja"),
        ("ყველა ადამიანი იბადება თავისუფალი და თანასწორი", "ka"),
    ],
)
def test_a_script_of_one_language_decides_alone(text, language, monkeypatch):
    monkeypatch.setattr("jaxlm.corpus.language.classify", lambda text: pytest.fail("the model was asked"))
    found, share = Identifier().identify(text)
    assert found == language and 0.9 < share <= 1.0


def test_a_quotation_in_another_script_does_not_decide():
    assert Identifier().identify(ENGLISH * 3 + "すべての人間は 모든 인간은")[0] == "en"


def test_a_sample_holds_both_ends_and_a_short_text_is_its_own():
    text = "".join(chr(0x4E00 + i % 20_000) for i in range(50_000))
    assert sample(text)[:64] == text[:64] and sample(text)[-64:] == text[-64:] and len(sample(text)) == 8 * 64 + 7
    assert sample(text[:512]) == text[:512] and re.fullmatch(r"\S{64}( \S{64}){7}", sample(text[:513]))
