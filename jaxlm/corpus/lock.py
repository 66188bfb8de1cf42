"""One process at a time: a lock that the kernel lets go of when its holder dies, however it dies.

Left out: file systems without flock, as some network ones are: nothing else lets go of what a dead process held.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # that a file system without them answers


@contextmanager
def locked(path: Path, option: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`: yields True, or without `wait` False where another has it.

    The file stays, since removing a lock is a race. UserError where there are no locks; `option` of the command says
    where the file lies.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        held = _take(handle, fcntl.LOCK_NB, path, option)
        if not held and wait:
            log.info("another process is at work in %s: waiting for it", path.parent)
            held = _take(handle, 0, path, option)
        yield held
    finally:
        os.close(handle)  # lets go of it


def _take(handle: int, flags: int, path: Path, option: str) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{path}: this file system has no locks (flock: {error.strerror}): mount it with them, or name another "
            f"{option}"
        ) from None
    return True
