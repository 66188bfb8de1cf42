"""One process at a time: a lock that the kernel lets go of when its holder dies, however it dies.

Left out: file systems without flock (some network ones), where taking the lock raises OSError.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("jaxlm")


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`: yields True, or without `wait` False where another has it.

    The file stays, since removing a lock is a race.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        held = _take(handle, fcntl.LOCK_NB)
        if not held and wait:
            log.info("another process is at work in %s: waiting for it", path.parent)
            held = _take(handle, 0)
        yield held
    finally:
        os.close(handle)  # lets go of it


def _take(handle: int, flags: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        return False
    return True
