"""Faults made on purpose: flipped bytes, cut files, full disks, kills at a chosen moment.

child = injector.start(CODE, folder)          # a Python process of its own
injector.kill_when(child, lambda: (folder / "2.orbax-checkpoint-tmp").exists())

injector.arm("jaxlm.hashing:write_atomically", injector.kill, call=2)     # inside the child's code
"""

import contextlib
import importlib
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def files_below(folder: Path) -> list[Path]:
    """Every file, in the order of names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip_byte(path: Path, seed: int) -> int:
    """Change one byte to another; returns its offset."""
    rng, content = random.Random(seed), bytearray(path.read_bytes())
    offset = rng.randrange(len(content))
    content[offset] ^= rng.randrange(1, 256)
    path.write_bytes(content)
    return offset


def truncate(path: Path, seed: int) -> int:
    """Cut off the end, at least one byte; returns the new size in bytes."""
    size = random.Random(seed).randrange(path.stat().st_size)
    os.truncate(path, size)
    return size


@contextlib.contextmanager
def mended_after(path: Path) -> Iterator[None]:
    """Give `path` its bytes back at the end."""
    content = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(content)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes of any file fails with EFBIG: a full disk that needs no root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """`folder` is a disk of `size` bytes of its own; skips the test where mounting is not permitted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if done.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(folder: Path, *, leave: int) -> None:
    """Write one file until `leave` bytes are free; only for a `small_disk`."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    assert free < 1 << 30, f"{folder} is no small disk"
    (folder / "filler").write_bytes(bytes(max(0, free - leave)))


def kill() -> None:
    """Die as by `kill -9`, without cleaning up."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(target: str, fault: Callable[[], None], *, call: int = 1) -> None:
    """From its `call`-th call on, `target` ("package.module:Class.function") is preceded by `fault`."""
    module, _, path = target.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), itertools.count(1)

    def armed(*args, **kwargs):
        if next(calls) >= call:
            fault()
        return original(*args, **kwargs)

    setattr(owner, name, armed)


def start(code: str, *arguments: object) -> subprocess.Popen:
    """Run `code` in a Python of its own at the root of the project, warnings being errors."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def kill_when(child: subprocess.Popen, condition: Callable[[], bool], *, timeout_seconds: float = 60) -> None:
    """SIGKILL as soon as `condition` holds; fails if the child ends before that."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert child.poll() is None, f"ended before the kill: {child.communicate()}"
        assert time.monotonic() < deadline, f"nothing to kill within {timeout_seconds} s"
        time.sleep(0.0005)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
