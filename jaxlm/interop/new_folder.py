"""A folder that is there whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxlm.errors import UserError
from jaxlm.hashing import sync


def require_free(target: Path) -> None:
    """UserError where something is at `target` already; an empty folder is nothing."""
    if target == Path():  # what "" means too
        raise UserError(f"{str(target)!r} is where you are: name the folder that is to be made")
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise UserError(f"{str(target)!r} exists and is not an empty folder: name another, or remove it")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill beside `target`, which takes its place when nothing went wrong."""
    require_free(target)
    made = [above for above in target.absolute().parents if not above.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError, PermissionError) as error:
        raise UserError(f"{str(target)!r} cannot be made: {error.filename!r}: {error.strerror}; name another") from None
    building = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.building")
    building.mkdir()
    try:
        yield building
        for path in [*building.rglob("*"), building]:
            sync(path)
        require_free(target)  # it may have come meanwhile
        os.rename(building, target)
        sync(target.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        for above in made:
            with suppress(OSError):  # somebody else uses it now
                above.rmdir()
        raise
