"""What every family of models must hold: one row for each, every check for all that it is for."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest

from jaxlm.batch import Batch, Source
from jaxlm.losses import LossConfig
from jaxlm.models.build import build
from jaxlm.models.encoder import MODERN, EncoderConfig
from jaxlm.models.encoder_decoder import V1_1, VASWANI, EncoderDecoderConfig
from jaxlm.models.family import Family
from jaxlm.models.linear import LinearModelConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.stack_config import StackConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.parts import make_loss
from tests.rows import short

VOCAB, LENGTH, SOURCE = 11, 12, 9
SMALL = {"layers": 2, "width": 16, "precision": "float32"}
STACK = SMALL | {"heads": 4, "std": 0.3}  # std: far from a flat model
RECURRENT = {
    name: RecurrentConfig(cell=name, **SMALL)
    for name in ("tanh", "relu", "lstm", "gru", "gru_before", "mingru", "minlstm")
} | {
    "awd": RecurrentConfig(cell="lstm", layers=3, width=20, embedding=12, precision="float32"),
    "projected": RecurrentConfig(cell="lstm", projection=6, tied=False, **SMALL),
}
LLAMA = dict(kv_heads=2, position="rotary", norm="rmsnorm", activation="swiglu", tied=False)
CAUSAL = RECURRENT | {
    "gpt2": TransformerConfig(heads=2, bias=True, **SMALL),
    "llama": TransformerConfig(**STACK, **LLAMA),
    "scanned": TransformerConfig(**STACK, position="rotary", scan_layers=True),
    "gemma": TransformerConfig(**STACK | {"layers": 3}, **LLAMA, window=3, global_every=3, local_rope_base=100.0),
    "bloom": TransformerConfig(**STACK, position="alibi", bias=True, embedding_norm=True),
    "sines": TransformerConfig(**STACK, position="sinusoidal", embedding_scale=True, post_norm=True),
    "buckets": TransformerConfig(**STACK, position="buckets", buckets=8, bucket_reach=6),
}
PAIRS = {
    "t5": EncoderDecoderConfig(**STACK, buckets=8, bucket_reach=6),
    "t5_v1_1": EncoderDecoderConfig(**STACK, **V1_1, decoder_layers=1),
    "t5_scanned": EncoderDecoderConfig(**STACK, scan_layers=True, remat="full"),
    "vaswani": EncoderDecoderConfig(**STACK, **VASWANI),
}
ENCODERS = {
    "bert": EncoderConfig(**STACK),
    "modern": EncoderConfig(**STACK | {"layers": 4}, **MODERN | {"window": 3}),
    "elmo": RecurrentConfig(cell="lstm", bidirectional=True, tied=False, **SMALL),
    "linear": LinearModelConfig(ngrams=3, buckets=64),
}
WRITERS = CAUSAL | PAIRS
FAMILIES = WRITERS | ENCODERS
# In the short suite, each claim has a recurrence with gates and a linear one, a decoder, a pair of stacks, one that
# sees both ways, and sums of n-grams; `make test-slow` has every row.
FAST = ("lstm", "mingru", "llama", "t5", "bert", "linear")


def rows(name: str) -> Batch:
    token = np.random.default_rng(0).integers(0, VOCAB, (3, LENGTH), dtype=np.int32)
    ones, position = np.ones_like(token), np.arange(LENGTH, dtype=np.int32)[None].repeat(3, axis=0)
    batch = Batch(token, token, ones.astype(np.float32), ones, position)
    if name not in PAIRS:
        return batch
    place = np.arange(SOURCE)[None].repeat(3, axis=0)
    real = (place < [[SOURCE], [4], [1]]).astype(np.int32)  # sources are ragged
    return batch._replace(source=Source((place * place + token[:, :1]) % VOCAB, real, place))


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=short(FAMILIES, *FAST))
def name(request):
    return request.param


class Ready(NamedTuple):
    """A family with parameters, and its functions compiled: op by op they would take ten times as long."""

    params: dict
    hidden: Callable
    apply: Callable
    decode: Callable
    model: Family

    def empty(self, batch: Batch):
        """A state before the first token; of an encoder-decoder, after its sources."""
        if self.model.read is None:
            return self.model.init_state(3, LENGTH)
        return jax.jit(self.model.read, static_argnums=2)(self.params, batch.source, LENGTH)


@functools.cache
def family(name, packed=True) -> Family:
    return build(FAMILIES[name], vocab=VOCAB, length=LENGTH, packed=packed, platform="cpu")


@pytest.fixture(scope="module")
def ready():
    @functools.cache
    def of(name, packed=True):
        model = family(name, packed)
        params = jax.jit(model.init)(jax.random.key(0)) if packed else of(name).params
        return Ready(
            params, jax.jit(model.hidden), jax.jit(model.apply), jax.jit(model.decode or (lambda: None)), model
        )

    return of


@pytest.mark.parametrize("name", short(WRITERS, *FAST))
def test_step_by_step_decoding_is_the_full_forward(name, ready):
    of, batch = ready(name), rows(name)
    state, got = of.empty(batch), []
    for piece in (slice(0, 6), *(slice(l, l + 1) for l in range(6, LENGTH))):
        token_BL, position_BL = batch.token[:, piece], batch.position[:, piece]
        hidden_BLD, state = of.decode(of.params, token_BL, position_BL, np.ones(token_BL.shape, bool), state)
        got.append(hidden_BLD)
    close(np.concatenate(got, axis=1), of.hidden(of.params, batch))


@pytest.mark.parametrize("name", short(WRITERS, *FAST))
def test_a_padded_prompt_decodes_as_the_prompt_alone(name, ready):
    of, batch = ready(name), rows(name)
    length_B1 = np.array([[6], [2], [4]])
    real = np.arange(6)[None] < length_B1
    _, state = of.decode(of.params, batch.token[:, :6], batch.position[:, :6], real, of.empty(batch))
    got, _ = of.decode(of.params, batch.token[:, 6:7], length_B1, np.ones((3, 1), bool), state)
    token = batch.token.copy()
    for row, length in enumerate(length_B1[:, 0]):
        token[row, length] = batch.token[row, 6]
    wanted = of.hidden(of.params, batch._replace(token=token))
    close(got[:, 0], np.take_along_axis(np.asarray(wanted), length_B1[..., None], axis=1)[:, 0])


@pytest.mark.parametrize("name", short(WRITERS, *FAST))
def test_rows_of_a_state_can_be_put_in_another_order(name, ready):
    of, batch = ready(name), rows(name)
    step = lambda state, rows, l: of.decode(
        of.params, batch.token[rows, l : l + 1], batch.position[rows, l : l + 1], np.ones((3, 1), bool), state
    )
    _, state = step(of.empty(batch), [0, 1, 2], 0)
    state = jax.jit(of.model.reorder)(state, np.array([2, 2, 0]))
    got, _ = step(state, [2, 2, 0], 1)
    close(got[:, 0], np.asarray(of.hidden(of.params, batch))[[2, 2, 0], 1])


def test_a_token_changes_nothing_before_it_unless_tokens_see_both_ways(name, ready):
    of, batch = ready(name), rows(name)
    changed = batch.token.copy()
    changed[:, 7] = (changed[:, 7] + 1) % VOCAB
    before, after = of.hidden(of.params, batch), of.hidden(of.params, batch._replace(token=changed))
    assert np.abs(after[:, 7:] - before[:, 7:]).max() > 1e-4
    assert FAMILIES[name].causal == (name in WRITERS)
    if name in WRITERS:
        close(after[:, :7], before[:, :7])
    else:
        assert np.abs(after[:, :7] - before[:, :7]).max() > 1e-4


@pytest.mark.parametrize("name", short(PAIRS, *FAST))
def test_a_target_reads_all_of_its_source_and_no_padding(name, ready):
    of, batch = ready(name), rows(name)
    before = of.hidden(of.params, batch)
    for place in (0, SOURCE - 1):
        token = batch.source.token.copy()
        token[:, place] = (token[:, place] + 1) % VOCAB
        after = of.hidden(of.params, batch._replace(source=batch.source._replace(token=token)))
        moved = np.abs(after - before).max(axis=(1, 2)) > 1e-5
        assert (moved == (batch.source.segment[:, place] > 0)).all()


def test_a_packed_row_is_its_documents_alone(name, ready):
    of, batch, alone = ready(name), rows(name), ready(name, packed=False)
    segment = np.repeat([[1, 2, 0]], [5, 5, 2], axis=1).repeat(3, axis=0)  # the last piece is padding
    position = np.where(segment > 0, np.arange(LENGTH)[None] - 5 * (segment == 2), 0)
    packed = batch._replace(segment=segment, position=position)
    if batch.source is not None:
        pieces = np.repeat([[1, 2, 0]], [4, 3, 2], axis=1).repeat(3, axis=0)
        places = np.where(pieces > 0, np.arange(SOURCE)[None] - 4 * (pieces == 2), 0)
        packed = packed._replace(source=Source(batch.source.token, pieces, places))
    got = of.hidden(of.params, packed)
    for start, read, size in ((0, 0, 4), (5, 4, 3)):
        document = jax.tree.map(lambda x, start=start: x[:, start : start + 5], batch._replace(source=None))
        document = document._replace(position=batch.position[:, :5])
        if batch.source is not None:
            token, place = batch.source.token[:, read : read + 4], np.arange(4)[None].repeat(3, axis=0)
            document = document._replace(source=Source(token, (place < size).astype(np.int32), place))
        close(got[:, start : start + 5], alone.hidden(of.params, document))


def test_a_batch_that_asks_for_some_positions_gets_those(name, ready):
    of, batch = ready(name), rows(name)
    where = np.array([[3, 0], [5, 11], [7, 7]], np.int32)
    asks = batch._replace(where=where, target=where, weight=np.ones(where.shape, np.float32))
    close(of.hidden(of.params, asks), np.take_along_axis(of.hidden(of.params, batch), where[..., None], axis=1))


@pytest.mark.parametrize("name", short(RECURRENT, *FAST))
def test_two_rows_with_the_state_carried_over_are_one(name, ready):
    of, batch = ready(name), rows(name)
    half = LENGTH // 2
    first = of.apply(of.params, jax.tree.map(lambda x: x[:, :half], batch), None, of.model.carry(3))
    rest = of.apply(of.params, jax.tree.map(lambda x: x[:, half:], batch), None, first.carry)
    close(np.concatenate([first.array, rest.array], axis=1), of.hidden(of.params, batch))


@pytest.mark.parametrize("name", FAMILIES)
def test_flops_are_counted_from_the_weights_in_products(name):
    model, cfg = family(name), FAMILIES[name]
    params = jax.eval_shape(model.init, jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    products = sum(x.size for path, x in leaves if path[-1].key in ("w", "projection") and path[0].key != "transform")
    head = 0 if isinstance(cfg, EncoderConfig) else model.head(params).size
    scores = 0
    if isinstance(cfg, StackConfig):
        spread = {"gemma": 2 * 6 + LENGTH, "modern": 2 * 6 + 2 * LENGTH}.get(name, 2 * LENGTH)  # keys, over all layers
        if name in PAIRS:  # a causal stack and an encoder, and keys of the source
            layers = cfg.decoder_layers or 2
            spread = layers * LENGTH / 2 + layers * LENGTH + 2 * LENGTH
        scores = 12 * 16 * (spread / 2 if name in CAUSAL else spread)
    if isinstance(cfg, LinearModelConfig):  # multiplies nothing: sums of a row for each run of tokens that ends at one
        head, scores = 0, 2 * cfg.ngrams * cfg.width
    read = 2 if name in PAIRS else 1  # tokens, for each that is written: here sources are as long as targets
    assert model.flops_per_token(LENGTH) == (6 * (products + head) + scores) / read


@pytest.mark.parametrize("name", ENCODERS)
def test_what_sees_both_ways_cannot_write(name):
    assert family(name).decode is None
    assert family(name).init_state is None


@pytest.mark.parametrize("name", short(["lstm", "gpt2", "bert", "t5"], "lstm", "gpt2"))
def test_training_holds_a_chunk_of_the_logits_and_not_all(name):
    rows, length, vocab = 4, 512, 50_257  # all logits: 412 MB, and as much again for each of their gradients
    model = build(FAMILIES[name], vocab=vocab, length=length, packed=False, platform="cpu")
    tokens = jax.ShapeDtypeStruct((rows, length), np.int32)
    source = Source(tokens, tokens, tokens) if name in PAIRS else None
    weight = jax.ShapeDtypeStruct((rows, length), np.float32)
    batch = Batch(tokens, tokens, weight, tokens, tokens, source=source)
    params = jax.eval_shape(model.init, jax.random.key(0))

    def temporary_bytes(chunk):
        loss = make_loss(model, LossConfig(chunk=chunk))
        gradient = jax.jit(jax.grad(lambda params, batch: loss(params, batch, None, ())[0]))
        return gradient.lower(params, batch).compile().memory_analysis().temp_size_in_bytes

    assert 2 * temporary_bytes(None) < temporary_bytes(length)


@pytest.mark.parametrize("name", short(["gpt2", "llama", "scanned", "gemma", "bloom", "buckets"], *FAST))
def test_decoding_reads_a_prompt_from_both_sides_where_training_did(name):
    model = build(FAMILIES[name], vocab=VOCAB, length=LENGTH, packed=True, platform="cpu", prefix=True)
    params, batch = jax.jit(model.init)(jax.random.key(0)), rows(name)
    length_B = np.array([6, 2, 4])
    prefix_BL = np.arange(LENGTH)[None] < length_B[:, None]
    hidden, decode = jax.jit(model.hidden), jax.jit(model.decode)
    wanted, causal = hidden(params, batch._replace(prefix=prefix_BL)), hidden(params, batch)
    state = model.init_state(3, LENGTH)
    _, state = decode(params, batch.token[:, :6], batch.position[:, :6], prefix_BL[:, :6], state)
    for ahead in range(4):  # the last token of the prompt once more, then those after it
        place = (length_B - 1 + ahead)[:, None]
        token = np.take_along_axis(batch.token, place, axis=1)
        got, state = decode(params, token, place, np.ones((3, 1), bool), state)
        at = lambda x, place=place: np.take_along_axis(np.asarray(x), place[..., None], axis=1)[:, 0]
        close(got[:, 0], at(wanted))
        assert np.abs(at(wanted) - at(causal)).max() > 1e-4
