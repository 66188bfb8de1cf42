"""What every family that predicts the next token must hold: one row for each, every check for all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.models.build import build
from jaxlm.models.family import tokens
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
}


def family(name, packed=True):
    return build(FAMILIES[name], vocab=VOCAB, length=LENGTH, packed=packed, platform="cpu")


def rows(count=3, length=LENGTH, seed=0) -> Batch:
    token = np.random.default_rng(seed).integers(0, VOCAB, (count, length))
    return tokens(jnp.array(token, jnp.int32), jnp.broadcast_to(jnp.arange(length), (count, length)))


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


def test_step_by_step_decoding_is_the_full_forward(name):
    model, batch = family(name), rows()
    params = model.init(jax.random.key(0))
    decode, state, got = jax.jit(model.decode), model.init_state(3, LENGTH), []
    for piece in (slice(0, 5), *(slice(l, l + 1) for l in range(5, LENGTH))):
        token_BL, position_BL = batch.token[:, piece], batch.position[:, piece]
        hidden_BLD, state = decode(params, token_BL, position_BL, jnp.ones_like(token_BL, bool), state)
        got.append(hidden_BLD)
    close(jnp.concatenate(got, axis=1), model.hidden(params, batch))


def test_a_padded_prompt_decodes_as_the_prompt_alone(name):
    model, batch = family(name), rows()
    params = model.init(jax.random.key(0))
    real = jnp.arange(6)[None] < jnp.array([[6], [2], [4]])
    _, state = model.decode(params, batch.token[:, :6], batch.position[:, :6], real, model.init_state(3, LENGTH))
    one = jnp.ones((3, 1), bool)
    got, _ = model.decode(params, batch.token[:, 6:7], jnp.array([[6], [2], [4]]), one, state)
    for row, length in enumerate((6, 2, 4)):
        token = jnp.concatenate([batch.token[row : row + 1, :length], batch.token[row : row + 1, 6:7]], axis=1)
        alone = model.hidden(params, tokens(token, jnp.arange(length + 1)[None]))
        close(got[row, 0], alone[0, -1])


def test_a_token_changes_nothing_before_it(name):
    model, batch = family(name), rows()
    params = model.init(jax.random.key(0))
    before = model.hidden(params, batch)
    after = model.hidden(params, batch._replace(token=batch.token.at[:, 7].set((batch.token[:, 7] + 1) % VOCAB)))
    close(after[:, :7], before[:, :7])
    assert jnp.abs(after[:, 7:] - before[:, 7:]).max() > 1e-4


def test_a_packed_row_is_its_documents_alone(name):
    model, batch = family(name), rows()
    params = model.init(jax.random.key(0))
    sizes, segment, position = (5, 4, 3), [], []
    for number, size in enumerate(sizes):
        segment += [number + 1 if number < 2 else 0] * size  # the last piece is padding
        position += list(range(size)) if number < 2 else [0] * size
    one_row = lambda x: jnp.broadcast_to(jnp.array(x, jnp.int32), (3, LENGTH))
    packed = model.hidden(params, batch._replace(segment=one_row(segment), position=one_row(position)))
    alone = family(name, packed=False)
    for start, size in ((0, 5), (5, 4)):
        document = tokens(batch.token[:, start : start + size], one_row(np.arange(LENGTH))[:, :size])
        close(packed[:, start : start + size], alone.hidden(params, document))


@pytest.mark.parametrize("name", RECURRENT)
def test_two_rows_with_the_state_carried_over_are_one(name):
    model, batch = family(name), rows()
    params = model.init(jax.random.key(0))
    cut = lambda piece: jax.tree.map(lambda x: x[:, piece], batch)
    first = model.apply(params, cut(slice(0, 5)), None, model.carry(3))
    rest = model.apply(params, cut(slice(5, None)), None, first.carry)
    close(jnp.concatenate([first.array, rest.array], axis=1), model.hidden(params, batch))


def test_flops_are_counted_from_the_weights_in_products(name):
    model = family(name)
    leaves = jax.tree_util.tree_leaves_with_path(jax.eval_shape(model.init, jax.random.key(0)))
    in_products = (
        sum(x.size for path, x in leaves if path[-1].key in ("w", "projection"))
        + model.head(jax.eval_shape(model.init, jax.random.key(0))).size
    )
    attention = 0 if name in FAMILIES and isinstance(FAMILIES[name], RecurrentConfig) else 6 * 2 * 16 * LENGTH
    assert model.flops_per_token(LENGTH) == 6 * in_products + attention
