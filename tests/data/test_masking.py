"""What is hidden, how much of it, and that nothing but (seed, number of the row) decides."""

import itertools

import numpy as np
import pytest

from jaxlm.data import masking
from jaxlm.data.ids import Ids
from jaxlm.data.masking import Masked, Prefix, Spans
from jaxlm.data.rows import Rows

VOCAB, SEPARATOR, L = 500, 0, 64
IDS = Ids(VOCAB, SEPARATOR, start=SEPARATOR, mask=VOCAB, sentinels=np.arange(VOCAB, VOCAB + 40, dtype=np.int32),
          begins_word_V=np.arange(VOCAB) % 3 != 2)  # fmt: skip
ASKED = round(0.15 * (L - 1))  # of a full row: the separator is no text
NUMBERS = np.arange(100, 200)


def rows(count=100, length=L, real=None, seed=0) -> Rows:
    """Rows of one document each; row r has `real[r]` tokens, the first of them the separator."""
    token = np.random.default_rng(seed).integers(1, VOCAB, (count, length + 1), dtype=np.int32)
    token[:, 0] = SEPARATOR
    there = np.arange(length)[None] < (np.full(count, length) if real is None else np.asarray(real))[:, None]
    position = np.where(there, np.arange(length, dtype=np.int32)[None], 0)
    kept = lambda x: np.where(there, x, 0).astype(np.int32)
    return Rows(kept(token[:, :-1]), kept(token[:, 1:]), there.astype(np.float32), there.astype(np.int32), position)


# --- masked tokens


def test_masked_tokens_are_the_targets_and_nothing_else_changes():
    text = rows()
    batch = masking.masked(Masked(), text, IDS, seed=1, numbers=NUMBERS)
    where = batch.where[:, :ASKED]
    at = np.take_along_axis(text.token, where, axis=1)
    assert (batch.target[:, :ASKED] == at).all()
    assert (batch.weight == (np.arange(round(0.15 * L)) < ASKED)).all()
    changed = batch.token != text.token
    np.put_along_axis(changed, where, False, axis=1)
    assert not changed.any()
    assert (np.diff(where, axis=1) > 0).all()
    assert (at != SEPARATOR).all()


def test_of_the_masked_tokens_eight_in_ten_are_hidden_one_is_random_and_one_is_kept():
    text = rows(2_000)
    batch = masking.masked(Masked(), text, IDS, seed=1, numbers=np.arange(2_000))
    asked = batch.weight > 0
    shown, target = np.take_along_axis(batch.token, batch.where, axis=1)[asked], batch.target[asked]
    hidden, kept = (shown == IDS.mask).mean(), (shown == target).mean()
    # 18,000 draws: 3 standard errors are 0.009 and 0.0068.
    assert abs(hidden - 0.8) < 0.009
    assert abs(kept - 0.1 * (1 + 1 / VOCAB)) < 0.0068
    random = shown[(shown != IDS.mask) & (shown != target)]
    assert random.min() >= 0 and random.max() < VOCAB and np.unique(random).size > 400


def test_every_place_is_masked_equally_often():
    batch = masking.masked(Masked(), rows(4_000), IDS, seed=1, numbers=np.arange(4_000))
    often = np.bincount(batch.where[batch.weight > 0], minlength=L)[1:] / 4_000
    share = ASKED / (L - 1)
    assert np.abs(often - share).max() < 4 * (share * (1 - share) / 4_000) ** 0.5


@pytest.mark.parametrize("rate, asked", [(0.15, 10), (0.3, 19), (0.5, 32)])
def test_the_rate_says_how_many(rate, asked):
    assert masking.masked(Masked(rate=rate), rows(), IDS, 0, NUMBERS).where.shape[1] == asked


@pytest.mark.parametrize("real", [0, 1, 2, 5, 20, 63])
def test_short_rows_ask_for_their_share_and_at_least_one(real):
    batch = masking.masked(Masked(), rows(4, real=[real] * 4), IDS, 0, NUMBERS[:4])
    text = max(real - 1, 0)  # the separator is no text
    assert (batch.weight.sum(1) == (max(1, round(0.15 * text)) if text else 0)).all()
    assert (batch.where[batch.weight > 0] < real).all()


def test_whole_words_are_masked_whole():
    text, cfg = rows(), Masked(whole_words=True, rate=0.3, kept=0, replaced=0)
    batch = masking.masked(cfg, text, IDS, seed=2, numbers=NUMBERS)
    begins = IDS.begins_word_V[text.token]
    masked = batch.token == IDS.mask
    for row in range(100):
        words = np.cumsum(begins[row])
        words[0] = -1  # the separator
        first = np.flatnonzero(text.token[row] != SEPARATOR)[0]
        words[first:] = np.where(words[first:] == 0, 1_000, words[first:])
        for word in np.unique(words[1:]):
            assert np.unique(masked[row, words == word]).size == 1
    assert 0.2 < masked.mean() <= 0.3


def test_what_is_hidden_depends_on_seed_and_number_alone():
    text = rows()
    whole = masking.masked(Masked(), text, IDS, 3, NUMBERS)
    part = masking.masked(Masked(), Rows(*(x[40:50] for x in text)), IDS, 3, NUMBERS[40:50])
    for got, wanted in zip(part[:5], whole[:5], strict=True):
        np.testing.assert_array_equal(got, wanted[40:50])
    for seed, numbers in ((4, NUMBERS), (3, NUMBERS + 1)):
        other = masking.masked(Masked(), text, IDS, seed, numbers)
        assert (other.where != whole.where).mean() > 0.5


def test_two_pieces_of_a_row_change_places_half_of_the_time():
    text = rows(1_000)
    batch = masking.masked(Masked(sentence_order=True, replaced=0, kept=1), text, IDS, 0, np.arange(1_000))
    assert abs(batch.label.mean() - 0.5) < 0.05
    for row in range(20):
        marks = np.flatnonzero(batch.token[row] == SEPARATOR)
        assert marks.size == 3 and marks[0] == 0 and marks[2] == batch.segment[row].sum() - 1
        first, second = (batch.token[row, a + 1 : b] for a, b in itertools.pairwise(marks))
        content = text.token[row, 1:][: L - 3]
        wanted = (second, first) if batch.label[row, 0] else (first, second)
        np.testing.assert_array_equal(np.concatenate(wanted), content)
        np.testing.assert_array_equal(np.flatnonzero(batch.kind[row]), np.arange(marks[1] + 1, marks[2] + 1))
    assert (batch.position == np.arange(L)).all()


# --- spans


def test_source_and_target_of_spans_together_are_the_text():
    text = rows(real=np.random.default_rng(0).integers(2, L + 1, 100))
    batch = masking.spans(Spans(), text, IDS, 5, NUMBERS)
    first_sentinel = IDS.sentinels[0]
    for row in range(100):
        source = batch.source.token[row, batch.source.segment[row] > 0]
        target = batch.target[row, batch.weight[row] > 0]
        assert source[-1] == target[-1] == SEPARATOR
        spans = np.split(target[:-1], np.flatnonzero(target[:-1] >= first_sentinel)[1:])
        hidden = {span[0]: span[1:].tolist() for span in spans}
        assert list(hidden) == [first_sentinel + n for n in range(len(spans))]
        assert all(hidden.values())
        told = [token for t in source[:-1].tolist() for token in hidden.get(t, [t])]
        assert told == text.token[row, text.segment[row] > 0].tolist()
        given = np.concatenate([[SEPARATOR], target[:-1]])
        np.testing.assert_array_equal(batch.token[row, batch.weight[row] > 0], given)


def test_a_full_row_hides_fifteen_in_a_hundred_in_spans_of_three():
    batch = masking.spans(Spans(), rows(length=512), IDS, 0, NUMBERS)
    # As in T5: 512 tokens have round(76.8) hidden ones, in round(77 / 3) spans (arXiv:1910.10683, section 3.1.4).
    assert batch.source.token.shape == (100, 512 - 77 + 26 + 1) and batch.token.shape == (100, 77 + 26 + 1)
    assert (batch.weight == 1).all() and (batch.source.segment == 1).all()


def test_hidden_spans_lie_anywhere_and_have_any_size():
    rng = np.random.default_rng(0)
    hidden = np.stack([masking.hide_spans(Spans(), 64, rng) for _ in range(2_000)])
    assert (hidden.sum(1) == 10).all()
    assert hidden[:, 1:].mean(0).min() > 0.02 and not hidden[:, 0].any()
    sizes = {tuple(masking.pieces(5, 3, rng)) for _ in range(200)}
    assert sizes == {(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1)}


# --- prefixes


def test_only_what_follows_the_prefix_is_asked_for():
    text = rows(real=np.random.default_rng(0).integers(1, L + 1, 100))
    batch = masking.prefix(Prefix(), text, 7, NUMBERS)
    for row in range(100):
        real, size = int(text.segment[row].sum()), int(batch.prefix[row].sum())
        assert 1 <= size <= max(real, 1)
        np.testing.assert_array_equal(np.flatnonzero(batch.prefix[row]), np.arange(size))
        np.testing.assert_array_equal(np.flatnonzero(batch.weight[row]), np.arange(size - 1, real))
    np.testing.assert_array_equal(batch.target, text.following)
    assert np.unique(batch.prefix.sum(1)).size > 20


def test_each_document_of_a_row_has_a_prefix_of_its_own():
    text = rows(50)
    segment = np.repeat([[1, 2, 3, 0]], [20, 10, 24, 10], axis=1).repeat(50, axis=0).astype(np.int32)
    batch = masking.prefix(Prefix(share=0.5), text._replace(segment=segment), 7, NUMBERS[:50])
    wanted = np.repeat([1, 0, 1, 0, 1, 0, 0], [10, 10, 5, 5, 12, 12, 10])
    np.testing.assert_array_equal(batch.prefix, np.tile(wanted.astype(bool), (50, 1)))


def test_an_encoder_decoder_reads_the_prefix_and_writes_the_rest():
    text = rows(3, real=[L, 40, 10])
    batch = masking.prefix_and_rest(Prefix(share=0.5, source=True), text, IDS)
    assert batch.source.segment.sum(1).tolist() == [33, 33, 11] and batch.weight.sum(1).tolist() == [32, 8, 0]
    np.testing.assert_array_equal(batch.source.token[0], [*text.token[0, :32], SEPARATOR])
    np.testing.assert_array_equal(batch.source.token[2, :11], [*text.token[2, :10], SEPARATOR])
    np.testing.assert_array_equal(batch.target[1, :8], text.token[1, 32:40])
    np.testing.assert_array_equal(batch.token[0], [SEPARATOR, *text.token[0, 32:63]])
