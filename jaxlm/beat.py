"""What a process says of itself to whoever watches it: in which section it is, at which step, and since when.

A file of fixed form in memory that both map, so that to say it costs a microsecond, and a process that is killed
leaves its last word. Where nobody watches (BEAT is not set) nothing is written.
"""

import faulthandler
import mmap
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

BEAT = "JAXLM_BEAT"  # the file that this process writes; beside it, with .stack, its stacks when it is asked for them
SECTIONS = ("start", "data", "step", "eval", "save", "barrier")
_FORM = struct.Struct(f"<dqii{len(SECTIONS)}d")  # since, step, section, pid, longest seconds of each section


class Word(NamedTuple):
    since: float  # seconds since 1970 when it entered the section
    step: int
    section: str
    pid: int
    longest: dict[str, float]  # seconds it has ever spent in each section at a time; 0: not yet


def read(path: Path) -> Word | None:
    """The last word of a process; None before its first."""
    data = path.read_bytes() if path.exists() else b""
    if len(data) < _FORM.size:
        return None
    since, step, section, pid, *longest = _FORM.unpack_from(data)
    return Word(since, step, SECTIONS[section], pid, dict(zip(SECTIONS, longest, strict=True))) if pid else None


class Beat:
    """The words of this process."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_FORM.size))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FORM.size)
        self._stack = open(path.with_suffix(".stack"), "w")  # noqa: SIM115  (open until close)
        faulthandler.register(signal.SIGUSR1, self._stack, all_threads=True)
        self._section, self._step, self._longest = 0, 0, [0.0] * len(SECTIONS)
        self._since = time.time()
        self._write()

    def enter(self, section: str, step: int | None = None) -> None:
        now = time.time()
        self._longest[self._section] = max(self._longest[self._section], now - self._since)
        self._section, self._since = SECTIONS.index(section), now
        self._step = self._step if step is None else step
        self._write()

    def close(self) -> None:
        faulthandler.unregister(signal.SIGUSR1)
        self._stack.close()
        self._map.close()

    @property
    def section(self) -> str:
        return SECTIONS[self._section]

    def _write(self) -> None:
        self._map[:] = _FORM.pack(self._since, self._step, self._section, os.getpid(), *self._longest)


_own: Beat | None = None


def begin() -> bool:
    """Say the first word, if somebody watches; does somebody?"""
    global _own
    if _own is None and os.environ.get(BEAT):
        _own = Beat(Path(os.environ[BEAT]))
    return _own is not None


def enter(section: str, step: int | None = None) -> None:
    if _own is not None:
        _own.enter(section, step)


@contextmanager
def during(section: str) -> Iterator[None]:
    """In `section` until the end of the block; then in the one before."""
    before = "start" if _own is None else _own.section
    enter(section)
    try:
        yield
    finally:
        enter(before)
