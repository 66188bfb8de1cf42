"""Hashes that show when bytes on disk are no longer the bytes that were written.

xxh3_128: 15-25 GB/s on one core against 0.7-0.9 GB/s for blake2b and sha256 (our trial on 2 cores of
AMD Zen 5), and against accidents as good. It is no defence against a forger: whoever can rewrite a
file can rewrite its manifest as well.

Left out: signatures, and the mending of what is damaged.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xxhash

from jaxlm import json_file
from jaxlm.errors import Damaged

_BLOCK_BYTES = 1 << 22
SEALED_LIMIT = 64_000_000  # bytes of a manifest; chosen: one of 100,000 arrays and as many files has some 20 million
SEALED_VALUES = 4_000_000  # chosen: that one has a million


def file_hash(path: Path, begin: int = 0, end: int = sys.maxsize) -> str:
    """xxh3_128 of a file's bytes, or of those from `begin` to `end`, read in blocks."""
    hasher, block = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK_BYTES))
    with open(path, "rb", buffering=0) as file:
        file.seek(begin)
        while count := file.readinto(block[: max(0, min(_BLOCK_BYTES, end - begin))]):
            hasher.update(block[:count])
            begin += count
    return hasher.hexdigest()


def hash_folder(folder: Path) -> dict[str, list]:
    """{path inside `folder`: [size in bytes, hash]} of every file below it."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    with ThreadPoolExecutor() as pool:  # xxhash and reading let go of the interpreter's lock
        hashes = list(pool.map(lambda name: file_hash(folder / name), names))
    return {name: [(folder / name).stat().st_size, hash_] for name, hash_ in zip(names, hashes, strict=True)}


def folder_problems(folder: Path, files: dict[str, list]) -> list[str]:
    """`file: what is wrong`, for every file that is not as `hash_folder` saw it; files may be added."""
    if not isinstance(files, dict):
        return ["files: not told as jaxlm writes them"]
    root = folder.resolve()
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda item: _file_problem(root, *item), files.items())
        return [f"{name}: {problem}" for name, problem in zip(files, found, strict=True) if problem]


def _file_problem(folder: Path, name: str, told: list) -> str | None:
    path = folder / name
    if not leads_inside(folder, path):
        return "leads out of the folder"
    match told:
        case [int(size), str(hash_)]:
            pass
        case _:
            return "not told with size and hash"
    try:
        found = path.stat().st_size
        if found < size:
            return f"truncated, {found} of {size} bytes"
        if found > size:
            return f"{found} bytes, {size} were written"
        return None if file_hash(path) == hash_ else "hash differs"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"unreadable, {error.strerror}"


def leads_inside(folder: Path, path: Path) -> bool:
    """Does `path` lie below `folder`, a resolved one, when links are followed? A manifest may name any file."""
    try:
        return path.resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # a circle of links, or a name with NUL
        return False


def seal(facts: dict) -> bytes:
    """`facts` as JSON that carries the hash of its own other bytes."""
    return _encode({**facts, "xxh3_128": xxhash.xxh3_128_hexdigest(_encode(facts))})


def is_sealed(path: Path) -> bool:
    """Does the file end as `seal` ends it? Nothing else of it is read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - len(seal({}))))
            return re.fullmatch(rb'.*"xxh3_128": "[0-9a-f]{32}"\s*}', file.read(), re.DOTALL) is not None
    except OSError:
        return False


def read_sealed(path: Path, origin: str | None = None) -> dict:
    """What `seal` wrote into a file; Damaged where it is not as it was sealed."""
    origin = origin or str(path)
    if not path.is_file():
        raise Damaged(f"{origin}: missing, or no file")
    if (size := path.stat().st_size) > SEALED_LIMIT:
        raise Damaged(f"{origin}: {size:,} bytes, more than the {SEALED_LIMIT:,} that jaxlm writes")
    return unseal(path.read_bytes(), origin)


def told(facts: Mapping[str, Any], wanted: dict[str, type], origin: str) -> Mapping[str, Any]:
    """`facts`, if they have values of the types `wanted` by their names; Damaged where they have not.

    A seal finds accidents: whoever makes facts to harm seals them as well.
    """
    for name, kind in wanted.items():
        if type(facts.get(name)) is not kind:
            raise Damaged(f"{origin}: {name}={facts.get(name)!r:.80} is no {kind.__name__}: jaxlm did not write it so")
    return facts


def unseal(sealed: bytes, origin: str) -> dict:
    """The inverse of `seal`; Damaged where a single byte is not as sealed."""
    if json_file.values(sealed, SEALED_VALUES) > SEALED_VALUES:
        raise Damaged(f"{origin}: more values than jaxlm writes")
    try:
        facts = json.loads(sealed)
        hash_ = facts.pop("xxh3_128")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Damaged(f"{origin}: not a sealed file ({type(error).__name__}: {error})") from None
    # JSON has many spellings of one value, so the bytes are compared and not the values.
    if hash_ != xxhash.xxh3_128_hexdigest(_encode(facts)) or seal(facts) != sealed:
        raise Damaged(f"{origin}: hash differs")
    return facts


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, force it to the disk, rename: `path` is there whole or not at all."""
    beside = path.with_name(path.name + ".tmp")
    with open(beside, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Force a file's bytes to the disk, or a folder's names: a rename may be lost without it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: Path, target: Path) -> None:
    """Copy a file's bytes and force them to the disk."""
    shutil.copyfile(source, target)
    sync(target)


def _encode(facts: dict) -> bytes:
    return json.dumps(facts, indent=1, sort_keys=True).encode()
