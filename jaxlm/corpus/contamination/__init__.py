"""What of a corpus stands in the sets that a model will be judged by, found part by part with bounded memory.

    items       evaluation sets to texts, a record an item
    grams       words in a row, hashed: the same on both sides
    index       the n-grams of all items as sorted arrays, and the items they are of
    search      a part of the corpus beside the index: which of its n-grams stand where in the documents
    judge       which documents hold enough of which items, a part at a time; what is common is no evidence
    mask        the characters to take out of a document
    report      for each set what leaked; for each item where

Sources of the practice: Brown et al. 2020 (GPT-3, arXiv:2005.14165, appendix C) for n-grams of 13 words, lower case
and without punctuation, at least 8 for sets of short items, those in over 10 documents ignored, 200 characters cut on
either side; Chowdhery et al. 2022 (PaLM, arXiv:2204.02311), Touvron et al. 2023 (Llama 2, arXiv:2307.09288) and Lambert
et al. 2024 (Tulu 3, arXiv:2411.15124) for a share of the evaluation item in place of any one n-gram. FineWeb's tools
(huggingface/datatrove, pipeline/decont) take 12 words.
Memory: while the index is made some 100 bytes a word of the sets; a search maps it and holds a block of text, and 16
bytes for each n-gram found. Left out: paraphrases and translations, which share no n-gram.
"""
