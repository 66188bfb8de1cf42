"""What every verb says and how: messages, progress, JSON, exit codes.

Results go to stdout, everything else to stderr. Bars on a terminal, plain lines elsewhere.
"""

import errno
import functools
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from typer.exceptions import TyperException

from jaxlm import redact
from jaxlm.errors import Interrupted, JaxlmError

# What a disk or a path may refuse at any moment: one line, as no traceback helps to mend it.
REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip


INTERRUPTED = "interrupted: nothing is lost; the same command goes on"


def guarded(app: Callable[..., Any]) -> None:
    """Run the command line; a mistake in it, a JaxlmError, or what the disk refuses is one message and an exit code."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(redact.Formatter("jaxlm: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[shown])
    sys.excepthook = _told
    logging.getLogger("jaxlm").setLevel(logging.INFO)
    try:
        with _ended_as_interrupted():
            sys.exit(app(prog_name="jaxlm", standalone_mode=False))
    except TyperException as error:
        context, message = getattr(error, "ctx", None), error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        hint = f" '{context.command_path} --help' tells more." if context else ""
        print(redact.text(f"jaxlm: {message}{end}{hint}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except JaxlmError as error:
        print(f"jaxlm: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `jaxlm ... | head`
        sys.exit(1)
    except KeyboardInterrupt:  # while modules are imported
        print(f"jaxlm: {INTERRUPTED}", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        print(redact.text(f"jaxlm: {error.filename or 'a file'}: {error.strerror}"), file=sys.stderr)
        sys.exit(1)


def _told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The traceback of a fault, as Python prints it, without secrets."""
    print(redact.text("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """SIGTERM is as Ctrl-C, once: what is being ended is not ended again. Training handles both itself."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def interruptible(verb: Callable[..., Any]) -> Callable[..., Any]:
    """`verb`, whose Ctrl-C and SIGTERM are Interrupted: typer would end without a word."""

    @functools.wraps(verb)
    def told(*arguments: Any, **options: Any) -> Any:
        try:
            return verb(*arguments, **options)
        except KeyboardInterrupt:
            raise Interrupted(INTERRUPTED) from None

    return told


def told(message: str) -> None:
    """What goes on, on stderr."""
    print(f"jaxlm: {message}", file=sys.stderr)


def print_json(value: Any) -> None:
    """One object on stdout."""
    print(json.dumps(value))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Lines of columns as wide as their widest cell; those in `left` begin in one place, the others end in one.

    >>> table(["name", "texts"], [["a", "12"]])
    ['name  texts', 'a        12']
    """
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    placed = lambda n, cell: cell.ljust(widths[n]) if n in left else cell.rjust(widths[n])
    return ["  ".join(placed(n, cell) for n, cell in enumerate(row)).rstrip() for row in (heads, *rows)]


@contextmanager
def preparation():
    """A `progress(done, total, what)` for corpus.prepare; `progress.end()` says that it is over."""
    progress = _BarProgress() if sys.stderr.isatty() else _PlainProgress()
    try:
        yield progress
    finally:
        progress.end()


class _BarProgress:
    """A bar for each stage, gone when preparation is over."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks: dict[str, Any] = {}

    def __call__(self, done: int, total: int | None, what: str) -> None:
        if what not in self._tasks:
            self._bar.start()
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)

    def end(self) -> None:
        self._bar.stop()


class _PlainProgress:
    """A line when a stage begins, and one with its count, if it has one, when the next begins."""

    def __init__(self) -> None:
        self._stage, self._done = "", 0

    def __call__(self, done: int, total: int | None, what: str) -> None:
        if what != self._stage:
            self.end()
            print(f"jaxlm: {what}", file=sys.stderr)
        self._stage, self._done = what, done

    def end(self) -> None:
        if self._done:
            print(f"jaxlm: {self._stage}: {self._done:,}", file=sys.stderr)
        self._done = 0


@contextmanager
def training(steps: int, end_preparation: Callable[[], None]):
    """A `show(step, metrics)` for run.train: a bar with the newest numbers, or a line for each log.

    The bar begins with the first numbers: two of them at once would overwrite each other.
    """
    if not sys.stderr.isatty():
        yield lambda step, metrics: print(line(step, steps, metrics), file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task("", total=steps)

    def show(step: int, metrics: Mapping[str, float | None]) -> None:
        end_preparation()
        bar.start()
        if "loss" in metrics:
            bar.update(task, completed=step, description=numbers(metrics))
        else:
            bar.console.print(line(step, steps, metrics), highlight=False)

    try:
        yield show
    finally:
        bar.stop()


def line(step: int, steps: int, metrics: Mapping[str, float | None]) -> str:
    return f"step {step:>{len(str(steps))}}/{steps}  {numbers(metrics)}"


def numbers(metrics: Mapping[str, float | None]) -> str:
    if "loss" not in metrics:
        wanted = ("eval/loss", "eval/bits_per_byte" if "eval/bits_per_byte" in metrics else "eval/accuracy")
        return "  ".join(f"{name} {metrics[name]:.4f}" for name in wanted if name in metrics)
    text = f"loss {metrics['loss']:.4f}  {metrics['tokens_per_second']:,.0f} tokens/s"
    if metrics.get("mfu"):
        text += f"  mfu {metrics['mfu']:.1%}"
    if metrics.get("skipped"):
        text += f"  {metrics['skipped']:.0f} steps skipped (not finite)"
    return text
