"""Bytes of a file to text, or the reason why they are none.

What is valid UTF-8 stays as it is: carriage returns, NUL, a byte order mark. A few invalid bytes in a long
text are scars, each replaced by U+FFFD and counted. More of them mean another encoding, which would train the
model on garbage, so the file is left out. The two bounds are chosen: text in a Latin encoding has some per
cent of invalid bytes, a damaged UTF-8 file far fewer than one in a thousand; executables and images have over
a tenth control characters, text almost none.
"""

import re

REPLACED_LIMIT = 1e-3  # of the characters
CONTROL_LIMIT = 0.1  # of the first bytes
HEAD_BYTES = 8_000  # as git looks for NUL in

_SIGNS = (  # (place, bytes there, what has them): by their makers' specifications
    (0, b"PK\3\4", "a zip archive (as .docx, .xlsx and .epub are): unpack it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (0, b"Rar!\x1a\x07", "a rar archive: unpack it"),
    (0, b"%PDF-", "a PDF: convert it with pdftotext"),
    (257, b"ustar\0", "a tar archive: unpack it"),
    (257, b"ustar  \0", "a tar archive: unpack it"),  # GNU's
)
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\b\x1b")) + b"\x7f"
_HALF_PAIR = re.compile("[\ud800-\udfff]")


class NotText(Exception):
    """Carries the reason to leave a file or a record out."""


def decode(data: bytes) -> tuple[str, int]:
    """(text, characters replaced), or NotText."""
    refuse_binary(data[:HEAD_BYTES])
    try:
        return data.decode("utf-8"), 0
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
    replaced = text.count("\ufffd") - data.count("\ufffd".encode())
    if replaced > REPLACED_LIMIT * len(text):
        raise NotText("not UTF-8, convert it with iconv -t UTF-8")
    return text, replaced


def refuse_binary(head: bytes) -> None:
    """NotText where the first HEAD_BYTES are none of a text in UTF-8."""
    for place, sign, what in _SIGNS:
        if head.startswith(sign, place):
            raise NotText(what)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotText("in UTF-16, convert it with iconv -t UTF-8")
    if len(head) - len(head.translate(None, _CONTROL)) > CONTROL_LIMIT * len(head):
        raise NotText("binary")


def mend_pairs(text: str) -> tuple[str, int]:
    """JSON can spell half of a surrogate pair, UTF-8 cannot: (text with U+FFFD instead, how many)."""
    return _HALF_PAIR.subn("\ufffd", text)
