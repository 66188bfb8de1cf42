"""A rule that would take more than a share of a source stops the run before anything is removed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

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


Tallies = dict[str, dict[str, Any]]  # {source: fields of a Tally}, as plain JSON


class Kind(NamedTuple):
    """Of duplicates: its part of the config, and what to change there where the rule is wrong."""

    field: str
    mend: str


EXACT = Kind("duplicates.exact", "compare them to the letter, duplicates.exact.form='raw'")
PASSAGES = Kind(
    "duplicates.passages",
    "raise duplicates.passages.shortest, or compare to the letter, duplicates.passages.form='raw'",
)
NEAR = Kind(
    "duplicates.near",
    "raise duplicates.near.threshold, or compare longer shingles, duplicates.near.words (.characters without spaces)",
)


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
        gone = float(weights[own].sum())
        found[source] = Tally(total, gone, tuple(f"{a} of {b}" for a, b in pairs))._asdict()
    return found


def check(tallies: Iterable[Tallies], cfg: CapConfig, what: str, kind: Kind) -> None:
    """UserError where the parts together take too much of a source; `what` names in the plural what is alike."""
    total: dict[str, Tally] = {}
    for one in tallies:
        for source, fields in one.items():
            so_far, more = total.get(source, Tally()), Tally(**fields)
            examples = (*so_far.examples, *more.examples)[:_EXAMPLES]
            total[source] = Tally(so_far.documents + more.documents, so_far.gone + more.gone, examples)
    for source, (documents, gone, examples) in sorted(total.items()):
        if documents >= cfg.documents and gone > cfg.share * documents:
            raise UserError(
                f"source {source!r}: {gone:,.0f} of {documents:,} documents would be removed as {what}, a share "
                f"of {gone / documents:.2f}, above {kind.field}.cap.share={cfg.share}; nothing is removed. Look at "
                f"some ({', '.join(examples)}): if they are duplicates, raise {kind.field}.cap.share; "
                f"if not, {kind.mend}"
            )
