"""What a disk refuses while something is written, in a line that says how to go on."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxlm.errors import JaxlmError, UserError


@contextmanager
def clear_errors(folder: Path, what: str, left: str) -> Iterator[None]:
    """Name `what` cannot be written to `folder`; on a full disk also what is `left` there."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise JaxlmError(
                f"no space left for {what} in {folder}: {left}; make room, or name another folder, and run the same "
                f"command again"
            ) from error
        # Whatever the reason why the folder itself, with the `work` of a corpus, cannot be made.
        unmade = str(error.filename) in map(str, (folder / "work", folder, *folder.parents))
        if unmade or error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise UserError(f"{what} cannot be written to {folder}: {error.strerror}: name another folder") from error
        raise
