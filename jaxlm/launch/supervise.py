"""Processes of one run on this host: started, watched from outside, and started again when one of them fails.

A process that is killed, or stuck, cannot say so, and its peers wait for it in a collective that nothing ends. So
somebody outside of all of them looks: each says in which section it is and since when (jaxlm/beat.py). When one ends
badly, or stays in a section far longer than any has before, all are ended, and all begin again from the newest valid
checkpoint. The same failure at the same step twice is no accident, and ends the run.

Left out: other hosts. There each has its own supervisor; the processes of all of them end when one is lost.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from jaxlm import beat
from jaxlm.errors import Damaged, Diverged, Interrupted, JaxlmError, UserError
from jaxlm.launch.environment import BIND, COORDINATOR, COUNT, RANK

log = logging.getLogger("jaxlm")

LOOK = 0.2  # chosen: seconds between two looks
PATIENCE = 10.0  # chosen: a section that lasts so many times its longest until now is stuck
SHORTEST = 20.0  # chosen: seconds; nothing is called stuck sooner
GRACE = 10.0  # chosen: seconds that the others have to end by themselves, once one has ended
FINAL = (UserError, Diverged, Damaged, Interrupted)  # told by the process itself: to begin again would change nothing


class Failure(NamedTuple):
    """What ended an attempt; equal ones at one step are the same failure."""

    what: str
    step: int


class GaveUp(JaxlmError):
    """The same failure came again at the same step."""

    exit_code = 5


class Process:
    """One rank: the child, what it says, and what it prints."""

    def __init__(
        self, rank: int, command: Sequence[str], environment: Mapping[str, str], folder: Path, cores: set[int]
    ):
        self.rank, self.beat = rank, folder / f"rank-{rank}.beat"
        self.beat.unlink(missing_ok=True)
        self.child = subprocess.Popen(
            command,
            env={**os.environ, **environment, beat.BEAT: str(self.beat)},
            stdout=None if rank == 0 else subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the supervisor, which asks all of them
            text=True,
            errors="replace",
        )
        if cores:
            os.sched_setaffinity(self.child.pid, cores)
        self._pipes = [self._passing_on(pipe) for pipe in (self.child.stdout, self.child.stderr) if pipe]

    def word(self) -> beat.Word | None:
        word = beat.read(self.beat)
        return word if word is not None and word.pid == self.child.pid else None

    def where(self, now: float) -> str:
        word = self.word()
        if word is None:
            return f"rank {self.rank} has said nothing yet"
        return f"rank {self.rank} last seen at step {word.step:,} in {word.section}, {now - word.since:.0f} s ago"

    def stopped(self) -> bool:
        """Is it held by SIGSTOP or a debugger?"""
        try:
            return Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
        except OSError:
            return False

    def stacks(self) -> str:
        path = self.beat.with_suffix(".stack")
        return path.read_text() if path.exists() else ""

    def signal(self, number: int) -> None:
        if self.child.poll() is None:
            self.child.send_signal(number)

    def end(self) -> None:
        """Gone when this returns, with what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        for thread in self._pipes:
            thread.join(timeout=5)

    def _passing_on(self, pipe: IO[str]) -> threading.Thread:
        before = "" if self.rank == 0 else f"[rank {self.rank}] "

        def pass_on() -> None:
            for line in pipe:
                print(before + line, end="", file=sys.stderr, flush=True)

        thread = threading.Thread(target=pass_on, daemon=True)
        thread.start()
        return thread


def run(command: Sequence[str], processes: int, folder: Path, *, timeout: float, restarts: int) -> int:
    """Run `jaxlm COMMAND` as `processes` ranks until it is done; its exit code. GaveUp where it cannot be done.

    `folder` is a scratch folder for beats. `timeout` seconds is the most that any section may take.
    """
    asked: list[int] = []
    before = {number: signal.signal(number, lambda number, _: asked.append(number))
              for number in (signal.SIGTERM, signal.SIGINT)}  # fmt: skip
    seen: list[Failure] = []
    try:
        while True:
            attempt = start(command, processes, folder)
            try:
                ended = watch(attempt, timeout, asked)
            finally:
                for process in attempt:
                    process.end()
            if isinstance(ended, int):
                return ended
            if asked:  # it came before they could heed it: what is saved is saved
                return Interrupted.exit_code
            if ended in seen:
                raise GaveUp(f"{ended.what} at step {ended.step:,}, twice: not an accident, so it is not tried again")
            seen.append(ended)
            if len(seen) > restarts:
                raise GaveUp(f"{len(seen)} failures, the last {ended.what}, and --restarts={restarts}: look at the log")
            log.warning("%s at step %d: all ranks begin again from the newest valid checkpoint", ended.what, ended.step)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start(command: Sequence[str], processes: int, folder: Path) -> list[Process]:
    coordinator = f"127.0.0.1:{free_port()}"  # loopback: nobody else on the network can join
    started = []
    for rank, cores in enumerate(core_shares(processes)):
        told = {COORDINATOR: coordinator, BIND: coordinator, COUNT: str(processes), RANK: str(rank)}
        started.append(Process(rank, [sys.executable, "-m", "jaxlm", *command], told, folder, cores))
    return started


def watch(processes: list[Process], timeout: float, asked: list[int]) -> int | Failure:
    """Until all have ended well, with one exit code, or something went wrong."""
    told = 0
    while True:
        time.sleep(LOOK)
        for number in asked[told:]:
            processes[0].signal(number)  # it tells the others
        told = len(asked)
        codes = [process.child.poll() for process in processes]
        if all(code is not None for code in codes):
            return settle(processes)
        if any(code not in (None, 0) for code in codes):
            wait_for_the_others(processes)
            return settle(processes)
        if stuck := find_stuck(processes, timeout):
            return report_stuck(stuck, processes)


def wait_for_the_others(processes: list[Process]) -> None:
    until = time.monotonic() + GRACE
    first = [process for process in processes if process.child.poll() not in (None, 0)]
    now = time.time()
    for process in first:
        log.warning("rank %d ended with %s; %s", process.rank, named(process.child.returncode), process.where(now))
    if any(process.child.returncode < 0 for process in first):
        return  # it said nothing to its peers: they would wait in vain
    while time.monotonic() < until and any(process.child.poll() is None for process in processes):
        time.sleep(LOOK)


def settle(processes: list[Process]) -> int | Failure:
    """An exit code where a process has told why it ended; else the failure of the first that failed."""
    codes = {process.rank: process.child.poll() for process in processes}
    said = [kind.exit_code for kind in FINAL if kind.exit_code in codes.values()]
    if said:
        return said[0]
    if set(codes.values()) == {0}:
        return 0
    bad = next(process for process in processes if codes[process.rank] not in (None, 0))
    word = bad.word()
    where = f"in {word.section}" if word else "before its first word"
    return Failure(f"rank {bad.rank} ended with {named(codes[bad.rank])} {where}", word.step if word else 0)


def find_stuck(processes: list[Process], timeout: float) -> Process | None:
    """The process that holds the others up: of those that are over their limit, the one that is least far."""
    now, words = time.time(), {process.rank: process.word() for process in processes}
    longest = {name: max((word.longest[name] for word in words.values() if word), default=0.0)
               for name in beat.SECTIONS}  # fmt: skip
    over = [process for process in processes
            if (word := words[process.rank]) and now - word.since > limit(longest[word.section], timeout)
            and process.child.poll() is None]  # fmt: skip
    if not over:
        return None
    held = [process for process in processes if process.stopped()]
    rest = held or over
    return min(rest, key=lambda process: (words[process.rank] or _NEVER).step)


_NEVER = beat.Word(0.0, -1, "start", 0, {})


def limit(longest: float, timeout: float) -> float:
    """Seconds that a section may take, when it took at most `longest` until now (0: never yet)."""
    return min(timeout, max(SHORTEST, PATIENCE * longest)) if longest else timeout


def report_stuck(stuck: Process, processes: list[Process]) -> Failure:
    now = time.time()
    for process in processes:
        log.warning("%s%s", process.where(now), ", stopped by a signal" if process.stopped() else "")
        process.signal(signal.SIGUSR1)
    time.sleep(1.0)  # for the stacks to be written; a stopped process writes none
    for process in processes:
        if stacks := process.stacks():
            log.warning("stacks of rank %d:\n%s", process.rank, stacks)
    word = stuck.word()
    section, step = (word.section, word.step) if word else ("start", 0)
    return Failure(f"rank {stuck.rank} is stuck in {section}", step)


def named(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def core_shares(processes: int) -> list[set[int]]:
    """A share of this host's cores for each process; none where there are fewer cores than processes."""
    if not hasattr(os, "sched_getaffinity"):
        return [set()] * processes
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // processes
    return [set(cores[rank * share : (rank + 1) * share]) for rank in range(processes)]
