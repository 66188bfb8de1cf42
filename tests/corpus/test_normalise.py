"""One form of a text: what is damaged is mended, what is clean is left, and a second time changes nothing."""

import json
import os
import random
import re
import unicodedata
from pathlib import Path

import ftfy
import hypothesis
import hypothesis.strategies as st
import pytest
from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES

from jaxlm.config import parse
from jaxlm.corpus.normalise import NormaliseConfig, _mend, normalise
from jaxlm.errors import UserError

DATA = Path(os.environ.get("JAXLM_DATA", ""))
needs_data = pytest.mark.skipif("JAXLM_DATA" not in os.environ, reason="needs $JAXLM_DATA")
ENCODING_ALONE = NormaliseConfig(form="none", spaces=False)


def cases(pattern: str) -> list[dict]:
    found = [case for path in sorted((DATA / "mojibake-ftfy").glob(pattern)) for case in json.loads(path.read_text())]
    return [case for case in found if case["expect"] == "pass"]


def mended(case: dict) -> str:
    """What the encoding alone makes of it: ftfy as a whole would also make quotes straight."""
    return case.get("fixed-encoding", case["fixed"])


@needs_data
def test_every_case_that_ftfy_mends_is_mended():
    found = cases("*.json")
    assert len(found) > 100
    without = NormaliseConfig(mojibake=False)
    for case in found:
        assert normalise(case["original"])[0] == normalise(mended(case), without)[0], case["label"]
        if not re.search(r"[\x00-\x1f\x7f-\x9f\xad]", mended(case)):
            assert normalise(case["original"], ENCODING_ALONE)[0] == mended(case), case["label"]


@needs_data
def test_what_only_looks_damaged_stays_as_it_is():
    found = cases("negative.json")
    assert len(found) > 25
    for case in found:
        text, notes = normalise(case["original"], ENCODING_ALONE)
        assert text == mended(case), case["label"]  # of one alone a C1 control character is mended
        assert bool(notes) == (text != case["original"])


@needs_data
def test_a_damaged_line_among_thousands_is_mended_and_the_others_stay():
    case = next(case for case in cases("in-the-wild-a.json") if "\n" not in case["original"])
    clean = "Une ligne qui va très bien, à côté d’une autre — « déjà ».\n" * 2_000
    text, notes = normalise(clean + case["original"] + "\n" + clean)
    assert text == clean + mended(case) + "\n" + clean and notes == {"mojibake": 1}


ALPHABET = [
    char
    for char in map(chr, [*range(0x80, 0x2600), 0xF8FF, 0xFB01, 0xFFFD])
    if re.match(f"[{''.join(MOJIBAKE_CATEGORIES.values())}]", char) or char in BADNESS_RE.pattern
]


ENCODINGS = ["latin-1", "cp1252", "cp1251", "mac-roman", "cp437", "cp1250", "cp1253", "cp1257"]


WORDS = "voilà Größe мир Ελλάς “quoted” – 中文 שלום مرحبا ❤ 😍 œuvre plain € 3×4"


def damaged(rng: random.Random) -> str:
    """Words that were read in a wrong encoding up to twice, among characters that such readings give."""
    parts = []
    for word in rng.choices(WORDS.split(), k=rng.randrange(1, 6)):
        for encoding in rng.choices(ENCODINGS, k=rng.randrange(3)):
            word = word.encode().decode(encoding, errors="replace")
        parts += word, rng.choice(["", " ", "\n", ", ", *rng.choices(ALPHABET, k=4)])
    return "".join(parts)


def test_a_line_is_mended_as_ftfy_mends_it_alone():
    rng = random.Random(0)
    changed = 0
    for _ in range(5_000):
        text = damaged(rng)
        wanted = "\n".join(ftfy.fix_encoding(line) for line in text.split("\n"))
        assert _mend(text)[0] == wanted, repr(text)
        changed += wanted != text
    assert changed > 1_000


@hypothesis.given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t\r\xa0\u200b\x0cÃ©â€")))
@hypothesis.settings(max_examples=500, deadline=None)
def test_a_second_time_changes_nothing_but_for_mojibake_in_mojibake(text):
    without = NormaliseConfig(mojibake=False)
    once, notes = normalise(text, without)
    assert normalise(once, without) == (once, {})
    assert (once != text) == bool(notes) and all(count > 0 for count in notes.values())
    assert unicodedata.is_normalized("NFC", once)
    assert not re.search(r"\n{3}|[ \t\xa0]\n|[\r\x00-\x08\ufeff]", once)


@pytest.mark.parametrize(
    "text, wanted, notes",
    [
        ("", "", {}),
        ("plain\n\twith tabs\n\n    and indents\n", "plain\n\twith tabs\n\n    and indents\n", {}),
        ("a\r\nb\rc\x0cd\u2028e", "a\nb\nc\nd\ne", {"line ends": 4}),
        ("years\x85", "years…", {"mojibake": 1}),
        ("a\0\x01b\x7fc\x1b[0m", "abc[0m", {"control": 3}),
        ("\ufeffa\u200bb\xadc\u2060", "abc", {"zero width": 4}),
        ("می\u200cخواهم 👨\u200d👩\u200d👧", "می\u200cخواهم 👨\u200d👩\u200d👧", {}),
        ("cafe\u0301 \u1112\u1161\u11ab", "café 한", {"form": 1}),
        ("a  b \t c\xa0\xa0d\u3000\u3000e", "a b c d e", {"spaces": 4}),
        ("a \nb\t\n  \n \t c  ", "a\nb\n\n \t c", {"spaces": 4}),
        ("one\xa0space : one\u3000space", "one\xa0space : one\u3000space", {}),
        ("a\n\n\n\nb\n \n \nc", "a\n\nb\n\nc", {"spaces": 2, "blank lines": 2}),
        ("voilÃ  le travail\nÂ© 2020", "voilà le travail\n© 2020", {"mojibake": 2}),
    ],
)
def test_a_text_becomes_plain_and_what_was_done_is_counted(text, wanted, notes):
    assert normalise(text) == (wanted, notes)


def test_each_step_can_be_left_out():
    assert normalise("ﬁ ①", NormaliseConfig(form="NFKC")) == ("fi 1", {"form": 1})
    assert normalise("cafe\u0301", NormaliseConfig(form="none")) == ("cafe\u0301", {})
    assert normalise("voilÃ  le", NormaliseConfig(mojibake=False)) == ("voilÃ le", {"spaces": 1})
    assert normalise("a\x85b", NormaliseConfig(mojibake=False)) == ("a\nb", {"line ends": 1})
    assert normalise("a  b \n\n\n\nc", NormaliseConfig(spaces=False)) == ("a  b \n\n\n\nc", {})
    with pytest.raises(UserError, match="form"):
        parse({"form": "NFD"}, NormaliseConfig)


@pytest.mark.parametrize(
    ("text", "simplified", "traditional"),
    [
        ("漢語，臺灣的軟體", "汉语，台湾的软体", "漢語，臺灣的軟體"),
        ("汉语后面 tea", "汉语后面 tea", "漢語後面 tea"),
        ("図書館の漢字", "図書館の漢字", "図書館の漢字"),  # Japanese, which has kana
        ("plain", "plain", "plain"),
    ],
)
def test_chinese_texts_are_folded_where_it_is_asked_for(text, simplified, traditional):
    assert normalise(text) == (text, {})
    for chinese, expected in (("simplified", simplified), ("traditional", traditional)):
        folded, steps = normalise(text, NormaliseConfig(chinese=chinese))
        assert (folded, steps) == (expected, {"chinese": 1} if expected != text else {})
