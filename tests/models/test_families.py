"""What every family that predicts the next token must hold: one row for each, every check for all."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.models.build import build
from jaxlm.models.family import Family
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig

VOCAB, LENGTH = 11, 12
SMALL = {"layers": 2, "width": 16, "precision": "float32"}
RECURRENT = {
    name: RecurrentConfig(cell=name, **SMALL)
    for name in ("tanh", "relu", "lstm", "gru", "gru_before", "mingru", "minlstm")
}
FAMILIES = RECURRENT | {
    "awd": RecurrentConfig(cell="lstm", layers=3, width=20, embedding=12, precision="float32"),
    "projected": RecurrentConfig(cell="lstm", projection=6, tied=False, **SMALL),
    "gpt2": TransformerConfig(heads=2, bias=True, **SMALL),
    "llama": TransformerConfig(
        heads=4, kv_heads=2, position="rotary", norm="rmsnorm", activation="swiglu", tied=False, **SMALL
    ),
    "scanned": TransformerConfig(heads=2, position="rotary", scan_layers=True, **SMALL),
}


def rows() -> Batch:
    token = np.random.default_rng(0).integers(0, VOCAB, (3, LENGTH), dtype=np.int32)
    ones, position = np.ones_like(token), np.arange(LENGTH, dtype=np.int32)[None].repeat(3, axis=0)
    return Batch(token, token, ones.astype(np.float32), ones, position)


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


class Ready(NamedTuple):
    """A family with parameters, and its functions compiled: op by op they would take ten times as long."""

    params: dict
    hidden: Callable
    apply: Callable
    decode: Callable
    model: Family


@pytest.fixture(scope="module")
def ready():
    @functools.cache
    def of(name, packed=True):
        model = build(FAMILIES[name], vocab=VOCAB, length=LENGTH, packed=packed, platform="cpu")
        params = jax.jit(model.init)(jax.random.key(0))
        return Ready(params, jax.jit(model.hidden), jax.jit(model.apply), jax.jit(model.decode), model)

    return of


def test_step_by_step_decoding_is_the_full_forward(name, ready):
    (params, hidden, _, decode, model), batch = ready(name), rows()
    state, got = model.init_state(3, LENGTH), []
    for piece in (slice(0, 6), *(slice(l, l + 1) for l in range(6, LENGTH))):
        token_BL, position_BL = batch.token[:, piece], batch.position[:, piece]
        hidden_BLD, state = decode(params, token_BL, position_BL, np.ones(token_BL.shape, bool), state)
        got.append(hidden_BLD)
    close(np.concatenate(got, axis=1), hidden(params, batch))


def test_a_padded_prompt_decodes_as_the_prompt_alone(name, ready):
    (params, hidden, _, decode, model), batch = ready(name), rows()
    length_B1 = np.array([[6], [2], [4]])
    real = np.arange(6)[None] < length_B1
    _, state = decode(params, batch.token[:, :6], batch.position[:, :6], real, model.init_state(3, LENGTH))
    got, _ = decode(params, batch.token[:, 6:7], length_B1, np.ones((3, 1), bool), state)
    token = batch.token.copy()
    for row, length in enumerate(length_B1[:, 0]):
        token[row, length] = batch.token[row, 6]
    wanted = hidden(params, batch._replace(token=token))
    close(got[:, 0], np.take_along_axis(np.asarray(wanted), length_B1[..., None], axis=1)[:, 0])


def test_rows_of_a_state_can_be_reordered_dropped_and_repeated(name, ready):
    (params, _, _, decode, model), batch = ready(name), rows()
    row_B = np.array([2, 0, 0])
    real = np.ones((3, 6), bool)
    feed = lambda batch: decode(params, batch.token[:, :6], batch.position[:, :6], real, model.init_state(3, LENGTH))[1]
    reordered = jax.jit(model.reorder)(feed(batch), row_B)
    wanted = feed(jax.tree.map(lambda x: x[row_B], batch))
    jax.tree.map(close, reordered, wanted)


def test_a_token_changes_nothing_before_it(name, ready):
    (params, hidden, *_), batch = ready(name), rows()
    changed = batch.token.copy()
    changed[:, 7] = (changed[:, 7] + 1) % VOCAB
    before, after = hidden(params, batch), hidden(params, batch._replace(token=changed))
    close(after[:, :7], before[:, :7])
    assert np.abs(after[:, 7:] - before[:, 7:]).max() > 1e-4


def test_a_packed_row_is_its_documents_alone(name, ready):
    (params, hidden, *_), batch, alone = ready(name), rows(), ready(name, packed=False)
    segment = np.repeat([[1, 2, 0]], [5, 4, 3], axis=1).repeat(3, axis=0)  # the last piece is padding
    position = np.where(segment > 0, np.arange(LENGTH)[None] - 5 * (segment == 2), 0)
    packed = hidden(params, batch._replace(segment=segment, position=position))
    for start, size in ((0, 5), (5, 4)):
        document = batch._replace(token=np.roll(batch.token, -start, axis=1))  # what follows it changes nothing
        close(packed[:, start : start + size], alone.hidden(params, document)[:, :size])


@pytest.mark.parametrize("name", RECURRENT)
def test_two_rows_with_the_state_carried_over_are_one(name, ready):
    (params, hidden, apply, _, model), batch = ready(name), rows()
    half = LENGTH // 2
    first = apply(params, jax.tree.map(lambda x: x[:, :half], batch), None, model.carry(3))
    rest = apply(params, jax.tree.map(lambda x: x[:, half:], batch), None, first.carry)
    close(np.concatenate([first.array, rest.array], axis=1), hidden(params, batch))


def test_flops_are_counted_from_the_weights_in_products(name, ready):
    model = ready(name).model
    params = jax.eval_shape(model.init, jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    products = sum(x.size for path, x in leaves if path[-1].key in ("w", "projection")) + model.head(params).size
    attention = 0 if isinstance(FAMILIES[name], RecurrentConfig) else 6 * 2 * 16 * LENGTH
    assert model.flops_per_token(LENGTH) == 6 * products + attention
