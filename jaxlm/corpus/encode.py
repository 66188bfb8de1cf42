"""Documents to the files of the shards, in threads and in order.

SentencePiece lets go of the interpreter's lock, so threads encode at once: no process to spawn, none to lose.
Batches come back in the order they went, so the number of threads never changes a byte.
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlm.corpus.collect import Progress
from jaxlm.corpus.document import Document
from jaxlm.data.sample import cut
from jaxlm.data.shards import SPLITS, Writer
from jaxlm.data.tokenizer_base import Tokenizer

BATCH_CHARACTERS = 1 << 20  # chosen: a fraction of a second of one thread


class Part(NamedTuple):
    """Of a document; it is cut where `encode` cuts it anyway, so that threads share a huge one."""

    split: str
    text: str
    document_bytes: int  # of UTF-8
    is_last: bool


def encode(
    splitted: Iterable[tuple[str, Document]],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    workers: int,
    characters: int,
    progress: Progress,
) -> dict[str, dict[str, int]]:
    """Write every split into `folder`; {split: counts}. `characters` is what `progress` calls the total."""
    with contextlib.ExitStack() as files:
        writers = {
            split: files.enter_context(Writer(folder, split, vocab=tokenizer.vocab, separator=tokenizer.separator))
            for split in SPLITS
        }
        done, tokens = 0, []
        for batch, ids in _encoded(_batches(_parts(splitted, tokenizer.part_characters)), tokenizer, workers):
            for part, part_ids in zip(batch, ids, strict=True):
                tokens.append(part_ids)
                if part.is_last:
                    writers[part.split].add(np.concatenate(tokens), part.document_bytes)
                    tokens = []
            done += sum(len(part.text) for part in batch)
            progress(done, characters, "encoding characters")
        return {split: writer.close() for split, writer in writers.items()}


def _parts(splitted: Iterable[tuple[str, Document]], characters: int) -> Iterator[Part]:
    for split, document in splitted:
        size = len(document.text.encode("utf-8"))
        *parts, last = cut(document.text, characters)
        yield from (Part(split, text, size, False) for text in parts)
        yield Part(split, last, size, True)


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    batch, characters = [], 0
    for part in parts:
        batch.append(part)
        characters += len(part.text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _encoded(
    batches: Iterable[list[Part]], tokenizer: Tokenizer, workers: int
) -> Iterator[tuple[list[Part], list[np.ndarray]]]:
    """(batch, its ids) in order; at most two batches a thread are held."""
    with ThreadPoolExecutor(workers) as pool:
        running: deque[tuple[list[Part], Future[list[np.ndarray]]]] = deque()
        try:
            for batch in batches:
                running.append((batch, pool.submit(tokenizer.encode_batch, [part.text for part in batch])))
                if len(running) > 2 * workers:
                    oldest, ids = running.popleft()
                    yield oldest, ids.result()
            while running:
                oldest, ids = running.popleft()
                yield oldest, ids.result()
        finally:
            pool.shutdown(cancel_futures=True)
