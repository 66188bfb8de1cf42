"""Which documents of a part hold enough of which items; the n-grams that many documents hold are no evidence of it.

GPT-3 ignored the n-grams that more than 10 documents of its corpus hold, and with them a test that eleven sites copied.
Here an item counts as found by the share of it that is in n-grams which are not common; or where the document holds
nearly all of it, in at least two n-grams that share no word, since nobody quotes so much as a phrase.
"""

import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlm.corpus import cuts, ledger, pii, pii_scrub, stages, table
from jaxlm.corpus.contamination import mask
from jaxlm.corpus.contamination.config import ContaminationConfig
from jaxlm.corpus.contamination.index import ITEMS, Index
from jaxlm.corpus.contamination.mask import merged
from jaxlm.corpus.contamination.search import MATCHES
from jaxlm.corpus.cuts import Cut
from jaxlm.corpus.document import Document
from jaxlm.corpus.duplicates.arrays import load, save
from jaxlm.corpus.ledger import Ledger, Removal

COMMON, FINDINGS, PHRASES, WHOLE = "common.npy", "findings.parquet", "phrases.parquet", "whole.parquet"
_WHOLE = 0.8  # of an item; above it Llama 2 calls one dirty (section A.6)
_AT_ONCE = 1_000_000  # pairs of an n-gram found and an item it is of; chosen: some 100 MB
_AROUND, _SHOWN = 60, 300  # characters shown before a leak, and in all
_FINDING = table.schema(
    row="int64", id="string", source="string", set="string", item="int64", place="string", share="double",
    spans="string", sample="string",
)  # fmt: skip
_PHRASE = table.schema(item="int64", documents="int64", whole="int64")
HELD = table.schema(id="string", source="string", set="string", place="string", share="double", spans="string")


class Found(NamedTuple):
    """An item in a document."""

    row: int
    item: int
    share: float  # of the item's words
    common: bool  # enough of it only with n-grams that many documents hold: no leak
    spans: list[tuple[int, int]]  # characters of the document


def common(folder: Path, parts: Sequence[tuple[Path, Ledger]], index_folder: Path, most: int) -> dict:
    """common.npy: for each n-gram whether over `most` documents hold it, of `parts` (matches, what is left of them)."""
    documents = np.zeros(len(Index.open(index_folder).grams), np.uint32)
    for matches, decided in parts:
        table_ = _left(matches, decided)
        once = np.unique(table_["row"].astype(np.uint64) << np.uint64(32) | table_["gram"])
        documents += np.bincount(once & np.uint64(2**32 - 1), minlength=len(documents)).astype(np.uint32)
    save(folder / COMMON, documents > most)
    return {"grams": len(documents), "common": int(np.count_nonzero(documents > most))}


def judge(
    folder: Path,
    documents: Path,
    matches: Path,
    decided: Ledger,
    common_folder: Path,
    index_folder: Path,
    cfg: ContaminationConfig,
    personal: Sequence[pii.Kind] = (),
) -> dict:
    """Of a part the leaks by row and item, findings.parquet; in how many documents an item is none but a common phrase,
    phrases.parquet, and those that hold nearly all of it, whole.parquet; and a ledger of what `cfg.mode` makes of it.

    `decided` says what of its documents is no longer there; samples have tags in the place of `personal` data.
    """
    leaks: dict[int, list[Found]] = {}
    phrases: Counter[int] = Counter()
    whole: dict[int, list[Found]] = {}
    for one in findings(_left(matches, decided), Index.open(index_folder), load(common_folder / COMMON), cfg):
        if one.common:
            phrases[one.item] += 1
            if one.share >= _WHOLE:
                whole.setdefault(one.row, []).append(one)
        else:
            leaks.setdefault(one.row, []).append(one)
    held = Counter(one.item for some in whole.values() for one in some)
    counts = [{"item": item, "documents": phrases[item], "whole": held[item]} for item in sorted(phrases)]
    table.write_rows(folder / PHRASES, counts, _PHRASE)
    items = table.read_rows(index_folder / ITEMS) if leaks or whole else []
    _write_whole(folder / WHOLE, documents, whole, items)
    shown = _shown(documents, leaks)
    rows_of = {row: list(_rows(shown[row], leaks[row], items, personal)) for row in leaks}
    rows = [*itertools.chain.from_iterable(rows_of.values())]
    table.write_rows(folder / FINDINGS, rows, _FINDING)
    return {"findings": len(rows), "removed": _removed(folder, shown, rows_of, decided, cfg)}


def _write_whole(
    path: Path, documents: Path, whole: Mapping[int, Sequence[Found]], items: Sequence[dict[str, Any]]
) -> None:
    with table.Writer(path, HELD) as file:
        every = enumerate(table.read_documents(documents / stages.DOCUMENTS)) if whole else ()
        for one, document in ((one, document) for row, document in every for one in whole.get(row, ())):
            file.add({
                "id": document.id, "source": document.source, "set": items[one.item]["set"],
                "place": items[one.item]["place"], "share": round(one.share, 4), "spans": json.dumps(one.spans),
            })  # fmt: skip


def _rows(
    document: Document, leaks: Sequence[Found], items: Sequence[dict[str, Any]], personal: Sequence[pii.Kind]
) -> Iterator[dict[str, Any]]:
    """Of one document."""
    spans = pii.find(document.text, personal)
    for one in leaks:
        begin, item = max(one.spans[0][0] - _AROUND, 0), items[one.item]
        yield {
            "row": one.row, "id": document.id, "source": document.source, "set": item["set"], "item": one.item,
            "place": item["place"], "share": round(one.share, 4), "spans": json.dumps(one.spans),
            "sample": pii_scrub.excerpt(document.text, spans, begin, begin + _SHOWN),
        }  # fmt: skip


def _removed(
    folder: Path,
    documents: Mapping[int, Document],
    leaks: Mapping[int, Sequence[dict[str, Any]]],
    decided: Ledger,
    cfg: ContaminationConfig,
) -> ledger.Counts:
    """The ledger of a part, of {row: what it leaks}."""
    gone, cut, before = {}, {}, decided.cuts()
    for row, some in leaks.items():
        if cfg.mode == "drop":
            gone[row] = _reasons(some)
        elif cfg.mode == "mask":
            text = documents[row].text
            masked = _masked(text, some, cfg.around)
            left = len(cuts.apply(text, [one for one, _ in (*before.get(row, ()), *masked)]).strip())
            if left < cfg.left:
                why = "; ".join(f"{one.reason}: {one.evidence}" for one in _reasons(some))
                evidence = f"{left} of {len(text)} are left without {why}"
                gone[row] = [Removal("contamination", f"under {cfg.left} characters left", evidence)]
            else:
                cut[row] = masked
    return ledger.write(folder, gone, cut)


def _masked(text: str, rows: Sequence[dict[str, Any]], around: int) -> list[tuple[Cut, Removal]]:
    """What is cut out of a document for its leaks: each cut with a reason for each set of which it has an item."""
    spans = [[tuple(span) for span in json.loads(row["spans"])] for row in rows]
    return [
        (cut, why)
        for cut in mask.cuts(text, merged([*itertools.chain.from_iterable(spans)]), around)
        for why in _reasons([
            row for row, own in zip(rows, spans, strict=True)
            if any(cut.start <= start < cut.end for start, _ in own)
        ])
    ]  # fmt: skip


def _reasons(rows: Sequence[dict[str, Any]]) -> list[Removal]:
    """Of one document: a reason for each set that it holds an item of."""
    found = []
    for set_ in dict.fromkeys(row["set"] for row in rows):
        first, *others = [row for row in rows if row["set"] == set_]
        more = f" and {len(others):,} more" if others else ""
        evidence = f"{first['share']:.0%} of {first['place']}{more}"
        found.append(Removal("contamination", f"an item of {set_}", evidence))
    return found


def findings(matches: np.ndarray, index: Index, common: np.ndarray, cfg: ContaminationConfig) -> Iterator[Found]:
    """The items that documents hold enough of, by row and item."""
    words, lengths = (index.sizes[name].astype(np.int64) for name in ("words", "length"))
    for some in _chunks(matches, index):
        counts = index.uses.counts[some["gram"]]
        use = index.uses.take(some["gram"].astype(np.int64)).flat
        which = np.repeat(np.arange(len(some)), counts)  # match of each use
        pair = some["row"][which].astype(np.uint64) << np.uint64(32) | use["item"]
        order = np.lexsort((use["start"], pair))
        which, pair, use = which[order], pair[order], use[order]
        rare = ~common[some["gram"][which]]
        pairs, begins = np.unique(pair, return_index=True)
        of = pairs.astype(np.int64) & (2**32 - 1)
        whole = _covered(pair, use["start"], lengths[use["item"]], pairs)
        without = _covered(pair[rare], use["start"][rare], lengths[use["item"]][rare], pairs)
        leaks = without >= cfg.share * words[of]
        leaks |= (whole >= _WHOLE * words[of]) & (whole >= 2 * lengths[of])
        ends = np.append(begins[1:], len(pair))
        for n in np.flatnonzero(leaks | (whole >= cfg.share * words[of])).tolist():
            own = some[which[begins[n] : ends[n]]]
            spans = merged(list(zip(own["start"].tolist(), own["end"].tolist(), strict=True)))
            item = int(of[n])
            share = int(whole[n]) / int(words[item])
            yield Found(int(pairs[n] >> np.uint64(32)), item, share, not leaks[n], spans)


def _covered(pair: np.ndarray, start: np.ndarray, length: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Words of the item that n-grams from `start` on cover, for each of `pairs`; sorted by pair and start."""
    reach = length.astype(np.int64)
    if len(pair):
        same = pair[1:] == pair[:-1]
        step = start[1:].astype(np.int64) - start[:-1]
        reach[:-1] = np.where(same, np.minimum(reach[:-1], step), reach[:-1])
    return np.bincount(np.searchsorted(pairs, pair), reach, minlength=len(pairs)).astype(np.int64)


def _chunks(matches: np.ndarray, index: Index) -> Iterator[np.ndarray]:
    """Whole documents with some `_AT_ONCE` uses together."""
    done = np.concatenate(([0], np.cumsum(index.uses.counts[matches["gram"]])))
    documents = np.flatnonzero(matches["row"][1:] != matches["row"][:-1]) + 1
    start = 0
    for end in [*documents.tolist(), len(matches)]:
        if end > start and (end == len(matches) or done[end] - done[start] >= _AT_ONCE):
            yield matches[start:end]
            start = end


def _left(matches: Path, decided: Ledger) -> np.ndarray:
    """What was found in that part of the documents which neither goes nor is cut."""
    table_, gone = load(matches / MATCHES), decided.gone()
    table_ = table_[~np.isin(table_["row"], np.array(sorted(gone), np.int64))]
    stays, rows = np.ones(len(table_), bool), np.ascontiguousarray(table_["row"])
    for row, some in decided.cuts().items():
        own = slice(*np.searchsorted(rows, [row, row + 1]))
        for cut, _ in some:
            stays[own] &= (table_["end"][own] <= cut.start) | (table_["start"][own] >= cut.end)
    return table_[stays]


def _shown(documents: Path, rows: Collection[int]) -> dict[int, Document]:
    if not rows:
        return {}
    every = enumerate(table.read_documents(documents / stages.DOCUMENTS))
    return {number: document for number, document in every if number in rows}
