"""Rotary positions: what they are for, and Hugging Face's way of pairing channels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlm.models.positions import rotate, turns


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
