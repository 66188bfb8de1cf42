"""Run `jaxlm VERB ...` as several processes of this host, watched from outside.

    jaxlm launch --processes 2 -- train quickstart

Each process has its share of the cores, or a GPU. When one dies or is stuck, all of them begin again from the newest
valid checkpoint; the same failure at the same step twice ends the run with exit code 5.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jaxlm.errors import UserError


def main(
    command: Annotated[list[str], typer.Argument(metavar="-- VERB ...", help="What each process runs: train CONFIG.")],
    processes: Annotated[int, typer.Option(min=1, help="How many, on this host.")] = 1,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that a section (start, data, step, eval, save, barrier) may take.")
    ] = 1800,
    restarts: Annotated[int, typer.Option(min=0, help="How often all may begin again.")] = 100,
) -> None:
    from jaxlm.launch import supervise

    if command[0] != "train":
        raise UserError(f"jaxlm launch runs 'train', not {command[0]!r}: the other verbs are one process")
    with tempfile.TemporaryDirectory(prefix="jaxlm-") as folder:
        sys.exit(supervise.run(command, processes, Path(folder), timeout=timeout, restarts=restarts))
