"""Third pass, a task a part: the Jaccard similarity of proposed pairs, exact over their shingle sets.

No hash function proposes a removal that this does not confirm: LSH alone removed distinct documents in quantity
(marin-community/marin#7591 found over half of the disputed removals wrong).
"""

from pathlib import Path

import numpy as np

from jaxlm.corpus.duplicates import part
from jaxlm.corpus.duplicates.arrays import Ragged, save
from jaxlm.corpus.duplicates.candidates import of_part
from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.passes import result
from jaxlm.corpus.duplicates.sketch import sets_of

VERIFIED, _FILE = "verified", "pairs.npy"
PAIR = np.dtype([("later", "<u8"), ("earlier", "<u8"), ("jaccard", "<f8")])


def verify(here: Path, number: int, parts: int, partitions: int, folder: Path, cfg: NearConfig) -> dict:
    """Write the pairs of part `number` that are as similar as the threshold asks, as keeping orders the later ones."""
    later, earlier = of_part(number, partitions, folder)
    found = np.zeros(len(later), PAIR)
    found["later"], found["earlier"] = later, earlier
    own, others = sets_of(folder, number), part.part_of(earlier)
    for other in np.unique(others).tolist():
        some = others == other
        rows = part.row_of(later[some]), part.row_of(earlier[some])
        found["jaccard"][some] = jaccards(own, rows[0], sets_of(folder, other), rows[1], cfg.threshold)
    found = found[found["jaccard"] >= cfg.threshold]
    save(here / _FILE, found[part.Documents(folder, parts).order(found["later"])])
    return {}


def jaccards(a: Ragged, rows_a: np.ndarray, b: Ragged, rows_b: np.ndarray, threshold: float) -> np.ndarray:
    """Of each pair of rows, shared elements over all; 0 where sizes alone keep it below `threshold`."""
    sizes_a, sizes_b = a.counts[rows_a], b.counts[rows_b]
    can_reach = np.minimum(sizes_a, sizes_b) >= threshold * np.maximum(sizes_a, sizes_b)
    chosen = np.flatnonzero(can_reach)
    edges = (offsets.tolist() for offsets in (*_edges(a, rows_a[chosen]), *_edges(b, rows_b[chosen])))
    shared = np.zeros(len(rows_a), np.int64)
    for index, start_a, end_a, start_b, end_b in zip(chosen.tolist(), *edges, strict=True):
        both = np.concatenate((a.flat[start_a:end_a], b.flat[start_b:end_b]))
        both.sort(kind="stable")  # two sorted runs: stable merges them, three times as fast as the default here
        shared[index] = np.count_nonzero(both[1:] == both[:-1])
    return shared / np.maximum(sizes_a + sizes_b - shared, 1)


def _edges(sets: Ragged, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return sets.offsets[rows], sets.offsets[rows + 1]


def verified_file(folder: Path, number: int) -> Path:
    return result(folder, VERIFIED, number) / _FILE
