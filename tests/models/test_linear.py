"""The linear classifier is its definition: means over the rows of tokens and of hashed runs of tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.losses import logits
from jaxlm.models.build import build
from jaxlm.models.family import Head
from jaxlm.models.linear import LinearModelConfig, hashes

VOCAB, LENGTH = 50, 12
SMALL = LinearModelConfig(width=4, ngrams=3, buckets=32)


def murmur3(ids: list[int]) -> int:
    """MurmurHash3_x86_32 with seed 0 of ids of four bytes each, in Python's whole numbers."""
    rotated = lambda x, n: (x << n | x >> 32 - n) & 0xFFFFFFFF
    state = 0
    for id_ in ids:
        word = rotated(id_ * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF
        state = (rotated(state ^ word, 13) * 5 + 0xE6546B64) & 0xFFFFFFFF
    state ^= 4 * len(ids)
    state = (state ^ state >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    state = (state ^ state >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return state ^ state >> 16


def texts(*rows: list[list[int]]) -> Batch:
    """Rows of texts, each after the separator 0, that ask for the class of each."""
    token, segment, position = (np.zeros((len(rows), LENGTH), np.int32) for _ in range(3))
    where = np.zeros((len(rows), 3), np.int32)
    for number, row in enumerate(rows):
        begin = 0
        for turn, text in enumerate(row):
            end = begin + 1 + len(text)
            token[number, begin:end], segment[number, begin:end] = [0, *text], turn + 1
            position[number, begin:end], where[number, turn] = np.arange(end - begin), begin
            begin = end
    batch = Batch(token, where, (where >= 0).astype(np.float32), segment, position, where=where)
    return jax.tree.map(jnp.asarray, batch)


def family(cfg: LinearModelConfig = SMALL):
    model = build(cfg, vocab=VOCAB, length=LENGTH, packed=True, platform="cpu", head=Head("classes", 2))
    rng = np.random.default_rng(0)
    draw = lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    return model, jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0)))


def test_a_run_of_ids_has_the_hash_that_others_give_it():
    assert murmur3([int.from_bytes(b"test", "little")]) == 0xBA6BD213  # as every MurmurHash3 has it
    token = np.array([[7, 0, 49, 7, 2**20, 3]], np.int32)
    for size, found in enumerate(hashes(jnp.asarray(token), 4), start=2):
        for end in range(size, 7):
            assert int(found[0, end - 1]) == murmur3(token[0, end - size : end].tolist())


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_logits_are_those_of_the_definition(ngrams):
    model, params = family(SMALL.model_copy(update={"ngrams": ngrams}))
    rows = [[5, 6, 7, 6], [9, 9], [3]], [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
    got = np.asarray(logits(model, params, texts(*rows)))
    assert ("runs" in params) == (ngrams > 1)
    for row, number, turn in ((rows[0], 0, 0), (rows[0], 0, 1), (rows[0], 0, 2), (rows[1], 1, 0)):
        text, read = row[turn], []
        for size in range(1, ngrams + 1):
            for begin in range(len(text) - size + 1):
                run = text[begin : begin + size]
                read.append(params["runs"][murmur3(run) % 32] if size > 1 else params["embedding"][run[0]])
        wanted = params["classifier"] @ np.mean(read, axis=0) + params["classifier_b"]
        np.testing.assert_allclose(got[number, turn], wanted, rtol=1e-5, atol=1e-5)


def test_the_order_of_tokens_counts_where_runs_do():
    rows = [[5, 6, 7]], [[7, 6, 5]]
    for ngrams, tells_them_apart in ((1, False), (2, True)):
        got = np.asarray(logits(*family(SMALL.model_copy(update={"ngrams": ngrams})), texts(*rows)))[:, 0]
        assert (np.abs(got[0] - got[1]).max() > 1e-3) == tells_them_apart


def test_the_separator_padding_and_an_empty_text_are_not_read():
    model, params = family()
    rows = [[5, 6], [7]], [[]]
    batch = texts(*rows)
    got = np.asarray(logits(model, params, batch))
    other = np.where((batch.position == 0) | (batch.segment == 0), 33, batch.token)
    np.testing.assert_array_equal(got[:, :2], np.asarray(logits(model, params, batch._replace(token=other)))[:, :2])
    np.testing.assert_array_equal(got[1, 0], params["classifier_b"])


def test_runs_meet_in_buckets_and_never_meet_tokens():
    model, params = family(SMALL.model_copy(update={"buckets": 1, "ngrams": 2}))
    assert params["runs"].shape == (1, 4)
    of = lambda *text: np.asarray(model.hidden(params, texts([list(text)])))[0, 0]
    np.testing.assert_allclose(of(1, 2) * 3 - params["embedding"][1:3].sum(0), params["runs"][0], atol=1e-5)
    np.testing.assert_allclose(of(1), params["embedding"][1], atol=1e-6)


def test_a_run_that_was_never_met_says_nothing():
    model = build(SMALL, vocab=VOCAB, length=LENGTH, packed=True, platform="cpu", head=Head("classes", 2))
    params = model.init(jax.random.key(0))
    assert not np.any(params["runs"]) and np.any(params["embedding"])
