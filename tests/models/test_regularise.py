"""AWD-LSTM's regularisers: each mask is read off the gradients, and then must explain the model without noise.

What is masked has a gradient of 0, so a mask can be seen from outside; the model without noise, with that mask
multiplied into its weights, must then be the model with noise, at every position of every row. `mutants.py` breaks
the sources in dozens of ways, and these tests must see each.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.losses import LossConfig
from jaxlm.models.build import build
from jaxlm.models.layers import Noise
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.parts import make_loss
from tests.rows import short

VOCAB, ROWS, LENGTH, WIDTH = 40, 8, 10, 16
RATE = 0.25  # not its own complement
REGULARISERS = {
    "dropout": RATE, "input_dropout": RATE, "hidden_dropout": RATE, "word_dropout": RATE, "weight_drop": RATE,
    "activation_penalty": 2.0, "temporal_penalty": 1.0,
}  # fmt: skip


@functools.cache
def built(**settings):
    """(params, jitted apply) of a recurrent model; untied, so that the table is what is embedded, and no more."""
    sizes = {"layers": 2, "width": WIDTH, "tied": False, "precision": "float32"}
    family = build(RecurrentConfig(**sizes | settings), vocab=VOCAB, length=LENGTH, packed=True, platform="cpu")
    large = jax.tree.map(lambda w: 3 * w, jax.jit(family.init)(jax.random.key(0)))  # so that what a mask does is seen
    return large, jax.jit(family.apply)


@functools.cache
def batch() -> Batch:
    """Every word twice; row 1 holds two documents, row 2 ends in padding."""
    token = np.random.default_rng(0).permutation(np.arange(ROWS * LENGTH, dtype=np.int32) % VOCAB)
    position = np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1))
    segment = np.ones_like(position)
    position[1, 6:] -= 6
    segment[1, 6:] = 2
    position[2, 7:] = segment[2, 7:] = 0
    weight = np.where(segment > 0, np.random.default_rng(1).random(segment.shape), 0).astype(np.float32)
    token = token.reshape(ROWS, LENGTH)
    return Batch(token, np.roll(token, -1, axis=1), weight, segment, position)


def noise(step=0, rows=0) -> Noise:
    keys = jax.random.split(jax.random.key(100 + rows), ROWS)
    return Noise(jax.random.key(step), keys)


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@functools.cache
def jitted_gradients(apply, each_row: bool):
    """Of the outputs at all positions, with random weights; with `each_row`, leaves are (rows, *weight)."""
    mixed_BLD = jax.random.normal(jax.random.key(7), (ROWS, LENGTH, 1))

    def of_rows(params, wanted_B, noise):
        return (apply(params, batch(), noise).array * mixed_BLD * wanted_B[:, None, None]).sum()

    gradient = jax.grad(of_rows)
    return jax.jit(jax.vmap(gradient, (None, 0, None)) if each_row else gradient)


def gradients(settings, noise, each_row=False):
    params, apply = built(**settings)
    return jitted_gradients(apply, each_row)(params, jnp.eye(ROWS) if each_row else jnp.ones(ROWS), noise)


def changed(params, changes):
    """`params` with weights multiplied: {("layer_0", "w"): factor}."""
    tree = jax.tree.map(lambda x: x, params)
    for path, factor in changes.items():
        *way, last = path
        functools.reduce(dict.__getitem__, way, tree)[last] *= factor
    return tree


def looks_random(mask):
    """Kept at the right rate, and different along every dimension."""
    assert abs(mask.mean() - (1 - RATE)) < 4 * np.sqrt(RATE * (1 - RATE) / mask.size)
    for axis in range(mask.ndim):
        assert mask.shape[axis] == 1 or (mask != np.take(mask, [0], axis)).any(), f"the same along axis {axis}"


def all_differ(masks):
    """No two of the masks begin alike."""
    size = min(mask.size for mask in masks)
    assert len({mask.ravel()[:size].tobytes() for mask in masks}) == len(masks)


# --- weights


KINDS = {
    "gru": {"cell": "gru"},
    "both ways": {"cell": "lstm", "bidirectional": True},
    "gru_before": {"cell": "gru_before"},
    "projected": {"cell": "lstm", "projection": 12},
}


def weight_masks(settings, noise):
    """(mask of each recurrent weight, all gradients)."""
    grads = gradients(settings, noise)
    return {name: np.asarray(layer["w"] != 0) for name, layer in grads.items() if name.startswith("layer")}, grads


@pytest.mark.parametrize("kind", short(KINDS, "gru", "projected"))
def test_weight_drop_is_one_mask_of_recurrent_weights_for_all_rows_and_positions(kind):
    settings = KINDS[kind] | {"weight_drop": RATE}
    (params, apply), (_, plain) = built(**settings), built(**KINDS[kind])
    masks, grads = weight_masks(settings, noise())
    dropped = changed(params, {(name, "w"): jnp.asarray(mask) / (1 - RATE) for name, mask in masks.items()})
    noisy = apply(params, batch(), noise())
    close(noisy.array, plain(dropped, batch()).array)
    jax.tree.map(close, noisy.carry, plain(dropped, batch()).carry)
    for name, mask in masks.items():
        looks_random(mask)
        for other in ("projection", "input"):  # all of these stay
            for leaf in jax.tree.leaves(grads[name].get(other, ())):
                assert (leaf != 0).all()
    all_differ(list(masks.values()))


def test_the_mask_of_weights_is_another_in_each_step_and_asks_no_row():
    settings = KINDS["gru"] | {"weight_drop": RATE}
    (first, _), (other_rows, _), (next_step, _) = (
        weight_masks(settings, n) for n in (noise(), noise(rows=1), noise(step=1))
    )
    jax.tree.map(np.testing.assert_array_equal, first, other_rows)
    all_differ([*first.values(), *next_step.values()])


# --- activations

SITES = {  # where a mask is, seen from the weights that read it: path, axis of the masked dimension among D, J, H
    "input_dropout": [("embedding",)],
    "hidden_dropout": [("layer_1", "input", "w"), ("layer_2", "input", "w")],
}


def row_masks(settings, path, noise):
    """Of each row: which of the dimensions that the weight at `path` reads (a table: makes) are kept."""
    grads = gradients(settings, noise, each_row=True)
    of_weight = functools.reduce(dict.__getitem__, path, grads)
    axes = (1,) if path == ("embedding",) else (2, 3)
    return np.asarray((of_weight != 0).any(axes))


@pytest.mark.parametrize("field", SITES)
def test_variational_dropout_is_one_mask_for_all_positions_of_a_row(field):
    settings = {"cell": "gru", "layers": 3, field: RATE}
    (params, apply), (_, plain) = built(**settings), built(cell="gru", layers=3)
    masks = {path: row_masks(settings, path, noise()) for path in SITES[field]}
    noisy = apply(params, batch(), noise())
    for row in range(ROWS):
        factors = {
            path: jnp.asarray(mask[row] / (1 - RATE)).reshape((1, -1) if path == ("embedding",) else (-1, 1, 1))
            for path, mask in masks.items()
        }
        wanted = plain(changed(params, factors), batch())
        close(noisy.array[row], wanted.array[row])
        jax.tree.map(lambda a, b, row=row: close(a[row], b[row]), noisy.carry, wanted.carry)
    for mask in masks.values():
        looks_random(mask)
        all_differ(list(mask))
    all_differ(list(masks.values()))


def output_mask(settings, noise):
    (params, apply), (_, plain) = built(**settings), built(**{**settings, "dropout": 0.0})
    return np.asarray(apply(params, batch(), noise).array / plain(params, batch(), noise).array)


def test_dropout_of_the_output_is_one_mask_for_all_positions_and_touches_no_state():
    settings = {"cell": "gru", "layers": 3, "dropout": RATE}
    ratio_BLD = output_mask(settings, noise())
    close(ratio_BLD, np.broadcast_to(ratio_BLD[:, :1], ratio_BLD.shape))
    mask = ratio_BLD[:, 0] != 0
    close(ratio_BLD[:, 0], mask / (1 - RATE))
    looks_random(mask)
    all_differ(list(mask))
    (params, apply), (_, plain) = built(**settings), built(cell="gru", layers=3)
    jax.tree.map(close, apply(params, batch(), noise()).carry, plain(params, batch()).carry)


def test_each_site_has_a_mask_of_its_own_and_each_step_and_row():
    """One row's mask follows its key, wherever the row stands."""
    settings = {"cell": "gru", "layers": 3, "dropout": RATE}
    settings |= {"input_dropout": RATE, "hidden_dropout": RATE}
    paths = [("embedding",), ("layer_1", "input", "w"), ("layer_2", "input", "w")]
    masks = [row_masks(settings, path, noise()) for path in paths]
    output = output_mask(settings, noise())[:, 0] != 0
    all_differ([row for mask in [*masks, output] for row in mask])
    turned = noise()._replace(rows_B=jnp.roll(noise().rows_B, 1))
    for path, mask in zip(paths, masks, strict=True):
        np.testing.assert_array_equal(row_masks(settings, path, turned), np.roll(mask, 1, axis=0))
        assert (row_masks(settings, path, noise(rows=1)) != mask).any()


# --- words


def word_mask(settings, noise):
    """Which words are kept; every word is in the batch, so one that is not gone has a gradient."""
    return np.asarray((gradients(settings, noise)["embedding"] != 0).any(1))


def test_word_dropout_takes_a_word_away_wherever_it_stands():
    settings = {"cell": "gru", "word_dropout": RATE}
    (params, apply), (_, plain) = built(**settings), built(cell="gru")
    mask = word_mask(settings, noise())
    dropped = changed(params, {("embedding",): jnp.asarray(mask / (1 - RATE))[:, None]})
    close(apply(params, batch(), noise()).array, plain(dropped, batch()).array)
    looks_random(mask)
    np.testing.assert_array_equal(word_mask(settings, noise(rows=1)), mask)
    assert (word_mask(settings, noise(step=1)) != mask).any()


def test_words_and_weights_are_not_dropped_by_one_draw():
    settings = {"cell": "gru", "word_dropout": RATE, "weight_drop": RATE}
    masks, _ = weight_masks(settings, noise())
    all_differ([*masks.values(), word_mask(settings, noise())])


# --- penalties


PENALTIES = {"activation": (2.0, 0.0), "temporal": (0.0, 3.0), "both": (2.0, 3.0)}


@pytest.mark.parametrize("name", short(PENALTIES, "both"))
def test_penalties_are_their_definition(name):
    """Merity et al. 2017: of what the head reads, dropout included; of the change of what the last layer made."""
    activation, temporal = PENALTIES[name]
    settings = {"cell": "gru", "layers": 3, "hidden_dropout": RATE}
    with_penalty = {"activation_penalty": activation, "temporal_penalty": temporal, "dropout": RATE}
    (params, apply), (_, raw) = built(**settings, **with_penalty), built(**settings)
    noisy, raw_BLD = apply(params, batch(), noise()), np.asarray(raw(params, batch(), noise()).array, np.float64)
    dropped_BLD, wanted, b = np.asarray(noisy.array, np.float64), 0.0, batch()
    for row in range(ROWS):
        for l in range(LENGTH):
            wanted += activation * b.weight[row, l] * np.mean(dropped_BLD[row, l] ** 2)
            if l and b.position[row, l] > 0:
                wanted += temporal * b.weight[row, l] * np.mean((raw_BLD[row, l] - raw_BLD[row, l - 1]) ** 2)
    assert wanted > 1
    np.testing.assert_allclose(noisy.penalty, wanted, rtol=1e-5)


def test_what_is_minimised_is_the_loss_and_the_penalty():
    settings = {"cell": "gru", "layers": 1, "activation_penalty": 2.0, "temporal_penalty": 1.0}
    family = build(
        RecurrentConfig(width=WIDTH, tied=False, precision="float32", **settings),
        vocab=VOCAB, length=LENGTH, packed=True, platform="cpu",
    )  # fmt: skip
    params, apply = built(**settings)
    objective, (sums, _) = jax.jit(make_loss(family, LossConfig()))(params, batch(), noise(), ())
    penalty = apply(params, batch(), noise()).penalty
    assert penalty > 1
    np.testing.assert_allclose(objective, sums["loss"] + penalty, rtol=1e-6)


# --- nothing where nothing is to be


@pytest.mark.parametrize("cell", short(["lstm", "mingru"], "lstm"))
def test_evaluation_knows_nothing_of_them(cell):
    regularisers = {k: v for k, v in REGULARISERS.items() if cell == "lstm" or k != "weight_drop"}
    (params, apply), (_, plain) = built(cell=cell, **regularisers), built(cell=cell)
    got, wanted = apply(params, batch()), plain(params, batch())
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert got.penalty == 0.0
    jax.tree.map(np.testing.assert_array_equal, plain(params, batch(), noise()), wanted)  # nor do rates of 0


@pytest.mark.parametrize("field", REGULARISERS)
def test_each_of_them_alone_makes_training_noisy(field):
    assert RecurrentConfig(width=4, **{field: REGULARISERS[field]}).noisy
    assert not RecurrentConfig(width=4).noisy
