"""SentencePiece's table of replaced characters, `precompiled_charsmap`, checked before a program walks it.

4 bytes of length, so many bytes of a double-array trie (Aoe 1989; units as the library darts-clone lays them out), and
the texts that its leaves point into, each ended by NUL. Whoever walks such a trie believes its offsets: SentencePiece
0.2.1 read beyond its end (google/sentencepiece #1269). Here every unit that can be reached is looked at once.
"""

import numpy as np

from jaxlm.errors import UserError

MOST_BYTES = 16_000_000  # chosen: sixty times the largest we know (nmt_nfkc, 240 KB)
_LABELS = np.arange(1, 256, dtype=np.uint32)  # 0 stands for the end of a key


def check(table: bytes, origin: str) -> None:
    """UserError where a walk through `table` could leave it; an empty one replaces nothing."""
    if not table:
        return
    size = int.from_bytes(table[:4], "little")
    if len(table) > MOST_BYTES:
        raise UserError(f"{origin}: precompiled_charsmap has {len(table):,} bytes, more than {MOST_BYTES:,}: damaged")
    if size < 4 or size % 4 or 4 + size >= len(table):
        raise UserError(
            f"{origin}: precompiled_charsmap says that its trie has {size:,} of {len(table):,} bytes: damaged"
        )
    units, texts = np.frombuffer(table, "<u4", size // 4, offset=4), table[4 + size :]
    try:
        texts.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{origin}: precompiled_charsmap replaces characters by what is no UTF-8: {error}") from None
    if texts[-1:] != b"\0":
        raise UserError(f"{origin}: precompiled_charsmap ends inside a text: damaged")
    _walk(units, len(texts), origin)


def _walk(units: np.ndarray, text_bytes: int, origin: str) -> None:
    """Breadth first through all nodes; `offsets` is what a unit adds to find its children."""
    offsets = ((units >> 10) << ((units & 0x200) >> 6)).astype(np.int64)
    met = np.zeros(len(units), bool)
    met[0], nodes = True, np.zeros(1, np.int64)
    while nodes.size:
        firsts = nodes ^ offsets[nodes]
        if (firsts | 0xFF).max() >= len(units):  # a child lies at its first unit XOR a byte
            raise UserError(f"{origin}: precompiled_charsmap has a trie that leads beyond its end: damaged")
        values = units[firsts[(units[nodes] & 0x100) != 0]] & 0x7FFFFFFF
        if values.size and values.max() >= text_bytes:
            raise UserError(f"{origin}: precompiled_charsmap points beyond its texts: damaged")
        reached = [_children(units, part, met) for part in np.array_split(firsts, -(-firsts.size // 4_096))]
        nodes = np.unique(np.concatenate(reached))
        met[nodes] = True


def _children(units: np.ndarray, firsts: np.ndarray, met: np.ndarray) -> np.ndarray:
    """Places, not met before, of the children of nodes that begin at `firsts`."""
    places = firsts[:, None] ^ _LABELS[None].astype(np.int64)
    found = places[(units[places] & 0x800000FF) == _LABELS[None]]
    return found[~met[found]]
