"""Bytes become the text they spell, or the reason why they are none."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxlm.corpus.decode import NotText, decode, mend_pairs

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\n\r"))


@hypothesis.given(TEXT)
def test_valid_text_stays_as_it_is(text):
    assert decode(text.encode()) == (text, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one\r\ntwo\rthree\n",
        "\ufeffwith a mark",
        "a page of words with one NUL \0 in it",
        "\x1b[1mbold\x1b[0m",
    ],
)
def test_oddities_of_real_text_stay_as_they_are(text):
    assert decode(text.encode()) == (text, 0)


def test_a_scar_in_a_long_text_is_replaced_and_counted():
    assert decode(b"x" * 3_000 + b"\xff" + b"y" * 3_000) == ("x" * 3_000 + "\ufffd" + "y" * 3_000, 1)


def test_a_replacement_character_of_the_author_is_no_scar():
    assert decode("one \ufffd two".encode()) == ("one \ufffd two", 0)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "gb18030", "koi8_r"])
def test_text_in_another_encoding_is_left_out(encoding):
    text = {"shift_jis": "これは日本語です。", "gb18030": "这是中文。", "koi8_r": "Это текст."}.get(
        encoding, "Größe, naïve café"
    )
    with pytest.raises(NotText, match="not UTF-8, convert it with iconv"):
        decode((text * 100).encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_left_out(encoding):
    with pytest.raises(NotText, match=r"UTF-16|binary"):
        decode(("Ordinary text. " * 50).encode(encoding))


def test_random_bytes_executables_and_images_are_left_out():
    for seed in range(50):
        with pytest.raises(NotText):
            decode(np.random.default_rng(seed).bytes(4_000))
    with pytest.raises(NotText, match="binary"):
        decode(b"\x7fELF\x02\x01\x01" + bytes(1_000))
    with pytest.raises(NotText):
        decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"PK\3\4\24\0", r"a zip archive \(as .docx, .xlsx and .epub are\): unpack it"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
        (b"Rar!\x1a\x07\x01\0", "a rar archive: unpack it"),
        (b"a.txt".ljust(257, b"\0") + b"ustar\0", "a tar archive: unpack it"),
        (b"%PDF-1.7\n%", "a PDF: convert it with pdftotext"),
    ],
)
def test_a_file_of_files_is_told_by_its_first_bytes(head, reason):
    with pytest.raises(NotText, match=f"^{reason}$"):
        decode(head + b"a readable text " * 99 + b"\xff" * 99)


@hypothesis.given(st.binary())
def test_no_bytes_crash_it(data):
    try:
        text, replaced = decode(data)
    except NotText as reason:
        assert str(reason)
    else:
        assert text.encode().decode() == text and replaced >= 0


def test_halves_of_pairs_are_mended():
    assert mend_pairs("a\ud800b\udfffc") == ("a\ufffdb\ufffdc", 2)
    assert mend_pairs("\U0001f600") == ("\U0001f600", 0)
