"""A lexicon tells of a document what cutting each of its words anew would tell."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xxhash

from jaxlm.corpus.characters import SYMBOLS
from jaxlm.corpus.english import cut
from jaxlm.corpus.words import ALPHABETIC, STOP, STOP_WORDS, SYMBOL, Lexicon, lexicon

LINES = ["The cat didn't sit.", "", "  -- (42) ... and “that” was all!", "the cat, the cat"]


def test_words_are_those_of_every_chunk_in_order():
    words = [word for line in LINES for chunk in line.split() for word in cut(chunk)]
    found = Lexicon().read("\n".join(LINES))
    assert found.hash_W.tolist() == [xxhash.xxh3_64_intdigest(word.encode()) for word in words]
    assert found.length_W.tolist() == [len(word) for word in words]
    assert (found.kind_W & SYMBOL > 0).tolist() == [all(c in SYMBOLS for c in word) for word in words]
    assert (found.kind_W & ALPHABETIC > 0).tolist() == [any(c.isalpha() for c in word) for word in words]
    stops = [{STOP_WORDS[i] for i in range(8) if kind >> STOP + i & 1} for kind in found.kind_W.tolist()]
    assert stops == [{word} & set(STOP_WORDS) for word in words]


def test_sentences_end_at_full_stops_that_something_follows():
    told = {
        "One.": 1, "One. Two.": 2, "One! Two? Three": 3, 'He said "No." Then he left.': 2,
        "Mr. Smith, the U.S. envoy": 1,
        "Wait... what?": 1, "": 0, "...": 1, 'A. "': 1, 'One. " " Two': 2, "end.Next one": 2, "Yes.) (No.) So": 3,
    }  # fmt: skip
    known = Lexicon()
    assert {line: known.sentences([line]) for line in told} == told


def test_a_line_begins_anew():
    assert Lexicon().sentences(["One.", "Two. Three", "", "four"]) == 4


def test_a_lexicon_that_is_full_starts_anew_and_tells_the_same():
    small, large = Lexicon(most_chunks=3), Lexicon()
    for text in (" ".join(LINES), "other words altogether, many of them", " ".join(LINES)):
        for ours, theirs in zip(small.read(text), large.read(text), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert small.sentences([text]) == large.sentences([text])


def test_text_without_words_has_none():
    assert Lexicon().read("  \n ").hash_W.size == 0 == Lexicon().sentences(["", "  "])


def test_a_profiler_that_keeps_frames_does_not_keep_a_lexicon_from_learning():
    """Dask's looks at the frames of each task, and what their variables hold stays as long."""
    known, frames = Lexicon(), []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, argument: frames.append(frame))
    try:
        read = [known.read(f"a{n} word{n} here.") for n in range(5_000)]
    finally:
        sys.setprofile(before)
    assert len(read) == 5_000 < len(frames)
    again = Lexicon().read("a4999 word4999 here.")
    assert again.hash_W.tolist() == read[-1].hash_W.tolist()


def test_threads_have_lexicons_of_their_own():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lexicon).result() is pool.submit(lexicon).result() is not lexicon()
