"""Eight kinds of dirty text to one clean corpus: web pages, archives, a wiki, books, editions, languages.

    JAXLM_DATA=data jaxlm prepare corpus_demo
    jaxlm train quickstart --set data.source=corpora/corpus_demo/documents --set data.tokenizer.kind=byte_bpe

Expect 12,271 of 12,371 documents to stay, 8.6 MB of text, in 20 s on 2 cores of an AMD EPYC, and 2.62 bits/byte of the
400 steps, in three minutes. JAXLM_DATA has the folders below, packed or not. (byte_bpe, as thousands of Chinese
characters leave 4,096 pieces of SentencePiece no room for words.) A template: name your own sources and licences.
"""

import os

from jaxlm.corpus.about import AboutConfig
from jaxlm.corpus.config import CorpusConfig, QualityConfig, SourceConfig
from jaxlm.corpus.rules import Bounds, Gopher, GopherRepetition

LICENCES = {
    "html-cc": None,  # each page its own
    "warc-samples": None,
    "enwiki-xml-sample": "CC BY-SA 3.0",
    "gutenberg-en": "public domain in the USA",
    "near-duplicates-gutenberg": "public domain in the USA",
    "udhr": None,
}
TEXTS = ("*.html*", "*.warc*", "*.wet*", "*.arc*", "*.xml*", "*.txt*")  # and not what describes them


def _chinese(data: str, name: str, include: tuple[str, ...], text_field: str) -> SourceConfig:
    """Records of JSON files, whose text is a list of paragraphs."""
    path, licence = f"{data}/chinese-classics", "public domain"
    return SourceConfig(name=name, path=path, include=include, text_field=text_field, licence=licence)


def _mojibake(data: str) -> SourceConfig:
    """Records of JSON files, whose text was decoded as what it is not."""
    path, licence = f"{data}/mojibake-ftfy", "Apache-2.0"
    return SourceConfig(name="mojibake-ftfy", path=path, include=("*.json",), text_field="original", licence=licence)


def config() -> CorpusConfig:
    data = os.environ.get("JAXLM_DATA", "data")
    return CorpusConfig(
        name="corpus_demo",
        sources=(
            *(
                SourceConfig(name=name, path=f"{data}/{name}", include=TEXTS, licence=licence)
                for name, licence in LICENCES.items()
            ),
            _mojibake(data),
            _chinese(data, "chinese-classics", ("[!s]*.json*", "songci*"), text_field="paragraphs"),
            _chinese(data, "shijing", ("shijing.json",), text_field="content"),
        ),
        # A book has more words than Gopher lets a web page have.
        quality=(QualityConfig(languages=("en",), rules=(Gopher(words=Bounds(least=50)), GopherRepetition())),),
        bad_records=0.02,  # some of these archives are damaged on purpose
        about=AboutConfig(
            motivation="To show what becomes of eight kinds of dirty text.",
            not_for="Models that somebody relies on: it is a few books, pages and articles.",
        ),
    )
