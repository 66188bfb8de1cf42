"""Documents to the files of the shards, in threads and in order.

Tokenizers let go of the interpreter's lock, so threads encode at once: no process to spawn, none to lose.
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
from jaxlm.corpus.document import Document, component
from jaxlm.corpus.examples import WHOLE, Piece, pieces_of
from jaxlm.data.components import Names
from jaxlm.data.sample import cut
from jaxlm.data.shards import NOTHING, SPLITS, Writer
from jaxlm.data.tokenizer_base import Tokenizer

BATCH_CHARACTERS = 1 << 20  # chosen: a fraction of a second of one thread


class Part(NamedTuple):
    """Of a text; it is cut where `encode` cuts it anyway, so that threads share a huge one."""

    split: str
    text: str
    piece: Piece  # the text it is of
    component: tuple[str, str]  # source and language
    is_last: bool


def encode(
    splitted: Iterable[tuple[str, Document]],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    workers: int,
    characters: int,
    progress: Progress,
    labelled: bool = False,
    names: Names | None = None,
) -> dict[str, dict[str, int]]:
    """Write every split into `folder`; {split: counts}. `characters` is what `progress` calls the total.

    With `names`, which learns them, the components of each document too.
    """
    with contextlib.ExitStack() as files:
        writers = {split: files.enter_context(writer(folder, split, tokenizer, labelled, names)) for split in SPLITS}
        done, tokens = 0, []
        for batch, ids in _encoded(_batches(_parts(splitted, tokenizer.part_characters)), tokenizer, workers):
            for part, part_ids in zip(batch, ids, strict=True):
                tokens.append(part_ids)
                if part.is_last:
                    add(writers[part.split], tokenizer, part.piece, np.concatenate(tokens), labelled, part.component)
                    tokens = []
            done += sum(len(part.text) for part in batch)
            progress(done, characters, "encoding characters")
        return {split: writer.close() for split, writer in writers.items()}


def writer(folder: Path, split: str, tokenizer: Tokenizer, labelled: bool, names: Names | None = None) -> Writer:
    vocab, separator = tokenizer.vocab, tokenizer.separator
    return Writer(folder, split, vocab=vocab, separator=separator, labelled=labelled, names=names)


def add(
    writer: Writer,
    tokenizer: Tokenizer,
    piece: Piece,
    tokens: np.ndarray,
    labelled: bool,
    component: tuple[str, str] = (".", "und"),
) -> None:
    """Write a text, and where there are any its labels: each at the token that holds its character."""
    labels = None
    if labelled:
        labels = np.full(1 + tokens.size, NOTHING, np.int32)
        # Asked only for labels within the text: not every tokenizer can say it.
        starts = tokenizer.starts(tokens) if any(place != WHOLE for place, _ in piece.labels) else None
        for character, label in piece.labels:
            byte = len(piece.text[: max(character, 0)].encode("utf-8"))
            place = 0 if starts is None or character == WHOLE else int(np.searchsorted(starts, byte, side="right"))
            labels[place] = label if labels[place] == NOTHING else labels[place] | label
    writer.add(tokens, len(piece.text.encode("utf-8")), labels, component)


def _parts(splitted: Iterable[tuple[str, Document]], characters: int) -> Iterator[Part]:
    for split, document in splitted:
        of = component(document)
        for piece in pieces_of(document):
            *parts, last = cut(piece.text, characters)
            yield from (Part(split, text, piece, of, False) for text in parts)
            yield Part(split, last, piece, of, True)


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
