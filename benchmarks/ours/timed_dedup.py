"""Ours: near duplicates of .jsonl parts, timed pass by pass. Prints one JSON object.

python benchmarks/ours/timed_dedup.py FOLDER [--processes 2] [--removed FILE]
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from jaxlm.corpus import tasks
from jaxlm.corpus.duplicates import near
from jaxlm.corpus.duplicates.config import CapConfig, NearConfig
from jaxlm.corpus.duplicates.part import Documents, Row
from jaxlm.corpus.executor import executor
from jaxlm.corpus.tasks import Task


class Lines:
    """A part: the documents of a .jsonl file, read where it is iterated."""

    def __init__(self, path: Path):
        self._path = path

    def __iter__(self) -> Iterator[Row]:
        with open(self._path, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield Row(row["id"], row["text"], "planted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--removed", type=Path, help="write the ids of what goes, a line each")
    asked = parser.parse_args()
    parts = [Lines(path) for path in sorted(asked.folder.glob("*.jsonl"))]
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, closing(executor(asked.processes)) as engine:

        def timed(some: Sequence[Task], folder: Path) -> list[dict]:
            begun = time.perf_counter()
            results = tasks.run(some, folder, engine, lambda done, total, what: None)
            seconds[f"{some[0].function.__name__}_s"] = time.perf_counter() - begun
            return results

        removals = near.find(parts, Path(folder), NearConfig(cap=CapConfig(share=1)), run=timed)
        took = time.perf_counter() - start
        stored = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        evidence = [removals.evidence(number) for number in range(len(parts))]
        known = Documents(Path(folder), len(parts))
        documents = sum(len(known.table(number)) for number in range(len(parts)))
        if asked.removed:
            asked.removed.write_text("".join(f"{one.id}\n" for some in evidence for one in some))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # the largest of them
    workers = asked.processes if asked.processes > 1 else 0
    found = {
        "seconds": took, "documents": documents, "documents_per_second": documents / took,
        "removed": sum(map(len, evidence)), "stored_gb": stored / 1e9, "peak_gb": (own + workers * child) * 1024 / 1e9,
    }  # fmt: skip
    print(json.dumps(found | seconds))


if __name__ == "__main__":
    main()
