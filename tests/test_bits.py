"""Numbers that look like chance."""

import numpy as np

from jaxlm.bits import mix


def test_mix_is_one_to_one_on_what_is_near_and_moves_half_of_the_bits():
    values = np.arange(100_000, dtype=np.uint64)
    assert len(np.unique(mix(values))) == len(values)
    moved = np.bitwise_count(mix(values) ^ mix(values ^ np.uint64(1)))
    assert 31 < moved.mean() < 33
