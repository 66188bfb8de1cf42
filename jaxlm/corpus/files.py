"""The files below a folder, in an order that no machine changes; and what names their content.

Left out on purpose: names that begin with a dot, what jaxlm itself writes (shards, corpora, and the folders of runs,
which change while they train), and a folder that was already seen through another link (which also ends a circle of
links).
"""

import fnmatch
import functools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import xxhash

from jaxlm.corpus.document import Tally
from jaxlm.errors import UserError
from jaxlm.hashing import file_hash, is_sealed

END = sys.maxsize  # of a file, however long it is


class Slice(NamedTuple):
    """Bytes of a file that are read without those before and after; corpus/slices.py finds them."""

    begin: int
    end: int
    before: int = 0  # lines, rows, records or pages
    unpacked: int = 0  # the place of `begin` in the unpacked file
    head: int = 0  # bytes at the file's beginning that say how to read the others: names of columns, of namespaces


WHOLE = Slice(0, END)


class File(NamedTuple):
    name: str  # below the folder, with forward slashes
    path: Path
    size: int  # bytes
    slice: Slice = WHOLE  # what is read of it


def below(
    folder: Path,
    tally: Tally,
    *,
    keep: Callable[[str], bool],
    enter: Callable[[str], bool],
    exclude: Path | None,
) -> list[File]:
    """Regular files whose name `keep` accepts, in folders whose name `enter` accepts, sorted by name."""
    seen = {_identity(exclude)} if exclude is not None and exclude.exists() else set()
    found, waiting = [], [("", folder)]
    while waiting:
        prefix, here = waiting.pop()
        if _identity(here) in seen or (prefix and _is_run(here)):
            continue
        if prefix and _is_made(here):
            tally.skip("made by jaxlm, and needs a source of its own", prefix.rstrip("/"))
            continue
        seen.add(_identity(here))
        for entry in sorted(_entries(here, prefix, tally), key=lambda entry: entry.name, reverse=True):
            name = prefix + shown(entry.name)
            try:
                status = entry.stat()
            except OSError as error:
                tally.skip(f"not readable, {error.strerror}", name)
                continue
            if stat.S_ISDIR(status.st_mode):
                if enter(name):
                    waiting.append((name + "/", Path(entry.path)))
            elif not keep(name):
                continue
            elif stat.S_ISREG(status.st_mode):
                found.append(File(name, Path(entry.path), status.st_size))
            else:
                tally.skip("no regular file", name)
    return sorted(found)


def inside(files: list[File], folder: Path, tally: Tally) -> list[File]:
    """Those that lie in `folder` themselves: a link in a folder from elsewhere may name any file of this machine."""
    root, real = os.path.realpath(folder), functools.cache(os.path.realpath)
    found = []
    for file in files:
        # Links in the path's folders are the same for many files; the last name is seldom one.
        path = os.path.join(real(file.path.parent), file.path.name)
        path = os.path.realpath(path) if os.path.islink(path) else path
        if os.path.commonpath([root, path]) == root:
            found.append(file)
        else:
            tally.skip("a link out of the folder, whose target needs a source of its own", file.name)
    return found


def shown(name: str) -> str:
    r"""A file's name as a text: of bytes that are no UTF-8, as old disks have, each as \xNN.

    >>> shown("caf\udce9.txt")
    'caf\\xe9.txt'
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a glob pattern fits the file's name, or its path below the folder; no patterns fit all.

    >>> matches("src/a.py", ("*.py",)), matches("src/a.py", ("docs/*",)), matches("src/a.py", ())
    (True, False, True)
    """
    last = name.rsplit("/", 1)[-1]
    return not patterns or any(fnmatch.fnmatchcase(part, p) for p in patterns for part in (name, last))


def content_hash(
    files: list[File], progress: Callable[[int, int | None, str], None], hashes: dict[str, str] | None = None
) -> str:
    """xxh3_128 of names, sizes and bytes; what cannot be read counts as such. `hashes` learns that of each file."""
    hasher, total, done = xxhash.xxh3_128(), sum(file.size for file in files), 0
    for file in files:
        try:
            content = file_hash(file.path)
        except OSError as error:
            content = f"not readable, {error.strerror}"
        if hashes is not None:
            hashes[file.name] = content
        for part in (os.fsencode(file.name), str(file.size).encode(), content.encode()):
            hasher.update(len(part).to_bytes(8, "little") + part)
        done += file.size
        progress(done, total, "hashing bytes")
    return hasher.hexdigest()


def one(path: Path, source: str, field: str) -> File:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{field}={source!r} is neither a regular file nor a folder: save its text to a file")
    return File(shown(path.name), path, status.st_size)


def _entries(folder: Path, prefix: str, tally: Tally) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        tally.skip(f"not readable, {error.strerror}", prefix)


def _is_run(folder: Path) -> bool:
    """A folder that `jaxlm train` has claimed: these two are there before it reads any text."""
    config = folder / "config.json"
    return (folder / "lock").is_file() and config.is_file() and b'"format_version"' in config.read_bytes()


def is_corpus(folder: Path) -> bool:
    """A finished one."""
    return (folder / "documents").is_dir() and is_sealed(folder / "manifest.json")


def _is_made(folder: Path) -> bool:
    """Shards or a corpus: a manifest is there at the end, and of a corpus the lock from the beginning on."""
    return is_sealed(folder / "manifest.json") or (folder / "work" / ".lock").is_file()


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
