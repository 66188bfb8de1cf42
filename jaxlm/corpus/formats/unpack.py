"""The bytes inside a packed file, a little at a time: .gz .zst .bz2 .xz, or any other as it is.

A file can be larger than memory, and a small one can unpack to one that is (Fifield 2019, "A better zip bomb",
WOOT): it is fed to the decompressor in steps whose result memory can hold, and refused once it has grown beyond
both bounds. What could be read before the damage is given first, the reason after it.

Of a slice (corpus/files.py) only its own bytes are read, and places and bounds are those of the whole file.

Left out: .zip and .tar, which hold several files.
"""

import bz2
import io
import lzma
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zstandard

from jaxlm.corpus.document import DAMAGED, Tally
from jaxlm.corpus.files import WHOLE, Slice

# Zstandard can say 128 KiB in 4 bytes, the most of the four formats: a step gives 128 MiB at worst.
STEP_BYTES = 4 << 10
BLOCK_BYTES = 1 << 20  # of a file that is not packed

EXPANSION = 200  # -fold, chosen: text packs 3- to 30-fold; gzip alone reaches 1,032-fold, zstd more, on zeros
FREE_BYTES = 64 << 20  # chosen: what any machine can hold is read whatever its expansion
LINE_BYTES = 64 << 20  # chosen: a line (a page, a record) is held in memory, and a book has 1 MB
GIVEN_UP = 4  # times that: a line so long is not looked through for its end; chosen
XZ_BYTES = 256 << 20  # of memory: chosen, `xz -9` needs 65 MB to unpack
_FRAMES_KNOWN = 1 << 14  # chosen: more than a reader is ahead of the record that it gives

_FRAMES: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31),  # 31: the gzip header and checksum too
    ".zst": lambda: zstandard.ZstdDecompressor().decompressobj(),  # its own bound on memory is 128 MiB
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lambda: lzma.LZMADecompressor(memlimit=XZ_BYTES),
}
PACKED = tuple(_FRAMES)  # suffixes
_ERRORS = (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, ValueError)  # bz2 raises the last two


def bare(name: str) -> str:
    """A file's name without the suffix that says how it is packed.

    >>> bare("page.html.xz"), bare("page.html")
    ('page.html', 'page.html')
    """
    return next((name.removesuffix(suffix) for suffix in PACKED if name.endswith(suffix)), name)


def may_unpack_to(size: int) -> int:
    """The most bytes of text that so many in a file are believed."""
    return max(FREE_BYTES, EXPANSION * size)


class Damage(Exception):
    """A reason to stop reading a file, and the detail and mend of it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason + detail)
        self.reason, self.detail = reason, detail


class Stream(io.RawIOBase):
    """Bytes to be read from the first to the last."""

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Only say where the stream is, which is what `tell` and fastwarc ask."""
        if (offset, whence) != (0, os.SEEK_CUR):
            raise io.UnsupportedOperation("seek")
        return self._place()

    def _place(self) -> int:
        raise NotImplementedError

    def frame_at(self, offset: int) -> int | None:
        """Where in the file a reader may begin that wants what is at `offset` of the unpacked; None: nowhere."""
        raise NotImplementedError

    def taken(self) -> int:
        """How far in the file reading got."""
        raise NotImplementedError


class Plain(Stream):
    """A file that is not packed, or a slice of it."""

    def __init__(self, file: io.FileIO, part: Slice) -> None:
        self._file, self._left = file, part.end - part.begin
        file.seek(part.begin)

    def _place(self) -> int:
        return self._file.tell()

    def frame_at(self, offset: int) -> int | None:
        return offset

    def taken(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count


class Unpacked(Stream):
    """What `packed` holds, frame after frame; a read may give less than asked, and raises Damage when it must."""

    def __init__(self, packed: io.BufferedIOBase, frames: Callable[[], Any], part: Slice = WHOLE) -> None:
        self._packed, self._frames, self._frame = packed, frames, None
        self._between = False  # frames: one has ended, and none has begun since
        self._rest, self._ready = b"", memoryview(b"")
        self._taken, self._given = part.begin, part.unpacked  # bytes of the whole file, packed and unpacked
        self._starts: deque[tuple[int, int]] = deque(maxlen=_FRAMES_KNOWN)  # of frames, unpacked and packed

    def _place(self) -> int:
        return self._given - len(self._ready)

    def frame_at(self, offset: int) -> int | None:
        while self._starts and self._starts[0][0] < offset:
            self._starts.popleft()
        return self._starts[0][1] if self._starts and self._starts[0][0] == offset else None

    def taken(self) -> int:
        return self._taken

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            # In steps of the whole file, so that a slice is refused for its growth where the whole would be.
            block = self._rest or self._packed.read(STEP_BYTES - self._taken % STEP_BYTES)
            if not block:
                if self._frame is not None:
                    raise _damaged("the last frame does not end")
                return 0
            self._taken += 0 if self._rest else len(block)
            self._rest = b""
            if self._between:
                block = block.lstrip(b"\0")  # gzip and xz may be padded, tapes to their blocks; no frame begins so
            if block:
                self._ready, self._rest = memoryview(self._unpack(block)), self._rest_of_frame()
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _unpack(self, block: bytes) -> bytes:
        if self._frame is None:
            self._starts.append((self._given, self._taken - len(block)))
            self._frame, self._between = self._frames(), False
        try:
            data = self._frame.decompress(block)
        except _ERRORS as error:
            raise _damaged(str(error)) from None
        self._given += len(data)
        if self._given > may_unpack_to(-(-self._taken // STEP_BYTES) * STEP_BYTES):
            raise Damage(
                f"unpacks to over {EXPANSION} times its size",
                f" ({self._given:,} bytes from {self._taken:,}), as no text does: remove it, or unpack it yourself",
            )
        return data

    def _rest_of_frame(self) -> bytes:
        assert self._frame is not None
        if not self._frame.eof:
            return b""
        rest, self._frame, self._between = self._frame.unused_data, None, True
        return rest


@contextmanager
def unpacked(path: Path, tally: Tally, part: Slice = WHOLE) -> Iterator[Stream]:
    """The bytes inside `path`; where reading it has to stop, the file is counted as bad."""
    try:
        with open(path, "rb", buffering=0) as file:
            frames, plain = _FRAMES.get(path.suffix), Plain(file, part)
            yield Unpacked(io.BufferedReader(plain), frames, part) if frames else plain
    except Damage as damage:
        tally.bad(damage.reason, str(path), damage.detail)
    except OSError as error:
        tally.bad("cannot be read", str(path), f": {error.strerror}")


def whole(stream: io.RawIOBase, most: int = LINE_BYTES, mend: str = ", which is read as one text: split it") -> bytes:
    """All of a stream of at most `most` bytes, or Damage."""
    blocks, size = [], 0
    while block := stream.read(BLOCK_BYTES):
        blocks.append(block)
        size += len(block)
        if size > most:
            raise Damage(f"longer than {most >> 20} MiB", mend)
    return b"".join(blocks)


def lines(stream: io.RawIOBase, most: int = LINE_BYTES) -> Iterator[bytes | None]:
    """Each line without its newline; None for one of over `most` bytes, of which nothing is kept."""
    return (line for _, line in measured_lines(stream, most))


def measured_lines(stream: io.RawIOBase, most: int = LINE_BYTES) -> Iterator[tuple[int, bytes | None]]:
    """(bytes of the line with its newline, the line as `lines` gives it) of each."""
    open_line: list[bytes] = []
    size = 0  # of the open line
    while block := stream.read(BLOCK_BYTES):
        *ended, last = block.split(b"\n")
        for part in ended:
            size += len(part)
            yield size + 1, b"".join([*open_line, part]) if size <= most else None
            open_line, size = [], 0
        size += len(last)
        open_line.append(last)
        if size > most:
            open_line.clear()
        if size > GIVEN_UP * most:
            raise Damage(
                f"a line of over {GIVEN_UP * most >> 20} MiB", ", as no text has: remove it, or split its lines"
            )
    if size:
        yield size, b"".join(open_line) if size <= most else None


def _damaged(error: str) -> Damage:
    return Damage(DAMAGED, f" ({error}): copy it again")
