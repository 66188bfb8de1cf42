"""A bounded sample of a text stream, the same on every machine: what tokenizers are trained on.

Texts are cut into chunks; each chunk draws a number from (seed, its place in the stream), and those with the
lowest numbers stay. So every part of the corpus has the same chance, memory is bounded by the sample, and a
corpus that is smaller than the bound is taken whole.

`cut` also bounds what is encoded at once: SentencePiece's BPE needs some hundred bytes of memory a character.
"""

import heapq
import itertools
from collections.abc import Iterable, Iterator

import xxhash

CHUNK_CHARACTERS = 4_096  # chosen: a page; SentencePiece skips longer "sentences" than it is told, we never do


def cut(text: str, characters: int) -> Iterator[str]:
    """Parts of at most `characters`; each ends before a space that follows a word, if it has one."""
    start = 0
    while len(text) - start > characters:
        end = text.rfind(" ", start + 1, start + characters + 1)
        while end > start and text[end - 1] == " ":  # not inside a run of spaces, which may be one piece
            end -= 1
        end = end if end > start else start + characters
        yield text[start:end]
        start = end
    yield text[start:]


def bounded_sample(texts: Iterable[str], limit_bytes: int, seed: int) -> list[str]:
    """Chunks of `texts` of at most `limit_bytes` of UTF-8 together (one chunk at least), in their order."""
    kept: list[tuple[int, int, bytes]] = []  # a heap whose top is the chunk to give up next
    kept_bytes = 0
    chunks = (chunk for text in texts for chunk in cut(text, CHUNK_CHARACTERS) if chunk)
    for place, chunk in zip(itertools.count(), chunks):
        number = xxhash.xxh3_64_intdigest(f"{seed} {place}".encode())
        encoded = chunk.encode("utf-8")
        heapq.heappush(kept, (-number, place, encoded))
        kept_bytes += len(encoded)
        while kept_bytes > limit_bytes and len(kept) > 1:
            kept_bytes -= len(heapq.heappop(kept)[2])
    return [encoded.decode("utf-8") for _, _, encoded in sorted(kept, key=lambda entry: entry[1])]
