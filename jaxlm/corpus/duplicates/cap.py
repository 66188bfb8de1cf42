"""A rule that would take more than a share of a source stops the run before anything is removed."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jaxlm.corpus.duplicates import part
from jaxlm.corpus.duplicates.config import CapConfig
from jaxlm.errors import UserError

_EXAMPLES = 3


class Tally(NamedTuple):
    """Of a source, in one part or more."""

    documents: int = 0
    gone: float = 0.0  # the weight of what goes
    examples: tuple[str, ...] = ()  # "ID of the removed of ID of what stays"


Tallies = dict[str, Tally]  # {source: ...}


def tally(
    number: int, removed: np.ndarray, kept: np.ndarray, weights: np.ndarray, documents: part.Documents
) -> Tallies:
    """Of part `number`: `removed` are places in it, `kept` are what they duplicate.

    A weight is the share of the document that goes: 1 where it goes whole.
    """
    table, found = documents.table(number), {}
    codes = table["source"][part.row_of(removed)]
    for code, source in enumerate(documents.sources(number)):
        own = codes == code
        some = np.flatnonzero(own)[:_EXAMPLES]
        pairs = zip(documents.ids(removed[some]), documents.ids(kept[some]), strict=True)
        total = int(np.count_nonzero(table["source"] == code))
        found[source] = Tally(total, float(weights[own].sum()), tuple(f"{a} of {b}" for a, b in pairs))
    return found


def check(tallies: Iterable[Tallies], cfg: CapConfig, what: str) -> None:
    """UserError where the parts together take too much of a source."""
    total: Tallies = {}
    for one in tallies:
        for source, more in one.items():
            so_far = total.get(source, Tally())
            examples = (so_far.examples + more.examples)[:_EXAMPLES]
            total[source] = Tally(so_far.documents + more.documents, so_far.gone + more.gone, examples)
    for source, (documents, gone, examples) in sorted(total.items()):
        if documents >= cfg.documents and gone > cfg.share * documents:
            raise UserError(
                f"source {source!r}: {gone:,.0f} of {documents:,} documents would be removed as {what}, a share "
                f"of {gone / documents:.2f}, above cap.share={cfg.share}; nothing is removed. Look at some "
                f"({', '.join(examples)}): if they are duplicates, raise cap.share; if not, compare longer shingles or "
                f"units, or raise the threshold"
            )
