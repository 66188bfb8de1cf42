"""Sources that are no files of this machine yet: object stores and web addresses, and standard input.

    s3://bucket/folder  gs://bucket/file.jsonl.gz  https://host/file.parquet     through fsspec (jaxlm[remote])
    -  -.jsonl  -.warc.gz                                                        standard input, read by that suffix

Each is copied once into a folder of the corpus, a file at a time and committed by rename, and is then read like any
other: hashed, cut, read again after a kill. A file whose version (size and time, or what its store calls it; of a web
server the ETag or Last-Modified it sends) has changed is copied again, and so is one that has none. A web address that
ends in / is a folder, of what the page there links to below it; any other is a file.

Left out: reading without a copy, so there must be room for one.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import fsspec
import xxhash

from jaxlm.corpus.files import File, matches
from jaxlm.errors import UserError
from jaxlm.hashing import write_atomically

_STDIN = "-"
_AT_ONCE = 8  # files: chosen; a store answers many requests better than one
_VERSIONS = "versions.json"
_SAVE_SECONDS = 5.0  # between two writes of it: chosen; a kill costs what was copied since
_UNKNOWN_BYTES = 1 << 20  # of a file of which a store tells no size: chosen, for the choice of a sample alone
_WEB = {"http", "https"}
_TELLS_VERSIONS = ("ETag", "Last-Modified", "Content-MD5", "Digest")  # of what fsspec keeps of a server's answer

Progress = Callable[[int, int | None, str], None]


class Copy(NamedTuple):
    """Of a source that lies elsewhere."""

    path: Path  # a file or a folder
    files: int  # that the source has; fewer are copied where some were chosen


def is_remote(path: str) -> bool:
    """Whether `local` has to be asked for it.

    >>> is_remote("s3://bucket/folder"), is_remote("-.jsonl"), is_remote("-folder/a.txt")
    (True, True, False)
    """
    return "://" in path or path == _STDIN or (path.startswith("-.") and "/" not in path)


def local(
    path: str,
    include: tuple[str, ...],
    folder: Path,
    progress: Progress,
    choose: Callable[[list[File]], list[File]] | None = None,
) -> Copy:
    """The copy of a source below `folder`, of the files that `choose` chooses. UserError where it cannot be had."""
    if "://" not in path:
        return Copy(_standard_input(path, folder / "stdin"), 1)
    try:
        return _fetched(path, include, folder / xxhash.xxh3_64_hexdigest(path.encode()), progress, choose)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"path={path!r} needs a library ({error}): pip install 'jaxlm[remote]'") from None
    except Exception as error:  # each store has a library, and each library errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"path={path!r} cannot be fetched ({reason:.300}): check the address, the network and your credentials"
        ) from None


def _fetched(
    path: str,
    include: tuple[str, ...],
    folder: Path,
    progress: Progress,
    choose: Callable[[list[File]], list[File]] | None,
) -> Copy:
    store, root = fsspec.core.url_to_fs(path)
    web, files = urlsplit(path).scheme in _WEB, folder / "files"
    # Of a web server fsspec takes every page with links for a folder.
    is_folder = path.endswith("/") if web else store.isdir(root)
    if is_folder:
        found = _below(store, root, include, web)
    elif store.exists(root):
        found = [File(_name(store, root) if web else root.rsplit("/", 1)[-1], Path(), 0)]
    else:
        raise UserError(f"path={path!r} does not exist: check the address")
    chosen = found if choose is None else choose(found)
    names = {file.name: _address(root, file.name) if is_folder else root for file in chosen}
    for name in names:
        if not (files / name).resolve().is_relative_to(files.resolve()):
            raise UserError(f"path={path!r} holds {name!r}, which would lie outside its folder: rename it")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        versions = dict(zip(names, pool.map(lambda full: _version(store, full, web), names.values()), strict=True))
    _fetch_missing(store, names, versions, folder, progress)
    return Copy(files if is_folder else files / next(iter(names)), len(found))


def _below(store: Any, root: str, include: tuple[str, ...], web: bool) -> list[File]:
    """The files of a folder, by their names below it; none but a store knows their paths."""
    prefix, found = _address(root, ""), store.find(root, detail=True)
    if web:  # a page also links to its neighbours, and to itself in another order
        found = {full: info for full, info in found.items() if full.startswith(prefix) and "?" not in full}
    sizes = {full.removeprefix(prefix): info.get("size") for full, info in sorted(found.items())}
    files = [File(name, Path(), _UNKNOWN_BYTES if size is None else size) for name, size in sizes.items()]
    return [file for file in files if matches(file.name, include)]


def _address(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _name(store: Any, address: str) -> str:
    """Of the copy of a file on the web, by whose suffix it is read."""
    name = urlsplit(address).path.rsplit("/", 1)[-1] or "index"
    is_page = store.info(address).get("mimetype") == "text/html" and not name.endswith((".html", ".htm"))
    return f"{name}.html" if is_page else name


def _version(store: Any, full: str, web: bool) -> str | None:
    """What changes when a file does; None where nothing tells."""
    if not web:
        return str(store.ukey(full))
    info = store.info(full)
    told = {name: info[name] for name in _TELLS_VERSIONS if info.get(name)}
    return json.dumps({**told, "size": info.get("size")}) if told else None


def _fetch_missing(
    store: Any, names: Mapping[str, str], versions: Mapping[str, str | None], folder: Path, progress: Progress
) -> None:
    """Copy what is not there in its newest version, and remove what is no longer in the store."""
    files, known = folder / "files", {}
    files.mkdir(parents=True, exist_ok=True)
    if (folder / _VERSIONS).exists():
        known = json.loads((folder / _VERSIONS).read_bytes())
    for old in set(known) - set(names):
        (files / old).unlink(missing_ok=True)
    have = {name: version for name, version in known.items() if version and versions.get(name) == version}
    missing = [name for name in names if name not in have or not (files / name).is_file()]
    with ThreadPoolExecutor(_AT_ONCE) as pool, _saving(folder / _VERSIONS, have) as save:
        copied = pool.map(lambda name: _copy(store, names[name], files / name, name), missing)
        for done, name in enumerate(copied, start=1):
            progress(done, len(missing), "fetching files")
            have[name] = versions[name]
            save()


@contextmanager
def _saving(path: Path, facts: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """Write `facts` at the end, and now and then where the caller says that there are more of them."""
    written = time.monotonic()

    def save() -> None:
        nonlocal written
        if time.monotonic() - written > _SAVE_SECONDS:
            write_atomically(path, json.dumps(facts).encode())
            written = time.monotonic()

    try:
        yield save
    finally:
        write_atomically(path, json.dumps(facts).encode())


def _copy(store: Any, remote: str, to: Path, name: str) -> str:
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(f".{to.name}.part")
    store.get_file(remote, str(part))
    part.replace(to)
    return name


def _standard_input(path: str, folder: Path) -> Path:
    """What comes in, in a file named by its hash: the same text is the same file again."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError(f"path={path!r} is standard input, and that is a terminal: pipe a text in, as in `cat FILE |`")
    folder.mkdir(parents=True, exist_ok=True)
    part, hasher, size = folder / ".part", xxhash.xxh3_128(), 0
    with open(part, "wb") as file:
        while block := sys.stdin.buffer.read(1 << 20):
            hasher.update(block)
            size += file.write(block)
    if not size:
        raise UserError(f"path={path!r} is standard input, and nothing came in: pipe a text in, as in `cat FILE |`")
    found = folder / hasher.hexdigest() / f"stdin{path.removeprefix(_STDIN) or '.txt'}"
    found.parent.mkdir(exist_ok=True)
    shutil.move(part, found)
    return found
