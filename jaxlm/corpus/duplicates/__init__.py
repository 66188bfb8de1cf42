"""Exact and near duplicates, found part by part with bounded memory.

    words, shingles       texts to sets of hashes
    sketch                a part's sets, MinHash signatures and the keys of their bands, as files
    candidates            documents that share a band, a range of keys at a time
    verify                exact Jaccard of the candidates, a part at a time
    stars                 who is removed, for whom, and the cap of each source
    near                  these passes in order
    passes                how a pass is run, and where it writes
    exact                 whole documents, paragraphs and lines that are equal: passes of the same shape

A part is any iterable of `Row`, small enough for memory, that can be read again. A document is addressed by its part
and its row: ids may repeat, as those that are hashes of the text do. Each task writes what its input alone decides,
so that any engine may run the tasks of a pass, and a kill costs those that were running.
Memory: some 20 bytes a character of the longest text, a part with its sets, `memory` of the config for a join, and in
the last pass 80 bytes a verified pair. What is mapped from files the system may drop.
Left out: duplicated substrings across lines (suffix arrays), and duplicates by meaning.
"""
