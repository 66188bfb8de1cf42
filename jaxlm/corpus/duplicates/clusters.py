"""How many documents are alike, and how alike: what a datasheet shows of near duplicates."""

import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxlm.corpus.duplicates.part import Documents
from jaxlm.corpus.duplicates.stars import NearCopies

NAMED = 5  # of the largest: chosen
STEPS = 50  # of the histogram of Jaccard, from 0 to 1
_AT_ONCE = 1 << 16  # ids in memory


def clusters(found: NearCopies) -> dict[str, Any]:
    """jaccard: removals by step; sizes: clusters by their documents; biggest: [id that stays, documents] of some."""
    jaccard, kept = np.zeros(STEPS, np.int64), [np.zeros(0, np.uint64)]
    for number in range(found.parts):
        here = found.of(number)
        steps = np.minimum((here["jaccard"] * STEPS + 1e-9).astype(np.int64), STEPS - 1)
        jaccard += np.bincount(steps, minlength=STEPS)
        kept.append(here["kept"])
    places, copies = np.unique(np.concatenate(kept), return_counts=True)
    return {
        "jaccard": {str(step): int(count) for step, count in enumerate(jaccard) if count},
        "sizes": {str(size): count for size, count in sorted(Counter((copies + 1).tolist()).items())},
        "biggest": [[id_, -negative] for negative, id_ in heapq.nsmallest(NAMED, _named(found, places, copies + 1))],
    }


def _named(found: NearCopies, places: np.ndarray, sizes: np.ndarray) -> Iterator[tuple[int, str]]:
    """(-documents, id) of the clusters that may be among the largest: of equal ones the first by id will be."""
    if len(sizes) > NAMED:
        large = sizes >= np.sort(sizes)[-NAMED]
        places, sizes = places[large], sizes[large]
    documents = Documents(found.folder, found.parts)
    for start in range(0, len(places), _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        yield from zip((-sizes[here]).tolist(), documents.ids(places[here]), strict=True)
