"""A SentencePiece model as bytes, read here before the library sees it: it comes from a file, which may hold anything.

SentencePiece is C++ and believes what it loads: a piece of 100 KB overflowed its stack and ended the process
(google/sentencepiece #1263), a bad table of characters led it beyond the end of its memory (#1269). So the wire format
of protocol buffers (https://protobuf.dev/programming-guides/encoding) is read here, of the few fields of its
ModelProto, with every length and count bounded; what jaxlm never writes is refused.

Left out: the meaning of most settings of training, which loading does not look at.
"""

import math
import struct
from collections.abc import Iterator
from typing import Any

from jaxlm.data import charsmap
from jaxlm.data.tokenizer_base import is_utf8
from jaxlm.errors import UserError

MOST_BYTES = 64_000_000  # of a model; chosen: fifteen times the largest we know (Gemma's, 4.2 MB)
MOST_PIECES = 1_000_000  # chosen: four times the largest vocabulary we know (Gemma's 262,144)
MOST_PIECE_BYTES = 1_024  # chosen: a trained piece has 16 characters, SentencePiece's default; jaxlm sets no other
MOST_SETTING_BYTES = 1_000_000  # of the settings of training, all together; chosen: they have some dozen
UNKNOWN, BYTE = 2, 6  # types of pieces
_TYPES = range(1, 7)  # normal, unknown, control, user defined, unused, byte
_MODELS = range(1, 5)  # unigram, BPE, word, character
_VARINT, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5  # wire types; 3 and 4, groups, are no longer used
_WIRE = struct.Struct("<f")


def check(model: bytes, origin: str) -> None:
    """UserError where `model` is not what SentencePiece may be given; says what is wrong with it."""
    if len(model) > MOST_BYTES:
        raise UserError(f"{origin} has {len(model):,} bytes, more than the {MOST_BYTES:,} that a model may have")
    try:
        _model(model, origin)
    except _Wrong as wrong:
        raise UserError(f"{origin} is no SentencePiece model that jaxlm reads: {wrong}; make it anew") from None


class _Wrong(Exception):
    """What is wrong with the bytes."""


def _model(model: bytes, origin: str) -> None:
    names: set[bytes] = set()
    unknown = 0
    for number, value in _fields(model):
        match number:
            case 1:
                unknown += _piece(_bytes(value, "a piece"), names) == UNKNOWN
            case 2:
                _trainer(_bytes(value, "its trainer"))
            case 3 | 5:
                _normalizer(_bytes(value, "its normalizer"), origin)
            case _:  # 4 are texts to test itself on; others are unknown to the format
                raise _Wrong(f"it has the field {number}, which jaxlm never writes")
    if unknown != 1:
        raise _Wrong(f"it has {unknown} pieces for unknown text, not 1")


def _piece(message: bytes, names: set[bytes]) -> int:
    """Its type; its name goes into `names`."""
    name, score, kind = b"", 0.0, 1
    for number, value in _fields(message):
        match number:
            case 1:
                name = _bytes(value, "the name of a piece")
            case 2 if isinstance(value, float):
                score = value
            case 3 if isinstance(value, int):
                kind = value
            case _:
                raise _Wrong(f"piece {len(names)} has a field {number} that no piece has")
    if not 0 < len(name) <= MOST_PIECE_BYTES:
        raise _Wrong(f"piece {len(names)} has {len(name):,} bytes, not 1 to {MOST_PIECE_BYTES:,}")
    if kind not in _TYPES:
        raise _Wrong(f"piece {len(names)} has the type {kind}")
    if not math.isfinite(score):
        raise _Wrong(f"piece {len(names)} has the score {score}")
    if b"\0" in name or not is_utf8(name):
        raise _Wrong(f"piece {len(names)} is no text: {name[:40]!r}")
    if kind == BYTE and not _is_byte(name):
        raise _Wrong(f"piece {len(names)}, {name[:40]!r}, stands for no byte")
    if name in names:
        raise _Wrong(f"piece {len(names)}, {name[:40]!r}, is there twice")
    if len(names) == MOST_PIECES:
        raise _Wrong(f"it has more than {MOST_PIECES:,} pieces")
    names.add(name)
    return kind


def _is_byte(name: bytes) -> bool:
    return len(name) == 6 and name[:3] == b"<0x" and name[5:] == b">" and set(name[3:5]) <= set(b"0123456789ABCDEF")


def _trainer(message: bytes) -> None:
    if len(message) > MOST_SETTING_BYTES:
        raise _Wrong(f"its settings of training have {len(message):,} bytes")
    for number, value in _fields(message):
        if number == 3 and value not in _MODELS:
            raise _Wrong(f"its type of model is {value!r}")
        if number == 4 and not (isinstance(value, int) and 0 <= value <= MOST_PIECES):
            raise _Wrong(f"its settings ask for {value!r:.40} pieces, which may be {MOST_PIECES:,} at most")


def _normalizer(message: bytes, origin: str) -> None:
    for number, value in _fields(message):
        if number == 2:
            charsmap.check(_bytes(value, "its table of characters"), origin)
        elif isinstance(value, bytes) and len(value) > MOST_SETTING_BYTES:
            raise _Wrong(f"a setting of its normalizer has {len(value):,} bytes")


def _bytes(value: Any, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise _Wrong(f"{what} is a number")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of each field, in order; `_Wrong` where a length leads beyond the end."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        size, at = _varint(message, at) if wire == _SIZED else ({_EIGHT: 8, _FOUR: 4}.get(wire, end + 1), at)
        if size > end - at:
            raise _Wrong(f"field {key >> 3} (wire type {wire}) goes beyond the end, at byte {at:,}")
        value = message[at : at + size]
        at += size
        yield key >> 3, (_WIRE.unpack(value)[0] if wire == _FOUR else value)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(a number of 7 bits a byte, lowest first, where the next field begins)."""
    number = 0
    for place, byte in enumerate(message[at : at + 10]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise _Wrong(f"a number does not end, at byte {at:,}")
