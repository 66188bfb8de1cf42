"""First pass, a task a part: the shingle sets of its documents, and a key for each band of their signatures.

A key is a hash of a band. Keys lie sorted in the file of their part, so that a later task reads any
range of them: the partition is by hash, and how many partitions there are is nobody's concern here.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rensa

from jaxlm.bits import mix
from jaxlm.corpus.duplicates import part
from jaxlm.corpus.duplicates.arrays import Ragged, load, save
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.shingles import shingles

_SIGNED_AT_ONCE = 2_000  # documents; chosen: rensa gives lists of int, 8 MB of them so
_BASE = 0xBB67AE8584CAA73B  # odd: the square root of 3 after its point


def sketch(here: Path, rows: Iterable[part.Row], cfg: NearConfig) -> dict[str, int]:
    """Write what later passes read of a part; returns its number of band keys."""
    rows = list(rows)
    part.write(here, rows)
    sets = shingles([row.text for row in rows], cfg)
    keys, owners = bands(sets, cfg)
    save(here / "shingles.npy", sets.flat)
    save(here / "offsets.npy", sets.offsets)
    save(here / "keys.npy", keys)
    save(here / "owners.npy", owners)
    return {"keys": len(keys)}


def bands(sets: Ragged, cfg: NearConfig) -> tuple[np.ndarray, np.ndarray]:
    """Every key, sorted, and the row it is of. A text without a word has none."""
    some = np.flatnonzero(sets.counts > 0)
    keys_RB = np.zeros((len(some), cfg.bands), np.uint64)
    for start in range(0, len(some), _SIGNED_AT_ONCE):
        block = slice(start, start + _SIGNED_AT_ONCE)
        keys_RB[block] = _keys(signatures(sets.take(some[block]), cfg), cfg)
    order = np.argsort(keys_RB, axis=None, kind="stable")
    return keys_RB.ravel()[order], some[order // cfg.bands].astype(np.uint32)


def signatures(sets: Ragged, cfg: NearConfig) -> np.ndarray:
    """MinHash (Broder 1997): of each of bands * rows hash functions the least value over the set, u32."""
    minhash = rensa.RMinHash  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs
    matrix = minhash.digest_matrix_from_flat_token_hashes(
        np.ascontiguousarray(sets.flat), sets.offsets.astype(np.uint64), cfg.bands * cfg.rows, cfg.seed
    )
    return np.array(matrix.to_rows(), np.uint32).reshape(-1, cfg.bands * cfg.rows)


def _keys(signatures: np.ndarray, cfg: NearConfig) -> np.ndarray:
    values = signatures.reshape(-1, cfg.bands, cfg.rows).astype(np.uint64)
    powers = np.array([pow(_BASE, n + 1, 2**64) for n in range(cfg.rows)], np.uint64)
    return mix(np.sum(mix(values) * powers[None, None], axis=2))


def sets_of(folder: Path, number: int) -> Ragged:
    """The shingle sets of a part, mapped."""
    here = part.part_folder(folder, number)
    return Ragged(load(here / "shingles.npy"), load(here / "offsets.npy"))
