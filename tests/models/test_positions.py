"""Positions against their definitions, spelled out; rotary ones in Hugging Face's way of pairing channels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.models.positions import (
    LinearScaling,
    Llama3Scaling,
    YarnScaling,
    buckets_of_distances,
    rotate,
    sinusoid,
    slopes,
    turns,
)


def turned_by(x, position):
    return rotate(x, turns(position, x.shape[-1], 10_000.0))


def test_channels_are_paired_by_halves_as_in_hugging_face():
    x = np.asarray(jax.random.normal(jax.random.key(0), (1, 5, 3, 8)))
    position = np.array([[0, 1, 2, 7, 300]])
    expected = np.zeros(x.shape)
    for l, h, i in np.ndindex(5, 3, 4):
        angle = position[0, l] * 10_000.0 ** (-2 * i / 8)
        a, b = x[0, l, h, i], x[0, l, h, i + 4]
        expected[0, l, h, i] = a * np.cos(angle) - b * np.sin(angle)
        expected[0, l, h, i + 4] = b * np.cos(angle) + a * np.sin(angle)
    got = turned_by(jnp.asarray(x), jnp.asarray(position))
    np.testing.assert_allclose(got, expected, atol=1e-4)  # float32 angles at position 300 are good to 2e-5


@pytest.mark.parametrize("shift", [1, 13, 200])
def test_the_product_of_query_and_key_depends_on_their_distance_only(shift):
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 6, 2, 16))
    position = jnp.array([[0, 1, 2, 5, 9, 20]])
    products = lambda p: jnp.einsum("BLHK,BMHK->BHLM", turned_by(q, p), turned_by(k, p))
    np.testing.assert_allclose(products(position), products(position + shift), atol=1e-4)


def test_position_0_turns_nothing_and_no_position_changes_a_norm():
    x = jax.random.normal(jax.random.key(0), (2, 4, 2, 3, 8))  # queries have one dimension more than keys
    np.testing.assert_array_equal(turned_by(x, jnp.zeros((2, 4), jnp.int32)), x)
    turned = turned_by(x, jnp.arange(8).reshape(2, 4))
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)


def test_angles_are_float32_for_bfloat16_activations():
    x = jnp.ones((1, 2, 1, 2), jnp.bfloat16)
    turned = turned_by(x, jnp.array([[256, 257]]))  # bfloat16 cannot tell these apart
    assert turned.dtype == jnp.bfloat16
    expected = [np.cos(p) - np.sin(p) for p in (256.0, 257.0)]
    np.testing.assert_allclose(turned[0, :, 0, 0].astype(jnp.float32), expected, atol=0.01)


# Stretched


def frequencies(scaling, channels=64, base=10_000.0):
    """By how much each pair turns from one position to the next, and how long a pair is."""
    by = turns(jnp.array([[1]]), channels, base, scaling)
    return np.arctan2(by.sin_BLK[0, 0], by.cos_BLK[0, 0]), np.hypot(by.sin_BLK[0, 0], by.cos_BLK[0, 0])


PLAIN = 10_000.0 ** (-np.arange(0, 64, 2) / 64)


def test_linear_scaling_divides_every_position():
    got, length = frequencies(LinearScaling(factor=4.0))
    np.testing.assert_allclose(got, PLAIN / 4, rtol=1e-5)
    np.testing.assert_allclose(length, 1, rtol=1e-6)


def test_llama_3_slows_long_waves_and_leaves_short_ones():
    scaling = Llama3Scaling(factor=8.0, slow=1.0, fast=4.0, original=512)
    expected = []
    for frequency in PLAIN:
        wave = 2 * math.pi / frequency
        if wave < 512 / 4:
            expected.append(frequency)
        elif wave > 512 / 1:
            expected.append(frequency / 8)
        else:
            smooth = (512 / wave - 1) / (4 - 1)
            expected.append((1 - smooth) * frequency / 8 + smooth * frequency)
    got, length = frequencies(scaling)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert len({round(float(p / g), 3) for p, g in zip(PLAIN, got, strict=True)}) > 3  # both ends and a blend
    np.testing.assert_allclose(length, 1, rtol=1e-6)


def test_yarn_blends_by_channels_and_sharpens_scores():
    scaling = YarnScaling(factor=16.0, original=2048)
    pair_of = lambda turned: 64 * math.log(2048 / (turned * 2 * math.pi)) / (2 * math.log(10_000.0))
    low, high = math.floor(pair_of(32)), math.ceil(pair_of(1))
    got, length = frequencies(scaling)
    for pair, frequency in enumerate(PLAIN):
        share = min(max((pair - low) / (high - low), 0.0), 1.0)
        assert got[pair] == pytest.approx(share * frequency / 16 + (1 - share) * frequency, rel=1e-5)
    np.testing.assert_allclose(length, 0.1 * math.log(16) + 1, rtol=1e-6)


# Added


def test_sines_are_their_definition():
    position = np.array([[0, 1, 2, 77], [5, 4, 0, 1]])
    got = sinusoid(jnp.asarray(position), 6)
    for b, l, i in np.ndindex(2, 4, 3):
        angle = position[b, l] / 10_000.0 ** (2 * i / 6)
        np.testing.assert_allclose(got[b, l, 2 * i], np.sin(angle), atol=1e-5)
        np.testing.assert_allclose(got[b, l, 2 * i + 1], np.cos(angle), atol=1e-5)


def test_slopes_are_a_geometric_row_and_other_counts_of_heads_borrow_from_the_next_power():
    np.testing.assert_allclose(slopes(8), [2.0**-n for n in range(1, 9)])
    np.testing.assert_allclose(slopes(2), [2.0**-4, 2.0**-8])
    np.testing.assert_allclose(slopes(6), [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3])
    np.testing.assert_allclose(slopes(1), [2.0**-8])


@pytest.mark.parametrize("both", [True, False])
def test_buckets_hold_one_distance_each_and_then_ever_more(both):
    got = buckets_of_distances(32, 128, both)
    count, single = (16, 8) if both else (32, 16)
    for distance in range(129):
        bucket = distance
        if distance >= single:
            far = math.log(distance / single) / math.log(128 / single) * (count - single)
            bucket = min(single + int(far + 1e-9), count - 1)
        assert got[distance] == bucket
    assert set(got) == set(range(count))
    sizes = np.bincount(got[:-1])
    assert (np.diff(sizes) >= -1).all() and sizes[-1] > sizes[single]
