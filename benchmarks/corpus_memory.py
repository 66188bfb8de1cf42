"""Does ten times the text need the same memory? The peak of each process of `jaxlm prepare`, by the size of its input.

    python benchmarks/corpus_memory.py [--megabytes 30 300] [--tiny 60000 600000] [--json] [--record]

Short documents are made of gutenberg-en: three in ten equal to the one before, two near to it, and each with one of a
hundred paragraphs. Bounds are so low that the smaller text meets them too: parts of 1 MB, 4 MB for a join. Tiny ones
have 36 characters, all in one file that is one part: a document costs more than its text, so pieces are bounded by the
number of documents too, and the fewer of the two are more than a piece (stages.PIECE_DOCUMENTS). Peaks are
VmHWM, which counts pages of mapped files too, and the largest RssAnon that was seen, which does not. Ours is the peak
of the larger text, the peer's that of the smaller: a ratio of 1 is the same memory, 0.83 is 20 % more.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import harness
import planted

_CONFIG = """
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, SourceConfig
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, NearConfig, PassagesConfig

def config():
    how = dict(cap=CapConfig(share=1), memory=1 << 22)
    return CorpusConfig(
        name="memory", sources=(SourceConfig(name="texts", path={source!r}),), quality=(), part_bytes={part_bytes},
        duplicates=DuplicatesConfig(
            exact=ExactConfig(**how), passages=PassagesConfig(**how), near=NearConfig(**how)
        ),
    )
"""


def documents(megabytes: float, seed: int = 0) -> Iterator[str]:
    """Of 120 words and one of a hundred shared paragraphs of 40, until they are so long together."""
    rng, size, last = random.Random(seed), 0, ""
    books = [
        planted.book(path).split() for path in sorted((Path(os.environ["JAXLM_DATA"]) / "gutenberg-en").glob("*.xz"))
    ]
    shared = [_some(books, 40, rng) for _ in range(100)]
    while size < megabytes * 1e6:
        kind = rng.random()
        if kind < 0.2 and last:
            text = f"{last[:300]} and so on {last[300:]}"
        elif kind >= 0.5 or not last:
            text = last = f"{_some(books, 120, rng)}\n\n{rng.choice(shared)}"
        else:
            text = last
        size += len(text)
        yield text


def _some(books: list[list[str]], words: int, rng: random.Random) -> str:
    book = rng.choice(books)
    start = rng.randrange(len(book) - words)
    return " ".join(book[start : start + words])


def tiny(count: int) -> Iterator[str]:
    """Of 36 characters each."""
    return (f"A tiny text, whose number is {number:07}" for number in range(count))


def write(folder: Path, texts: Iterable[str], part_megabytes: int) -> None:
    """Files of a part each."""
    folder.mkdir()
    file, left = None, 0
    for number, text in enumerate(texts):
        if file is None or left < 0:
            file, left = (folder / f"{number:09}.jsonl").open("w"), part_megabytes * 1_000_000
        left -= file.write(json.dumps({"text": text}) + "\n")


def peaks(command: list[str]) -> dict[str, float]:
    """Of the process that `command` starts and of the largest of its workers, in MB; and how long it took."""
    found = dict.fromkeys(("main", "worker", "main_anonymous", "worker_anonymous"), 0.0)
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for who, pid in [("main", process.pid), *(("worker", child) for child in _children(process.pid))]:
                status = _status(pid)
                found[who] = max(found[who], status.get("VmHWM", 0) / 1e3)
                found[f"{who}_anonymous"] = max(found[f"{who}_anonymous"], status.get("RssAnon", 0) / 1e3)
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return found | {"seconds": time.perf_counter() - start}


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _status(pid: int) -> dict[str, int]:
    """The lines of kB; {} where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(size) for name, size, _ in pairs}


def measured(texts: Iterable[str], part_megabytes: int, workers: int) -> dict[str, Any]:
    """Peaks for these texts, and what became of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "texts", texts, part_megabytes)
        config = _CONFIG.format(source=str(folder / "texts"), part_bytes=part_megabytes << 20)
        (folder / "config.py").write_text(config)
        command = [sys.executable, "-m", "jaxlm", "prepare", str(folder / "config.py")]
        command += ["--corpora-dir", str(folder / "corpora"), "--workers", str(workers)]
        found = peaks(command)
        manifest = json.loads((folder / "corpora" / "memory" / "manifest.json").read_bytes())
    return found | {name: manifest["stages"][name] for name in ("removed", "cut", "write")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, nargs=2, default=[30, 300])
    parser.add_argument("--tiny", type=int, nargs=2, default=[60_000, 600_000], help="documents of 36 characters")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    short = [measured(documents(megabytes), 1, asked.workers) for megabytes in asked.megabytes]
    rows = compared(short, [f"{megabytes:g} MB of text" for megabytes in asked.megabytes])
    small = [measured(tiny(count), 32, asked.workers) for count in asked.tiny]
    rows += compared(small, [f"{count:,} tiny documents" for count in asked.tiny])
    result = harness.report("corpus_memory", rows, json=asked.json)
    if asked.record:
        harness.record(result)


def compared(peaks: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """A row for each kind of process: its peaks for less text and for more."""
    (less, more), (few, many) = peaks, names
    rows = []
    for who, name in WHO.items():
        row = harness.counted(f"peak of {name}, {many}", more[who], less[who], "MB", few)
        rows.append(row | dict.fromkeys(("ratio", "ratio_min", "ratio_max"), less[who] / more[who]))
    rows[0] |= {"of_more": more, "of_less": less}
    return rows


WHO = {
    "main": "the main process", "worker": "the largest worker",
    "main_anonymous": "the main process, without mapped files",
    "worker_anonymous": "the largest worker, without mapped files",
}  # fmt: skip


if __name__ == "__main__":
    main()
