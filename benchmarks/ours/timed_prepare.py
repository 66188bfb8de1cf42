"""Ours: `jaxlm prepare` of one corpus by one engine, its wall clock and the hash of every file that it made.

    python benchmarks/ours/timed_prepare.py CONFIG NAME files.json --engine 1|2|dask

The corpus is made in a folder of its own, which goes afterwards. files.json gets {file: [bytes, hash]} of all that is
in the folder of the corpus NAME but `work/`. The cluster of `dask` has two workers of a process and a thread each, and
is there before the clock starts. The last line of its output is one JSON object.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from jaxlm.hashing import hash_folder

WORKERS = 2
AS_LAUNCHED = {  # launch/README.md
    "MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_MAX_": "0",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("name")
    parser.add_argument("files", type=Path)
    parser.add_argument("--engine", choices=["1", "2", "dask"], required=True)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, engine(asked.engine) as options:
        command = [sys.executable, "-m", "jaxlm", "prepare", str(asked.config), "--corpora-dir", folder, *options]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        corpus = Path(folder) / asked.name
        made = {file: facts for file, facts in hash_folder(corpus).items() if not file.startswith("work/")}
    asked.files.write_text(json.dumps(made), encoding="utf-8")
    print(json.dumps({"seconds": seconds, "files": len(made)}))


@contextlib.contextmanager
def engine(name: str) -> Iterator[list[str]]:
    """The options that choose it."""
    if name != "dask":
        yield ["--workers", name]
        return
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started = [scheduler]
    try:
        assert scheduler.stderr is not None
        address = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at" in line)
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = {**os.environ, **AS_LAUNCHED}
        started += [subprocess.Popen(worker, env=env, **quiet) for _ in range(WORKERS)]
        _wait_for_workers(address)
        yield ["--cluster", address]
    finally:
        for process in started:
            process.kill()
            process.wait()


def _wait_for_workers(address: str) -> None:
    import distributed

    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(WORKERS, timeout=60)


if __name__ == "__main__":
    main()
