"""Opens files that were made to harm, one after the other, in a process of its own: `python -m tests.faults.opened`.

Each line of stdin is {"kind", "folder", "out"}; each of stdout {"outcome", "message", "seconds", "grown", "written"}:

    outcome    "refused": a JaxlmError with exit code 2 or 4; "told": it went on, and says what it left out; "opened";
               or the name of another exception
    seconds    of CPU, with those of processes that it started
    grown      bytes of memory at most beyond what there were before
    written    paths outside of `folder`, `out` and caches that were opened to write, made, renamed or removed

A signal, or memory beyond the bound, ends the process: whoever reads sees the end of stdout.
"""

import json
import logging
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 60  # of a clock that stops for nobody: it is the end of a hang
MEMORY = 3 << 30  # beyond what the warmed-up process has; what a file may take is `grown`'s affair
EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}

allowed: list[str] = []
written: list[str] = []


def watch(event: str, arguments: tuple) -> None:
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, str | bytes) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return
        note(path)
    elif event in EVENTS:
        for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
            note(path)


def note(path: Any) -> None:
    if isinstance(path, int) or not allowed:
        return
    where = os.path.realpath(os.fsdecode(path))
    if not any(where == root or where.startswith(f"{root}/") for root in allowed):
        written.append(where)


# --- what a user would open each with


def tokenizer(folder: Path, out: Path) -> Any:
    from jaxlm.data import tokenizer as tokenizers

    return tokenizers.load(folder).encode("Hello") is None


def foreign_tokenizer(folder: Path, out: Path) -> Any:
    from jaxlm.data import tokenizer_huggingface

    return tokenizer_huggingface.open_folder(folder).encode("Hello") is None


def text(folder: Path, out: Path) -> Any:
    from jaxlm.corpus.collect import documents
    from jaxlm.corpus.document import Tally
    from jaxlm.data.dataset import DataConfig

    tally = Tally()
    count = sum(1 for _ in documents(DataConfig(source=str(folder), length=16, batch=1), tally, exclude=out))
    return str(tally) or (not count and "nothing")


def shards(folder: Path, out: Path) -> Any:
    from itertools import islice

    from jaxlm.data.dataset import DataConfig
    from jaxlm.data.loader import evaluation_batches
    from jaxlm.data.shards import Shards

    found = Shards.open(folder)
    data = DataConfig(source="", length=8, batch=2, prefetch=0)
    for batch in islice(evaluation_batches(found, data, "train"), 4):
        assert batch.token.min() >= 0
    problems = found.verify()
    if problems:
        from jaxlm.errors import Damaged

        raise Damaged("; ".join(problems))


def config(folder: Path, out: Path) -> Any:
    from jaxlm.run_config import load_config

    return load_config(folder / "config.json") is None


def model(folder: Path, out: Path) -> Any:
    from jaxlm.exchange import import_huggingface

    return import_huggingface(folder, out / "run") is None


def run(folder: Path, out: Path) -> Any:
    from jaxlm.saved import load

    return load(folder) is None


def verify(folder: Path, out: Path) -> Any:
    from jaxlm.commands import verify as verb

    return verb.main(str(folder))


def train(folder: Path, out: Path) -> Any:
    from jaxlm.run import train as go
    from jaxlm.run_config import load_config

    return go(load_config(folder), folder, shards_dir=out / "shards") is None


def corpus(folder: Path, out: Path) -> Any:
    from jaxlm.corpus.finished import Corpus
    from jaxlm.errors import Damaged

    if problems := Corpus.open(folder).verify():
        raise Damaged("; ".join(problems))


def people(folder: Path, out: Path) -> Any:
    from jaxlm.corpus.labels.people import records

    return any(list(records(path)) is None for path in folder.iterdir())


def items(folder: Path, out: Path) -> Any:
    from collections import Counter

    from jaxlm.corpus.contamination.config import EvaluationSet
    from jaxlm.corpus.contamination.items import files
    from jaxlm.corpus.contamination.items import items as read

    asked = EvaluationSet(name="set", path=str(folder), fields=("text",))
    return any(list(read(asked, files(asked), Counter())) is None for _ in (1,))


def report(folder: Path, out: Path) -> Any:
    from jaxlm.report import folder as reader
    from jaxlm.report import page

    page.write(folder)
    return "; ".join(reader.read(folder).notes)


OPENERS: dict[str, Callable[[Path, Path], Any]] = {
    one.__name__: one
    for one in (
        tokenizer,
        foreign_tokenizer,
        text,
        shards,
        config,
        model,
        run,
        verify,
        train,
        corpus,
        people,
        items,
        report,
    )
}


# --- the process


def peak_and_now() -> tuple[int, int]:
    """Bytes of memory: the most since `forget_peak`, and now."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(1024 * int(lines[name].split()[0]) for name in ("VmHWM", "VmRSS"))  # type: ignore[return-value]


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def seconds() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def answer(kind: str, folder: Path, out: Path) -> dict[str, Any]:
    from jaxlm.errors import JaxlmError

    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    written.clear()
    forget_peak()
    (_, before), began = peak_and_now(), seconds()
    allowed[:] = [os.path.realpath(path) for path in (folder, out, "/dev/null", os.environ["XDG_CACHE_HOME"])]
    allowed.append(os.path.realpath(os.environ["JAX_COMPILATION_CACHE_DIR"]))
    try:
        said = OPENERS[kind](folder, out)
        outcome, message = ("told", str(said)) if said else ("opened", "")
    except JaxlmError as error:
        outcome, message = ("refused" if error.exit_code in (2, 4) else type(error).__name__), str(error)
    except Exception as error:
        outcome, message = type(error).__name__, "".join(traceback.format_exception(error))[-2_000:]
    finally:
        allowed.clear()
    peak, _ = peak_and_now()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "outcome": outcome, "message": message[:2_000], "seconds": round(seconds() - began, 3),
        "grown": peak - before, "written": written[:5],
    }  # fmt: skip


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    say, sys.stdout = sys.stdout, sys.stderr  # what verbs print is no answer
    tempfile.tempdir = os.environ["XDG_CACHE_HOME"]
    for warm in json.loads(sys.argv[1]):  # imports, compilation: the start, which is nobody's fault
        first = answer(warm["kind"], Path(warm["folder"]), Path(warm["out"]))
        assert first["outcome"] in ("opened", "told"), first
    sys.addaudithook(watch)
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(answer(asked["kind"], Path(asked["folder"]), Path(asked["out"]))), file=say, flush=True)


if __name__ == "__main__":
    main()
