"""What a hostile file is to the test that opens it, and the folders that most of them are made from."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.hashing import hash_folder, seal


class Good(NamedTuple):
    """Folders without a fault: a case copies one and harms the copy."""

    model: Path  # of Hugging Face's
    run: Path  # imported from it
    shards: Path
    tokenizer: Path  # SentencePiece, of our own
    corpus: Path


class Case(NamedTuple):
    kind: str  # of opened.OPENERS
    name: str
    make: Callable[[Path, Good], Any]  # fills the folder, which is there
    ends: tuple[str, ...] = ("refused",)  # outcomes that are right
    heavy: bool = False  # seconds to make or to open: not in the fast suite


def many(kind: str, made: dict[str, Callable[[Path, Good], Any]], **how: Any) -> list[Case]:
    return [Case(kind, name, make, **how) for name, make in made.items()]


def copied(source: Callable[[Good], Path], harm: Callable[[Path], Any]) -> Callable[[Path, Good], Any]:
    def make(folder: Path, good: Good) -> None:
        shutil.copytree(source(good), folder, dirs_exist_ok=True, symlinks=True)
        harm(folder)

    return make


def file(name: str, content: bytes | str | Callable[[], bytes]) -> Callable[[Path, Good], Any]:
    """One file, and nothing else."""

    def make(folder: Path, good: Good) -> None:
        data = content() if callable(content) else content
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    return make


def sealed(path: Path, change: Callable[[dict], Any]) -> None:
    """Change a sealed file and seal it anew, as whoever means harm does."""
    facts = json.loads(path.read_text())
    del facts["xxh3_128"]
    change(facts)
    path.write_bytes(seal(facts))


def rehashed(folder: Path, manifest: Path) -> None:
    """Give the manifest the hashes of what is in its folder now."""
    path = manifest.relative_to(folder).as_posix()
    found = {name: told for name, told in hash_folder(folder).items() if name != path}
    sealed(manifest, lambda facts: facts.update(files=found))


def edited(path: Path, change: Callable[[dict], Any]) -> None:
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def deep(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    """A file of `size` bytes, zeros after its head, that takes no disk."""
    with open(path, "wb") as out:
        out.write(head)
        out.truncate(size)
