"""Where documents come from: a file, a folder, or the running interpreter's own library.

    file.txt .md .py ...                  one document, its text as it is
    file.jsonl .jsonl.gz .jsonl.zst       a document for each line, its `text_field`; or a labelled example
    folder                                every such file below it, in the order of names
    "stdlib"                              the .py files of Python's library, and pydoc's help topics

Left out: web pages, archives and other formats, cleaning and removal of duplicates (later stages).
"""

import difflib
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import xxhash

from jaxlm.corpus import examples, jsonl
from jaxlm.corpus.decode import NotText, decode
from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.files import File, below, content_hash, matches, one
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
    for file in source_files(cfg, tally, exclude):
        if labelled(cfg.objective):
            yield from _examples(file, cfg, tally)
        elif file.name.endswith(jsonl.SUFFIXES):
            yield from jsonl.read(file.path, file.name, cfg.text_field, tally)
        else:
            yield from _whole(file, cfg.source, tally)
    for name, text in _topics(cfg):
        yield Document.of(text, name)


def fingerprint(cfg: DataConfig, exclude: Path | None, progress: Progress) -> str:
    """A hash that changes when any file of the source changes; reads every byte, parses nothing."""
    hasher = xxhash.xxh3_128(content_hash(source_files(cfg, Tally(), exclude), progress).encode())
    for name, text in _topics(cfg):
        hasher.update(f"{name}\0{text}\0".encode())
    return hasher.hexdigest()


def source_files(cfg: DataConfig, tally: Tally, exclude: Path | None = None) -> list[File]:
    """The files of `cfg.source`, before any is read; `exclude` is a folder to stay out of."""
    if cfg.source == STDLIB:
        return below(
            Path(sysconfig.get_path("stdlib")),
            tally,
            keep=lambda name: name.endswith(".py") and name != _TOPICS and matches(name, cfg.include),
            enter=lambda name: name.rsplit("/", 1)[-1] not in _NOT_LIBRARY,
            exclude=exclude,
        )
    path = Path(cfg.source).expanduser()
    if not path.exists():
        raise UserError(f"data.source={cfg.source!r} does not exist{_nearest(path)}")
    if not path.is_dir():
        return [one(path, cfg.source)]
    return below(
        path,
        tally,
        keep=lambda name: matches(name, cfg.include),
        enter=lambda name: not name.endswith("__pycache__"),
        exclude=exclude,
    )


def _whole(file: File, source: str, tally: Tally) -> Iterator[Document]:
    try:
        text, replaced = decode(file.path.read_bytes())
    except NotText as reason:
        tally.skip(str(reason), file.name)
        return
    except OSError as error:
        tally.skip(f"not readable, {error.strerror}", file.name)
        return
    if not text:
        tally.skip("empty", file.name)
        return
    tally.replaced += replaced
    yield Document.of(text, file.name)


def _examples(file: File, cfg: DataConfig, tally: Tally) -> Iterator[Document]:
    if not file.name.endswith(jsonl.SUFFIXES):
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
