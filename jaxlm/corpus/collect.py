"""Where documents come from: a file, a folder, or the running interpreter's own library.

    .jsonl                                a document for each line, its `text_field`; or a labelled example
    .json                                 the same for each object in it that has `text_field`; settings are a text
    .csv .tsv                             a document for each row, its column `text_field`
    .parquet .arrow                       the same; a folder that Hugging Face's `save_to_disk` wrote is its .arrow
    .html .htm                            the main text of the page, without navigation
    .warc .wet .wat .arc                  the same for each page in the archive, and plain texts as they are
    .xml                                  a document for each page of a MediaWiki export, without its markup
    .txt .md .py, any other .xml, ...     one document, its text as it is; of over 64 MiB several
    any of these and .gz .zst .bz2 .xz    the same, unpacked
    folder                                every such file below it, in the order of names
    "stdlib"                              the .py files of Python's library, and pydoc's help topics

Pages were read whole, tags and all, and tables as one text before there were readers for them: rename a file, to
page.html.txt say, to have it so. Left out: cleaning and removal of duplicates (later stages).
"""

import difflib
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash

from jaxlm.corpus import examples, jsonl
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import File, below, content_hash, inside, is_corpus, matches, one
from jaxlm.corpus.formats import csv_table, html, json_records, plain_text, tables, warc, wikipedia
from jaxlm.corpus.formats.unpack import bare
from jaxlm.data.dataset import DataConfig
from jaxlm.data.objectives import labelled
from jaxlm.errors import UserError

STDLIB = "stdlib"
_TOPICS = "pydoc_data/topics.py"  # the topics as one Python dict: read as documents instead
_NOT_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}

Progress = Callable[[int, int | None, str], None]  # (done, total or None where unknown, what)


def documents(cfg: DataConfig, tally: Tally | None = None, exclude: Path | None = None) -> Iterator[Document]:
    """Every document of `cfg.source`, in the same order everywhere; `tally` counts what is left out."""
    tally = Tally() if tally is None else tally
    count = 0
    for file in source_files(cfg.source, cfg.include, tally, exclude):
        of_file = _examples(file, cfg, tally) if labelled(cfg.objective) else read(file, cfg.text_field, tally)
        for document in of_file:
            count += 1
            yield document
    tally.check(count + tally.bad_records)
    for name, text in _topics(cfg):
        yield Document.of(text, name)


def fingerprint(cfg: DataConfig, exclude: Path | None, progress: Progress, hashes: dict[str, str] | None = None) -> str:
    """A hash that changes when any file of the source changes; reads every byte, parses nothing.

    `hashes` learns that of each file by its name.
    """
    files = source_files(cfg.source, cfg.include, Tally(), exclude)
    hasher = xxhash.xxh3_128(content_hash(files, progress, hashes).encode())
    for name, text in _topics(cfg):
        hasher.update(f"{name}\0{text}\0".encode())
    return hasher.hexdigest()


def source_files(source: str, include: tuple[str, ...], tally: Tally, exclude: Path | None = None) -> list[File]:
    """The files of a source, before any is read; `exclude` is a folder to stay out of."""
    if source == STDLIB:
        return below(
            Path(sysconfig.get_path("stdlib")),
            tally,
            keep=lambda name: name.endswith(".py") and name != _TOPICS and matches(name, include),
            enter=lambda name: name.rsplit("/", 1)[-1] not in _NOT_LIBRARY,
            exclude=exclude,
        )
    if not source:
        raise UserError(f"{tally.fields.source}='' names nothing: '.' is the folder that you are in")
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"{tally.fields.source}={source!r} does not exist{_nearest(path)}")
    if not path.is_dir():
        return [one(path, source, tally.fields.source)]
    only = "documents/" if is_corpus(path) else ""  # of a corpus what stays
    found = below(
        path,
        tally,
        keep=lambda name: name.startswith(only) and matches(name, include),
        enter=lambda name: f"{name}/".startswith(only) and not name.endswith("__pycache__"),
        exclude=exclude,
    )
    return inside(found, path, tally)


def read(file: File, text_field: str, tally: Tally, *, quality: bool = False) -> Iterator[Document]:
    """The documents of a file, or of its slice, by its suffix; with `quality` those of web pages by trafilatura."""
    name = bare(file.name)
    if name.endswith(html.SUFFIXES):
        return html.read(file.path, file.name, tally, quality=quality)
    if name.endswith(warc.SUFFIXES):
        return warc.read(file.path, file.name, tally, file.slice, quality=quality)
    return next((of for suffixes, of in READERS if name.endswith(suffixes)), _text)(file, text_field, tally)


def _text(file: File, text_field: str, tally: Tally) -> Iterator[Document]:
    return plain_text.read(file.path, file.name, tally)


def _xml(file: File, text_field: str, tally: Tally) -> Iterator[Document]:
    if not wikipedia.is_export(file.path):
        return _text(file, text_field, tally)
    return wikipedia.read(file.path, file.name, tally, file.slice)


def _tables(file: File, text_field: str, tally: Tally) -> Iterator[Document]:
    if tables.describes(file.path):
        tally.skip("a description or cache of a Hugging Face dataset", file.name)
        return iter(())
    if not file.name.endswith(tables.SUFFIXES):
        return _text(file, text_field, tally)
    return tables.read(file.path, file.name, text_field, tally, file.slice)


def _json(file: File, text_field: str, tally: Tally) -> Iterator[Document]:
    found = json_records.records(file.path, text_field, tally)
    if found is None:
        return _text(file, text_field, tally)
    return json_records.read(file.path, file.name, found, text_field, tally)


Reader = Callable[[File, str, Tally], Iterator[Document]]

READERS: tuple[tuple[tuple[str, ...], Reader], ...] = (
    (jsonl.SUFFIXES, lambda file, field, tally: jsonl.read(file.path, file.name, field, tally, file.slice)),
    (csv_table.SUFFIXES, lambda file, field, tally: csv_table.read(file.path, file.name, field, tally, file.slice)),
    ((*tables.SUFFIXES, *tables.DESCRIPTIONS), _tables),
    (wikipedia.SUFFIXES, _xml),
    (json_records.SUFFIXES, _json),
)


def _examples(file: File, cfg: DataConfig, tally: Tally) -> Iterator[Document]:
    if not bare(file.name).endswith(jsonl.SUFFIXES):
        suffixes = ", ".join(jsonl.SUFFIXES)
        tally.skip(f"other than {suffixes}, which data.objective.kind={cfg.objective.kind!r} reads", file.name)
        return
    for number, record in jsonl.records(file.path, file.name, tally):
        yield examples.document(record, cfg, f"{file.path}, line {number:,}", f"{file.name}:{number}")


def _topics(cfg: DataConfig) -> Iterator[tuple[str, str]]:
    if cfg.source != STDLIB or cfg.include or labelled(cfg.objective):
        return
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave it out
        return
    yield from ((f"pydoc_data/topics/{name}", topics[name]) for name in sorted(topics))


def _nearest(path: Path) -> str:
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, siblings, n=1)
    return f"; did you mean {str(path.with_name(near[0]))!r}?" if near else f' (to use Python\'s library: "{STDLIB}")'
