"""Arithmetic modulo 2^64 that makes numbers look like chance: for hashes and for orders.

Left out: hashes of bytes (hashing.py).
"""

import numpy as np

# Odd, so that it has an inverse and no bit is lost: 2^64 over the golden ratio. The base of polynomial hashes.
GOLDEN = 0x9E3779B97F4A7C15


def mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): one to one; each input bit moves half the output bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
