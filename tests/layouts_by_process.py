"""One process of several that take the first step together; `tests/test_layouts.py` starts them.

    python -m tests.layouts_by_process FOLDER FAMILY LAYOUT COORDINATOR RANK PROCESSES

FOLDER holds the text and, as shards/, what was prepared of it. Process 0 leaves FOLDER/LAYOUT.npz: the loss, the
scores of rows, and gradient and carried state leaf by leaf.
"""

import socket
import subprocess
import sys
from pathlib import Path

DEVICES = 8  # of all processes together
TIMEOUT = 300  # seconds; chosen: they take some fifteen
# Axes whose devices lie in different processes: data or fsdp on the outside, and one whose devices share a process.
LAYOUTS = {
    "data": dict(data=8),
    "fsdp": dict(fsdp=8),
    "fsdp x tensor": dict(fsdp=2, tensor=4),
    "data x ring": dict(data=2, sequence=4, attention="ring"),
    "sequence": dict(sequence=8),
}


def main(folder: Path, family: str, layout: str, coordinator: str, rank: int, processes: int) -> None:
    import jax

    jax.config.update("jax_num_cpu_devices", DEVICES // processes)
    jax.distributed.initialize(coordinator, processes, rank)

    import numpy as np

    from jaxlm.data.shards import Shards
    from tests import layouts

    cfg = layouts.config(family, folder)
    (shards,) = (Shards.open(manifest.parent) for manifest in (folder / "shards").glob("*/manifest.json"))
    where = layouts.axes(**LAYOUTS[layout]), "jit"
    first, scores = layouts.first_step(cfg, *where, shards), layouts.scores(cfg, *where, shards)
    if rank == 0:
        leaves = jax.tree.leaves((first.gradient, first.carry))
        np.savez(folder / f"{layout}.npz", first.loss, scores, *leaves)
    jax.distributed.shutdown()


def start(folder: Path, family: str, layout: str, processes: int) -> None:
    """Run all processes and wait for them; their words are the failure's where one fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.layouts_by_process", folder, family, layout, coordinator]
    ranks = [
        subprocess.Popen([*command, str(rank), str(processes)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(processes)
    ]
    try:
        told = [rank.communicate(timeout=TIMEOUT)[0].decode(errors="replace") for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0] * processes, "\n".join(told)[-4000:]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:5], *map(int, sys.argv[5:]))
