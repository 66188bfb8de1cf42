"""Who goes, and for whom: a document goes only if one that stays is its verified neighbour.

Documents are judged in the order of keeping, so a cluster is a star around one that stays. Neighbours of neighbours
are none: chains of small steps joined a whole source into one cluster elsewhere (marin-community/marin#6854).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlm.corpus.duplicates import part

_AT_ONCE = 1_000_000  # pairs; chosen: some 100 MB as Python's integers
REMOVAL = np.dtype([("place", "<u8"), ("kept", "<u8"), ("jaccard", "<f8")])


class Removal(NamedTuple):
    """Evidence in words."""

    id: str
    kept_id: str
    jaccard: float


class Removals(NamedTuple):
    table: np.ndarray  # REMOVAL, sorted by place
    folder: Path
    parts: int

    def rows(self, number: int) -> np.ndarray:
        """The rows of part `number` that go, ascending."""
        places = self.table["place"]
        return part.row_of(places[part.part_of(places) == number])

    def evidence(self) -> list[Removal]:
        documents = part.Documents(self.folder, self.parts)
        ids, kept = documents.ids(self.table["place"]), documents.ids(self.table["kept"])
        return [Removal(*one) for one in zip(ids, kept, self.table["jaccard"].tolist(), strict=True)]


def stars(pairs: np.ndarray, documents: part.Documents) -> np.ndarray:
    """The removals that verified `pairs` lead to; the evidence is the most similar document that stays."""
    places = np.unique(np.concatenate((pairs["later"], pairs["earlier"])))
    rank = np.empty(len(places), np.int64)
    rank[documents.order(places)] = np.arange(len(places))
    later = rank[np.searchsorted(places, pairs["later"])]
    earlier = rank[np.searchsorted(places, pairs["earlier"])]
    order = np.lexsort((earlier, -pairs["jaccard"], later))
    goes, chosen = bytearray(len(places)), []
    for start in range(0, len(order), _AT_ONCE):
        block = order[start : start + _AT_ONCE]
        for index, a, b in zip(block.tolist(), later[block].tolist(), earlier[block].tolist(), strict=True):
            if not goes[a] and not goes[b]:  # b comes before a, so whether it goes is known
                goes[a] = True
                chosen.append(index)
    found = np.zeros(len(chosen), REMOVAL)
    for field, of in (("place", "later"), ("kept", "earlier"), ("jaccard", "jaccard")):
        found[field] = pairs[of][chosen]
    return found[np.argsort(found["place"])]
