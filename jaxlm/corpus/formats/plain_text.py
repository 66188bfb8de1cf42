"""Plain text, and any file that no other reader knows: one document, packed or not, or the reason why it is none.

What begins as a binary file is read no further, so that an image of a disk costs nothing. A text of over 64 MiB, as a
dump of many books, is several documents, cut where a paragraph, a line or a word ends: memory holds one. Of a packed
text that breaks off the last document ends with its last whole word.
"""

from collections.abc import Iterator
from pathlib import Path

from jaxlm.corpus.decode import HEAD_BYTES, NotText, decode, refuse_binary
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats.unpack import BLOCK_BYTES, LINE_BYTES, PACKED, Damage, Stream, unpacked

PIECE_BYTES = LINE_BYTES
_BORDERS = (b"\n\n", b"\n\r\n", b"\n", b" ")  # between paragraphs, lines, words


def read(path: Path, name: str, tally: Tally) -> Iterator[Document]:
    """The file as one document, or one for each piece of a long text, named by its offset in the unpacked file."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        if not path.name.endswith(PACKED):
            refuse_binary(head)
    except NotText as reason:
        tally.skip(str(reason), name)
        return
    except OSError as error:
        tally.skip(f"not readable, {error.strerror}", name)
        return
    with unpacked(path, tally) as stream:
        source = None
        for source, data in _pieces(stream, name):
            yield from _document(data, source, tally)
        if source is None:
            tally.skip("empty", name)


def _document(data: bytes, source: str, tally: Tally) -> Iterator[Document]:
    try:
        text, replaced = decode(data)
    except NotText as reason:
        tally.skip(str(reason), source)
        return
    tally.replaced += replaced
    yield Document.of(text, source)


def _pieces(stream: Stream, name: str) -> Iterator[tuple[str, bytes]]:
    """(source, bytes) of each piece; of a file in one the source is its name. Damage after what comes before it."""
    waiting, offset, damage = bytearray(), 0, None
    try:
        while block := stream.read(BLOCK_BYTES):
            waiting += block
            while len(waiting) > PIECE_BYTES:
                end = _border(waiting)
                yield f"{name}:{offset}", bytes(waiting[:end])
                del waiting[:end]
                offset += end
    except Damage as error:
        damage = error
        del waiting[_last_whole(waiting) :]
    if waiting:
        yield f"{name}:{offset}" if offset else name, bytes(waiting)
    if damage is not None:
        raise damage


def _border(data: bytearray) -> int:
    """Where a piece ends, at most PIECE_BYTES from its beginning, and at least half as many."""
    for border in _BORDERS:
        found = data.rfind(border, PIECE_BYTES // 2, PIECE_BYTES)
        if found >= 0:
            return found + len(border)
    end = PIECE_BYTES
    while end > PIECE_BYTES // 2 and data[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return end


def _last_whole(data: bytearray) -> int:
    """Where the last word ends of a text that breaks off, or where its last character begins if words are that long."""
    if end := 1 + max(data.rfind(border, len(data) // 2) for border in (b"\n", b" ")):
        return end
    end = max(0, len(data) - 1)
    while end and data[end] & 0xC0 == 0x80:
        end -= 1
    return end
