"""What gzip -9 and xz -9 need in bits per byte: the numbers a language model is read beside.

A model that predicts text better than these compresses it better (Shannon 1948). The text is one stream, so a
compressor sees what came before within its window: 32 KiB for gzip, 64 MiB for xz. Headers and checksums
count (18 bytes for gzip, about 64 for xz); the model's own size does not, nor does the compressors'.

`xz_bits_per_byte` is xz's own library. `gzip_bits_per_byte` is zlib with the tool's buffer (memory level 9 is
its 32,768 symbols): the very size of gzip 1.12 on most text, within 0.1 % where the tool cuts a block early.
Left out: compressors that predict (PPM, cmix), which are language models themselves.
"""

import lzma
import zlib
from collections.abc import Callable, Iterable

from jaxlm.errors import UserError


def gzip_bits_per_byte(chunks: Iterable[bytes]) -> float:
    """Compressed bits over bytes of the concatenated `chunks`, as `gzip -9`; constant memory.

    >>> gzip_bits_per_byte([b"to be or not to be, " * 50]) < 0.5
    True
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits=16 + 15, memLevel=9)  # 16: with gzip's header
    return _bits_per_byte(chunks, compressor.compress, compressor.flush)


def xz_bits_per_byte(chunks: Iterable[bytes]) -> float:
    """Compressed bits over bytes of the concatenated `chunks`, as `xz -9`; up to 674 MiB for a long text."""
    compressor = lzma.LZMACompressor(preset=9)
    return _bits_per_byte(chunks, compressor.compress, compressor.flush)


def _bits_per_byte(chunks: Iterable[bytes], compress: Callable[[bytes], bytes], flush: Callable[[], bytes]) -> float:
    read = written = 0
    for chunk in chunks:
        read += len(chunk)
        written += len(compress(chunk))
    written += len(flush())
    if read == 0:
        raise UserError("0 bytes of text have no bits per byte: evaluate a text that is not empty")
    return 8 * written / read
