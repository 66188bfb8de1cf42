"""Where one large file is cut, so that several tasks read it; and whether files are still what they were then.

    .jsonl .csv .tsv          between lines, between rows
    .xml                      between pages of a MediaWiki export
    .warc .wet .wat .arc      between records
    .parquet .arrow           between row groups, between batches
    any but tables, packed    where one of these begins with a member (gzip) or frame (zstd) of its own

The readers themselves say where what they read begins, so a slice gives the documents that the whole file would give
there, with the same numbers and offsets. Where a file is damaged they say nothing more, and its last slice holds the
rest. A change at the end of a file leaves the slices before it, and what was made of them, as they are.

Left out: a packed file in one member, or whose members begin within lines; text that is one document.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxlm import hashing
from jaxlm.corpus import jsonl
from jaxlm.corpus.document import Tally
from jaxlm.corpus.files import END, WHOLE, File, Slice
from jaxlm.corpus.formats import csv_table, tables, warc, wikipedia
from jaxlm.corpus.formats.unpack import Stream, bare, unpacked
from jaxlm.corpus.tasks import key
from jaxlm.errors import UserError

VERSION = 1  # of the rules that cut
HEAD_BYTES = 1 << 20  # chosen: each slice reads the head again, and names of columns or namespaces are some KB
MEMBER_PARTS = 4  # chosen: a packed file of which no member ends within so many parts is taken for one member

Starts = Callable[[Stream, Path], Iterator[tuple[int, int]]]

STARTS: tuple[tuple[tuple[str, ...], Starts], ...] = (
    (jsonl.SUFFIXES, jsonl.starts),
    (csv_table.SUFFIXES, csv_table.starts),
    (tables.SUFFIXES, tables.starts),
    (warc.SUFFIXES, warc.starts),
    (wikipedia.SUFFIXES, wikipedia.starts),
)


def starts_of(file: File) -> Starts | None:
    """What says where slices of such a file may begin; None where it is read as one."""
    return next((starts for suffixes, starts in STARTS if bare(file.name).endswith(suffixes)), None)


def find(folder: Path, file: File, part_bytes: int, expected: str) -> dict[str, Any]:
    """The slices of a file, each of `part_bytes` and as much more as ends what it began, and what names each."""
    with unchanged([file], expected):
        slices = cut(file, part_bytes)
        return {"slices": slices, "digests": [digest([file._replace(slice=part)]) for part in slices]}


def cut(file: File, part_bytes: int) -> list[Slice]:
    """The slices; one where there is no place to cut."""
    starts, found, head = starts_of(file), [WHOLE], None
    if starts is None:
        return found
    with unpacked(file.path, Tally(budget=1.0)) as stream:
        for offset, before in starts(stream, file.path):
            begin = stream.frame_at(offset)
            if begin is None:
                if len(found) == 1 and stream.taken() > MEMBER_PARTS * part_bytes:
                    break
                continue
            head = begin if head is None else head
            if head > HEAD_BYTES:
                break
            if before and found[-1].begin + part_bytes <= begin < file.size:
                found[-1] = found[-1]._replace(end=begin)
                found.append(Slice(begin, END, before, offset, head))
    return found


@contextmanager
def unchanged(files: Sequence[File], expected: str) -> Iterator[None]:
    """UserError where files are not, or no longer, what `digest` named `expected`."""
    try:
        yield
    except UserError:
        _check(files, expected)  # what is wrong may come of the change
        raise
    _check(files, expected)


def _check(files: Sequence[File], expected: str) -> None:
    if digest(files) != expected:
        more = f", or one of the {len(files) - 1:,} files read with it," if len(files) > 1 else ""
        raise UserError(f"{files[0].path}{more} changed while it was read: run again when it stays as it is")


def digest(files: Sequence[File]) -> str:
    """A hash of the names of files, of the bytes that are read of each, and of their places."""
    found = []
    for file in files:
        try:
            found.append((file.name, *_hashes(file)))
        except OSError as error:
            found.append((file.name, f"not readable, {error.strerror}"))
    return key(*found)


def _hashes(file: File) -> list[Any]:
    path, part = file.path, file.slice
    if part == WHOLE:
        return [hashing.file_hash(path)]
    shared = [hashing.file_hash(path, 0, part.head), hashing.file_hash(path, tables.footer(path))]
    return [*shared, hashing.file_hash(path, part.begin, part.end), *part._replace(head=0)]
