"""The texts that get labels: of a corpus, with what was noted of them, or of any source that can be read."""

import json
from collections.abc import Iterator
from pathlib import Path

from jaxlm.corpus import stages, table
from jaxlm.corpus.collect import read, source_files
from jaxlm.corpus.document import Tally
from jaxlm.corpus.finished import Corpus, corpus_of
from jaxlm.corpus.labels.config import LabelConfig
from jaxlm.corpus.labels.rules import Item


def texts(cfg: LabelConfig, tally: Tally, exclude: Path | None = None) -> Iterator[Item]:
    """Each text of the source once, in the same order everywhere; `tally` counts what is left out, `exclude` is a
    folder to stay out of."""
    assert cfg.source is not None
    folder = corpus_of(Path(cfg.source).expanduser())
    seen: set[str] = set()
    for item in _of_files(cfg, tally, exclude) if folder is None else _of_corpus(folder):
        if not item.text.strip():
            tally.skip("no text", item.source)
        elif item.id in seen:
            tally.skip("equal to another", item.source)
        else:
            seen.add(item.id)
            yield item


def _of_files(cfg: LabelConfig, tally: Tally, exclude: Path | None) -> Iterator[Item]:
    assert cfg.source is not None
    count = 0
    for file in source_files(cfg.source, cfg.include, tally, exclude):
        for document in read(file, cfg.text_field, tally):
            count += 1
            yield Item(document.id, document.text, document.source)
    tally.check(count + tally.bad_records)


def _of_corpus(folder: Path) -> Iterator[Item]:
    """Documents that stayed, each with its notes where work/ still has them: by id and source, as ids may repeat."""
    corpus = Corpus.open(folder)
    for path, of_part in zip(sorted(corpus.documents.glob("*.parquet")), corpus.manifest["inputs"], strict=True):
        notes = corpus.folder / of_part["notes"] / stages.NOTES
        rows = table.read_rows(notes) if notes.is_file() else []
        measures = {(row["id"], row["source"]): row["measures"] for row in rows}
        for row in table.read_rows(path):
            told = measures.get((row["id"], row["source"]))
            yield Item(row["id"], row["text"], row["source"], row["language"], told and json.loads(told))
