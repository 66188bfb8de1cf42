"""A rule that would take more than a share of a source stops the run before anything is removed."""

from collections import Counter, defaultdict

import numpy as np

from jaxlm.corpus.duplicates import part
from jaxlm.corpus.duplicates.config import CapConfig
from jaxlm.errors import UserError

_EXAMPLES = 3


def check(
    removed: np.ndarray, kept: np.ndarray, weights: np.ndarray, documents: part.Documents, cfg: CapConfig, what: str
) -> None:
    """UserError where `removed` places weigh too much of their source; `kept` are what they duplicate.

    A weight is the share of the document that goes: 1 where it goes whole.
    """
    totals: Counter[str] = Counter()
    gone, first = defaultdict[str, float](float), defaultdict[str, list[int]](list)
    parts = part.part_of(removed)
    for number, table in enumerate(documents.tables):
        here = np.flatnonzero(parts == number)
        own = table["source"][part.row_of(removed[here])]
        for code, source in enumerate(documents.sources(number)):
            totals[source] += int(np.count_nonzero(table["source"] == code))
            gone[source] += float(weights[here][own == code].sum())
            first[source] += here[own == code][:_EXAMPLES].tolist()
    for source, total in sorted(totals.items()):
        if total >= cfg.documents and gone[source] > cfg.share * total:
            some = np.array(first[source][:_EXAMPLES], np.int64)
            pairs = zip(documents.ids(removed[some]), documents.ids(kept[some]), strict=True)
            examples = ", ".join(f"{a} of {b}" for a, b in pairs)
            raise UserError(
                f"source {source!r}: {gone[source]:,.0f} of {total:,} documents would be removed as {what}, a share "
                f"of {gone[source] / total:.2f}, above cap.share={cfg.share}; nothing is removed. Look at some "
                f"({examples}): if they are duplicates, raise cap.share; if not, compare longer shingles or units, or "
                f"raise the threshold"
            )
