"""Sources that are no files of this machine yet: object stores and web addresses, and standard input.

    s3://bucket/folder  gs://bucket/file.jsonl.gz  https://host/file.parquet     through fsspec (jaxlm[remote])
    -  -.jsonl  -.warc.gz                                                        standard input, read by that suffix

Each is copied once into a folder of the corpus, a file at a time and committed by rename, and is then read like any
other: hashed, cut, read again after a kill. A file whose version (size and time, or what its store calls it) has
changed is copied again. Left out: reading without a copy, so there must be room for one.
"""

import json
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import xxhash

from jaxlm.corpus.files import matches
from jaxlm.errors import UserError
from jaxlm.hashing import write_atomically

_STDIN = "-"
_AT_ONCE = 8  # files: chosen; a store answers many requests better than one
_VERSIONS = "versions.json"


def is_remote(path: str) -> bool:
    """Whether `local` has to be asked for it.

    >>> is_remote("s3://bucket/folder"), is_remote("-.jsonl"), is_remote("-folder/a.txt")
    (True, True, False)
    """
    return "://" in path or path == _STDIN or (path.startswith("-.") and "/" not in path)


def local(path: str, include: tuple[str, ...], folder: Path, progress: Callable[[int, int | None, str], None]) -> Path:
    """The copy of a source below `folder`: a file or a folder. UserError where it cannot be had."""
    if "://" not in path:
        return _standard_input(path, folder / "stdin")
    try:
        return _fetched(path, include, folder / xxhash.xxh3_64_hexdigest(path.encode()), progress)
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"path={path!r} needs a library ({error}): pip install 'jaxlm[remote]'") from None
    except Exception as error:  # each store has a library, and each library errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"path={path!r} cannot be fetched ({reason:.300}): check the address, the network and your credentials"
        ) from None


def _fetched(path: str, include: tuple[str, ...], folder: Path, progress: Callable[..., None]) -> Path:
    store, root = fsspec.core.url_to_fs(path)
    if store.isdir(root):
        prefix = root.rstrip("/") + "/"
        names = {full.removeprefix(prefix): full for full in sorted(store.find(root))}
        names = {name: full for name, full in names.items() if matches(name, include)}
    elif store.exists(root):
        names = {root.rsplit("/", 1)[-1]: root}
    else:
        raise UserError(f"path={path!r} does not exist: check the address")
    files = folder / "files"
    for name in names:
        if not (files / name).resolve().is_relative_to(files.resolve()):
            raise UserError(f"path={path!r} holds {name!r}, which would lie outside its folder: rename it")
    versions = {name: str(store.ukey(full)) for name, full in names.items()}
    _fetch_missing(store, names, versions, folder, progress)
    return files / next(iter(names)) if store.isfile(root) else files


def _fetch_missing(
    store: Any, names: dict[str, str], versions: dict[str, str], folder: Path, progress: Callable[..., None]
) -> None:
    """Copy what is not there in its newest version, and remove what is no longer in the store."""
    files, known = folder / "files", {}
    files.mkdir(parents=True, exist_ok=True)
    if (folder / _VERSIONS).exists():
        known = json.loads((folder / _VERSIONS).read_bytes())
    for old in set(known) - set(names):
        (files / old).unlink(missing_ok=True)
    have = {name: version for name, version in known.items() if versions.get(name) == version}
    missing = [name for name in names if name not in have or not (files / name).is_file()]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, name in enumerate(
            pool.map(lambda name: _copy(store, names[name], files / name, name), missing), start=1
        ):
            progress(done, len(missing), "fetching files")
            have[name] = versions[name]
            write_atomically(folder / _VERSIONS, json.dumps(have).encode())


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
