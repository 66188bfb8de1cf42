"""Eight kinds of dirty text to one clean corpus: web pages, archives, a wiki, books, editions, languages.

    JAXLM_DATA=data jaxlm prepare corpus_demo
    jaxlm train quickstart --set data.source=corpora/corpus_demo/documents

JAXLM_DATA is a folder with the folders below, packed or not. A template: name your own sources, each with its licence;
what stays in is decided by `languages`, `quality` and `duplicates`, whose thresholds have their sources in
jaxlm/corpus/rules.py and jaxlm/corpus/duplicates/config.py. Rules of English words judge English texts alone.
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
    "mojibake-ftfy": "Apache-2.0",
    "udhr": None,
}
TEXTS = ("*.html*", "*.warc*", "*.wet*", "*.arc*", "*.xml*", "*.txt*")  # and not what describes them


def _chinese(data: str, name: str, include: str, text_field: str) -> SourceConfig:
    """Records of JSON files, whose text is a list of paragraphs."""
    path, licence = f"{data}/chinese-classics", "public domain"
    return SourceConfig(name=name, path=path, include=(include,), text_field=text_field, licence=licence)


def config() -> CorpusConfig:
    data = os.environ.get("JAXLM_DATA", "data")
    return CorpusConfig(
        name="corpus_demo",
        sources=(
            *(
                SourceConfig(name=name, path=f"{data}/{name}", include=TEXTS, licence=licence)
                for name, licence in LICENCES.items()
            ),
            _chinese(data, "chinese-classics", "*.json*", text_field="paragraphs"),
            _chinese(data, "shijing", "shijing.json", text_field="content"),
        ),
        # A book has more words than Gopher lets a web page have.
        quality=(QualityConfig(languages=("en",), rules=(Gopher(words=Bounds(least=50)), GopherRepetition())),),
        bad_records=0.02,  # some of these archives are damaged on purpose
        about=AboutConfig(
            motivation="To show what becomes of eight kinds of dirty text.",
            not_for="Models that somebody relies on: it is a few books, pages and articles.",
        ),
    )
