import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.errors import Diverged
from jaxlm.generation.text import Text


class Bytes:
    """A token is a byte; 256 is the separator."""

    vocab, separator, closing, start = 257, 256, 256, 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode_bytes(self, ids) -> bytes:
        return bytes(i for i in ids if i != self.separator)


def stream(data: bytes, sizes: list[int]) -> tuple[list[str], str]:
    """The pieces shown for `data` that arrives in chunks of `sizes`, and the final text."""
    shown: list[str] = []
    text = Text(Bytes(), shown.append)
    for size in [*sizes, len(data)]:
        chunk, data = data[:size], data[size:]
        text.add(list(chunk), [-1.0] * len(chunk))
    text.add([256], [-1.0])
    return shown, text.completion("").text


def test_a_character_is_shown_once_it_is_whole():
    shown, final = stream("a€😀z".encode(), [1] * 9)
    assert shown == ["a", "€", "😀", "z"]
    assert final == "a€😀z"


def test_bytes_that_are_no_character_are_shown_as_such():
    shown, final = stream(b"a\xe2\x82", [1] * 3)
    assert shown == ["a", "\ufffd"]
    assert final == "a\ufffd"


@given(st.text(), st.lists(st.integers(0, 5)))
def test_pieces_of_a_text_are_the_text_and_never_broken(text, sizes):
    shown, final = stream(text.encode(), sizes)
    assert "".join(shown) == final == text


@given(st.binary(max_size=30), st.lists(st.integers(0, 5)))
def test_any_bytes_read_the_same_in_pieces_as_at_once(data, sizes):
    shown, final = stream(data, sizes)
    assert "".join(shown) == final == data.decode(errors="replace")


def test_what_follows_the_separator_is_dropped():
    text = Text(Bytes(), lambda piece: None)
    text.add([104, 105, 256, 256, 33], [-1.0, -2.0, -6.0, 0.0, 0.0])
    text.add([33], [-9.0])
    assert text.completion("p") == ("p", "hi", [104, 105], True, -3.0, None)


def test_without_a_separator_it_has_not_stopped():
    text = Text(Bytes(), lambda piece: None)
    text.add([104, 105], [-1.0, -2.0])
    assert text.completion("") == ("", "hi", [104, 105], False, -1.5, None)


def test_logits_that_are_not_finite_are_an_error():
    text = Text(Bytes(), lambda piece: None)
    text.add([104], [float("nan")])
    with pytest.raises(Diverged, match="'some prompt'"):
        text.completion("some prompt")
