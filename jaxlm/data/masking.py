"""Text that hides a part of itself: masked tokens, spans, and what comes after a prefix.

What is hidden is a pure function of (seed, number of the row in all that is read), so a run that resumes hides the
same, and each epoch hides something else. Everything here is numpy, row by row: a row takes some 50 microseconds.
"""

from typing import Literal

import numpy as np
import pydantic

from jaxlm.batch import Batch, Source
from jaxlm.config import Config
from jaxlm.data.ids import Ids
from jaxlm.data.rows import Rows


class Masked(Config):
    """Predict hidden tokens from both sides (BERT, Devlin et al. 2019, arXiv:1810.04805, section 3.1)."""

    kind: Literal["masked"] = "masked"
    # Share of a row's tokens that are asked for; Wettig et al. 2023 (arXiv:2202.08005) find 0.3 to 0.4 better.
    rate: float = pydantic.Field(default=0.15, gt=0, lt=1)
    replaced: float = pydantic.Field(default=0.1, ge=0, le=1)  # share of those that a random token stands for
    kept: float = pydantic.Field(default=0.1, ge=0, le=1)  # share of those that stay as they are; the rest is masked
    whole_words: bool = False  # all tokens of a word or none
    # Rows become two pieces, half of the time in the wrong order, and which it is is asked for too (ALBERT, Lan et al.
    # 2020, arXiv:1909.11942, section 3.1).
    sentence_order: bool = False

    @pydantic.model_validator(mode="after")
    def _shares_agree(self) -> "Masked":
        if self.replaced + self.kept > 1:
            raise ValueError(f"replaced={self.replaced} and kept={self.kept} are over 1 together: lower one")
        return self


class Spans(Config):
    """Write the spans that the source hides (T5, Raffel et al. 2020, arXiv:1910.10683, section 3.1.4)."""

    kind: Literal["spans"] = "spans"
    rate: float = pydantic.Field(default=0.15, gt=0, lt=1)  # share of tokens that is hidden
    mean: float = pydantic.Field(default=3.0, ge=1)  # tokens of a span, on average


class Prefix(Config):
    """Predict what comes after a prefix that is read from both sides (Raffel et al. 2020, section 3.2.3)."""

    kind: Literal["prefix"] = "prefix"
    share: float | None = pydantic.Field(default=None, gt=0, lt=1)  # of a document; None: any, at random
    source: bool = False  # for an encoder-decoder: the prefix is its source, the same share of each row

    @pydantic.model_validator(mode="after")
    def _source_has_a_size(self) -> "Prefix":
        if self.source and self.share is None:
            raise ValueError("source=True makes all sources of one length: give share, e.g. share=0.5")
        return self


def generator(seed: int, row: int) -> np.random.Generator:
    """The random numbers of a row; those of different rows and seeds are independent."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, row], np.uint64)))


# --- masked tokens


def masked(cfg: Masked, rows: Rows, ids: Ids, seed: int, numbers: np.ndarray) -> Batch:
    """`where` are the tokens asked for, in order; never a separator, which is not text.

    A separator opens each document, and what `ids` closes it with stands after it, as BERT has it.
    """
    B, L = rows.token.shape
    P = hidden_tokens(cfg.rate, L)
    token, segment, position = rows.token.copy(), rows.segment, rows.position
    if not cfg.sentence_order:
        token[(token == ids.separator) & (position > 0)] = ids.end
    where, target, weight = np.zeros((B, P), np.int32), np.zeros((B, P), np.int32), np.zeros((B, P), np.float32)
    kind = label = None
    if cfg.sentence_order:
        kind, label = np.zeros((B, L), np.int32), np.full((B, 1), -1, np.int32)
        segment, position = (segment > 0).astype(np.int32), np.tile(np.arange(L, dtype=np.int32), (B, 1))
    for b in range(B):
        rng = generator(seed, int(numbers[b]))
        if kind is not None and label is not None and segment[b].any():
            token[b], kind[b], segment[b], label[b] = in_two_pieces(token[b], segment[b], ids, rng)
        text = np.flatnonzero((segment[b] > 0) & (token[b] != ids.separator) & (token[b] != ids.end))
        begins = ids.begins_word_V[token[b, text]] if cfg.whole_words else None
        chosen = text[choose(text.size, hidden_tokens(cfg.rate, text.size), begins, rng)]
        n = chosen.size
        where[b, :n], target[b, :n], weight[b, :n] = chosen, token[b, chosen], 1
        token[b, chosen] = hide(cfg, token[b, chosen], ids, rng)
    return Batch(token, target, weight, segment, position, kind=kind, where=where, label=label)


def hidden_tokens(rate: float, tokens: int) -> int:
    """How many of so many tokens are hidden; at least one, where there are any."""
    return min(tokens, max(1, round(rate * tokens)))


def choose(tokens: int, hidden: int, begins: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Ascending places of `hidden` of `tokens`; with `begins`, whole words of them, as many as fit."""
    if begins is None:
        return np.sort(rng.permutation(tokens)[:hidden])
    word = np.cumsum(begins) - (begins[0] if begins.size else 0)
    sizes = np.bincount(word)
    chosen, room = np.zeros(sizes.size, bool), hidden
    for w in rng.permutation(sizes.size):
        if sizes[w] <= room:
            chosen[w] = True
            room -= sizes[w]
        if not room:
            break
    return np.flatnonzero(chosen[word])


def hide(cfg: Masked, token: np.ndarray, ids: Ids, rng: np.random.Generator) -> np.ndarray:
    """What stands for the chosen tokens."""
    lot = rng.random(token.size)
    random = rng.integers(0, ids.vocab, token.size, dtype=np.int32)
    hidden = np.where(lot < 1 - cfg.replaced - cfg.kept, np.int32(ids.mask), random)
    return np.where(lot < 1 - cfg.kept, hidden, token)


def in_two_pieces(token: np.ndarray, segment: np.ndarray, ids: Ids, rng: np.random.Generator):
    """(token, kind, segment, label) of S A E B E: two pieces of a row, label 1 where B comes before A in the text.

    S opens and E closes, which is the separator too, but for models made elsewhere.
    """
    text = token[(segment > 0) & (token != ids.separator)][: token.size - 3]
    cut = int(rng.integers(1, text.size)) if text.size > 1 else text.size
    swapped = bool(rng.random() < 0.5)
    first, second = (text[cut:], text[:cut]) if swapped else (text[:cut], text[cut:])
    opens, closes = (np.full(1, mark, token.dtype) for mark in (ids.separator, ids.end))
    filled = np.concatenate([opens, first, closes, second, closes])
    padding = token.size - filled.size
    sizes = first.size + 2, second.size + 1, padding
    kind, real = (np.repeat(values, sizes).astype(np.int32) for values in ([0, 1, 0], [1, 1, 0]))
    return np.pad(filled, (0, padding)), kind, real, int(swapped)


# --- spans


def spans(cfg: Spans, rows: Rows, ids: Ids, seed: int, numbers: np.ndarray) -> Batch:
    """Source: the text, a sentinel for each hidden span, the separator. Target: sentinel and span, in turn, and it."""
    B, L = rows.token.shape
    M, T = span_lengths(cfg, L)
    source, target = np.zeros((B, M), np.int32), np.zeros((B, T), np.int32)
    sources, targets = np.zeros(B, np.int64), np.zeros(B, np.int64)
    for b in range(B):
        text = rows.token[b, rows.segment[b] > 0]
        text = text[opened(text, ids) :]
        if text.size < 2:
            continue
        noise = hide_spans(cfg, text.size, generator(seed, int(numbers[b])))
        read, written = around(text, noise, ids), around(text, ~noise, ids)
        sources[b], targets[b] = read.size, written.size
        source[b, : read.size], target[b, : written.size] = read, written
    return written_from(source, sources, target, targets, ids)


def span_lengths(cfg: Spans, tokens: int) -> tuple[int, int]:
    """Tokens of the source and of the target that so many tokens of text become."""
    hidden, count = hidden_spans(cfg, tokens)
    return tokens - hidden + count + 1, hidden + count + 1


def hidden_spans(cfg: Spans, tokens: int) -> tuple[int, int]:
    """(tokens hidden, spans they lie in); something stays to be seen before each span."""
    hidden = min(max(1, round(cfg.rate * tokens)), tokens - 1)
    return hidden, min(max(1, round(hidden / cfg.mean)), hidden, tokens - hidden)


def hide_spans(cfg: Spans, tokens: int, rng: np.random.Generator) -> np.ndarray:
    """True where a token is hidden: spans seen and hidden take turns, each division of the tokens as likely."""
    hidden, count = hidden_spans(cfg, tokens)
    sizes = np.stack([pieces(tokens - hidden, count, rng), pieces(hidden, count, rng)], axis=1).ravel()
    return np.repeat(np.arange(2 * count) % 2 == 1, sizes)


def pieces(tokens: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sizes of `count` pieces, each at least 1."""
    cuts = np.sort(rng.choice(tokens - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [tokens]]))


def around(text: np.ndarray, hidden: np.ndarray, ids: Ids) -> np.ndarray:
    """`text` with a sentinel for each run of `hidden` tokens, closed by the separator."""
    first = hidden & ~np.concatenate([[False], hidden[:-1]])
    with_sentinels = np.where(first, ids.sentinels[np.cumsum(first) - 1], text)
    return np.append(with_sentinels[first | ~hidden], ids.end).astype(np.int32)


def opened(text: np.ndarray, ids: Ids) -> int:
    """How many tokens open `text` that a source does not open with."""
    return int(ids.start != ids.separator and text.size > 0 and text[0] == ids.separator)


# --- a prefix


def prefix(cfg: Prefix, rows: Rows, seed: int, numbers: np.ndarray) -> Batch:
    """Nothing is asked for within the prefix of each document of a row; its first token is always part of it."""
    B, L = rows.token.shape
    share = np.empty((B, L + 1))
    for b in range(B):
        share[b] = generator(seed, int(numbers[b])).random(L + 1) if cfg.share is None else cfg.share
    tokens = np.stack([np.bincount(segment, minlength=L + 1) for segment in rows.segment])
    of_document = 1 + np.floor(share * np.maximum(tokens - 1, 0)).astype(np.int64)  # tokens of each one's prefix
    size = np.take_along_axis(of_document, rows.segment.astype(np.int64), axis=1)
    place = np.arange(L)[None] - first_of_segment(rows.segment)
    within = (place < size) & (rows.segment > 0)
    asked = (place + 1 >= size).astype(np.float32)
    return Batch(rows.token, rows.following, rows.weight * asked, rows.segment, rows.position, prefix=within)


def first_of_segment(segment: np.ndarray) -> np.ndarray:
    """Where the segment of each token begins."""
    begins = np.diff(segment, axis=1, prepend=-1) != 0
    return np.maximum.accumulate(np.where(begins, np.arange(segment.shape[1])[None], 0), axis=1)


def prefix_and_rest(cfg: Prefix, rows: Rows, ids: Ids) -> Batch:
    """The same for an encoder-decoder: the prefix is its source, closed by the separator as prompts are.

    Rows are one document, all cut at one place.
    """
    assert cfg.share is not None
    L = rows.token.shape[1]
    cut = min(max(1, round(cfg.share * L)), L - 1)
    real = rows.segment > 0
    sources, targets = real[:, :cut].sum(1), real[:, cut:].sum(1)
    read = np.pad(rows.token[:, :cut], ((0, 0), (0, 1)))
    np.put_along_axis(read, sources[:, None], np.int32(ids.end), axis=1)
    return written_from(read, np.where(sources > 0, sources + 1, 0), rows.token[:, cut:], targets, ids)


def written_from(source: np.ndarray, sources: np.ndarray, target: np.ndarray, targets: np.ndarray, ids: Ids) -> Batch:
    """A Batch for an encoder-decoder, one document a row, of so many tokens; what it writes opens with `ids.start`."""
    B, T = target.shape
    real_BM = np.arange(source.shape[1])[None] < sources[:, None]
    real_BL = np.arange(T)[None] < targets[:, None]
    token = np.concatenate([np.full((B, 1), ids.start, np.int32), target[:, :-1]], axis=1)
    counted = lambda real: np.where(real, np.arange(real.shape[1], dtype=np.int32)[None], 0)
    return Batch(
        token=np.where(real_BL, token, 0),
        target=np.where(real_BL, target, 0).astype(np.int32),
        weight=real_BL.astype(np.float32),
        segment=real_BL.astype(np.int32),
        position=counted(real_BL),
        source=Source(np.where(real_BM, source, 0).astype(np.int32), real_BM.astype(np.int32), counted(real_BM)),
    )
