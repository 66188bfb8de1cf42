"""A part of the corpus beside the index: every gram of an evaluation set in it, and where in which document.

What is written does not know which documents stay, so that another threshold elsewhere searches no text again.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxlm.corpus import stages, table
from jaxlm.corpus.contamination.grams import every_gram, grams, plain, words_of
from jaxlm.corpus.contamination.index import Index
from jaxlm.corpus.duplicates.arrays import Ragged, save
from jaxlm.corpus.duplicates.blocks import BLOCK, blocks
from jaxlm.corpus.duplicates.words import spans

# start and end are characters of the document, which is never as long as 4 GB
MATCH = np.dtype([("row", "<u4"), ("gram", "<u4"), ("start", "<u4"), ("end", "<u4")])
MATCHES = "matches.npy"


def search(folder: Path, documents: Path, index_folder: Path) -> dict:
    """matches.npy of a part, by row."""
    index, found, count = Index.open(index_folder), [np.zeros(0, MATCH)], 0
    every = (document.text for document in table.read_documents(documents / stages.DOCUMENTS))
    for texts in blocks(every, BLOCK):
        found.append(matches(texts, index, before=count))
        count += len(texts)
    save(folder / MATCHES, np.concatenate(found))
    return {"documents": count, "matches": sum(map(len, found))}


def matches(texts: Sequence[str], index: Index, before: int = 0) -> np.ndarray:
    """Every gram of `index` in `texts`, of which the first is document `before`."""
    found = words_of(texts).hashes
    words, lengths, which = _in_words(found, index)
    rows = np.searchsorted(found.offsets, words, side="right") - 1
    table_ = np.zeros(len(words), MATCH)
    table_["row"], table_["gram"] = rows + before, which
    for row in map(int, np.unique(rows)):
        here = rows == row
        starts, ends = spans(plain(texts[row]))
        first = words[here] - found.offsets[row]
        table_["start"][here] = starts[first]
        table_["end"][here] = ends[first + lengths[here] - 1]
    return table_


def _in_words(found: Ragged, index: Index) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each gram that is found the word it begins at, its words, and which it is; by the first."""
    heads = every_gram(found.flat, index.head)
    may = index.may_begin(heads)
    may = may[_is_in(index.heads, heads[may])]
    ends = found.offsets[np.searchsorted(found.offsets, may, side="right")]  # of their texts
    words, lengths, which = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for length in index.lengths if len(may) else ():
        fits = may[may + length <= ends]
        keys = grams(found.flat, fits, length)
        at = np.searchsorted(index.grams, keys)
        same = np.flatnonzero(_is_in(index.grams, keys))
        words.append(fits[same])
        lengths.append(np.full(len(same), length))
        which.append(at[same])
    order = np.argsort(np.concatenate(words), kind="stable")
    return np.concatenate(words)[order], np.concatenate(lengths)[order], np.concatenate(which)[order]


def _is_in(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[at] == values
