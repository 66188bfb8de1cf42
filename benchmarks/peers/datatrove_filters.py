"""The peer: datatrove's filters on documents, timed as one pipeline and then asked rule by rule.

    python benchmarks/peers/datatrove_filters.py documents.jsonl verdicts.json

Needs datatrove[processing,multilingual] and neither jaxlm nor jax. The last line of its output is one JSON object;
verdicts.json gets, for each rule, a 1 for every document that it keeps, else 0.
"""

import json
import sys
import time

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4ParagraphFilter,
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

OFF = {
    GopherQualityFilter: dict.fromkeys(
        ["min_doc_words", "max_doc_words", "min_avg_word_length", "max_avg_word_length", "max_symbol_word_ratio",
         "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio", "min_stop_words"]
    ),
    GopherRepetitionFilter: {
        **dict.fromkeys(["dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"]),
        "top_n_grams": (),
        "dup_n_grams": (),
    },
    FineWebQualityFilter: {
        "line_punct_thr": -1.0, "short_line_thr": 2.0, "char_duplicates_ratio": 2.0, "new_line_ratio": 1e9,
    },
}  # fmt: skip
RULES = {  # jaxlm's name of a rule -> the filter, and what switches that rule alone on
    "Gopher.words below": (GopherQualityFilter, {"min_doc_words": 50}),
    "Gopher.words above": (GopherQualityFilter, {"max_doc_words": 100_000}),
    "Gopher.mean_word_length below": (GopherQualityFilter, {"min_avg_word_length": 3}),
    "Gopher.mean_word_length above": (GopherQualityFilter, {"max_avg_word_length": 10}),
    "Gopher.hashes or ellipses": (GopherQualityFilter, {"max_symbol_word_ratio": 0.1}),
    "Gopher.bullet_lines above": (GopherQualityFilter, {"max_bullet_lines_ratio": 0.9}),
    "Gopher.ellipsis_lines above": (GopherQualityFilter, {"max_ellipsis_lines_ratio": 0.3}),
    "Gopher.alphabetic_words below": (GopherQualityFilter, {"max_non_alpha_words_ratio": 0.8}),
    "Gopher.stop_words below": (GopherQualityFilter, {"min_stop_words": 2}),
    "GopherRepetition.repeated_lines above": (GopherRepetitionFilter, {"dup_line_frac": 0.3}),
    "GopherRepetition.repeated_paragraphs above": (GopherRepetitionFilter, {"dup_para_frac": 0.3}),
    "GopherRepetition.repeated_block_characters above": (GopherRepetitionFilter, {"dup_line_char_frac": 0.2}),
    "GopherRepetition.repeated_paragraph_characters above": (GopherRepetitionFilter, {"dup_para_char_frac": 0.2}),
    **{
        f"GopherRepetition.top_{n}_gram above": (GopherRepetitionFilter, {"top_n_grams": ((n, share),)})
        for n, share in ((2, 0.20), (3, 0.18), (4, 0.16))
    },
    **{
        f"GopherRepetition.repeated_{n}_grams above": (GopherRepetitionFilter, {"dup_n_grams": ((n, share),)})
        for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
    },
    "FineWeb.terminal_lines below": (FineWebQualityFilter, {"line_punct_thr": 0.12}),
    "FineWeb.short_lines above": (FineWebQualityFilter, {"short_line_thr": 0.67}),
    "FineWeb.repeated_line_characters above": (FineWebQualityFilter, {"char_duplicates_ratio": 0.01}),
    "FineWeb.line_breaks above": (FineWebQualityFilter, {"new_line_ratio": 0.3}),
    "C4": (C4QualityFilter, {}),
    "C4Paragraphs": (C4ParagraphFilter, {}),
}


def main() -> None:
    source, verdicts = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    pipeline = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
    keeps(pipeline, "Warm up. This loads what is loaded once.")
    start = time.perf_counter()
    kept = sum(keeps(pipeline, text) for text in texts)
    seconds = time.perf_counter() - start
    with open(verdicts, "w", encoding="utf-8") as file:
        alone = {name: kind(**{**OFF.get(kind, {}), **on}) for name, (kind, on) in RULES.items()}
        # Text by text: datatrove keeps the words of the last few.
        rows = [{name: int(keeps([rule], text)) for name, rule in alone.items()} for text in texts]
        json.dump({name: [row[name] for row in rows] for name in alone}, file)
    size = sum(len(text.encode()) for text in texts)
    print(json.dumps({"mb_per_second": size / seconds / 1e6, "seconds": seconds, "kept": kept}))


def keeps(filters: list, text: str) -> bool:
    """Whether a document passes them all; it is dropped by the first that it does not."""
    document = Document(text=text, id="", metadata={})
    return all(rule.filter(document) is True for rule in filters)


if __name__ == "__main__":
    main()
