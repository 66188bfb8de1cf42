"""Prove that a run of CONFIG can be killed anywhere and go on with other devices and processes, to the same bits.

The run is trained once without a break and once with kills at random steps, each time on the next of the shapes. Then
batches, parameters, optimiser and every line of metrics are compared. Both runs have step.deterministic='strict'.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlm.commands import terminal
from jaxlm.commands.train import SetOption
from jaxlm.errors import UserError


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, or .py or .json file.")],
    set_: SetOption = None,
    kills: Annotated[int, typer.Option(min=1, help="How often it is killed.")] = 4,
    devices: Annotated[str, typer.Option(help="Devices of all processes together, one shape after another.")] = "2,1,2",
    processes: Annotated[str, typer.Option(help="Processes, one shape after another.")] = "1,1,2",
    seed: Annotated[int, typer.Option(min=0, help="Of the steps at which it is killed.")] = 0,
    folder: Annotated[Path | None, typer.Option(help="Keep both runs in FOLDER; default: they are removed.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.launch import resume

    shapes = resume.shapes(_numbers("--processes", processes), _numbers("--devices", devices))
    with tempfile.TemporaryDirectory(prefix="jaxlm-") as scratch:
        where = folder or Path(scratch)
        where.mkdir(parents=True, exist_ok=True)
        proof = resume.prove(config, tuple(set_ or ()), where, shapes, kills, seed, say=terminal.told)
    if json_:
        terminal.print_json(proof)
    else:
        print("\n".join(_told(proof)))
    sys.exit(0 if proof["same"] else 1)


def _numbers(option: str, text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdigit() and int(part) for part in parts):
        raise UserError(f"{option} {text!r}: give whole numbers from 1 on with commas between, e.g. 8,2,4")
    return [int(part) for part in parts]


def _told(proof: dict[str, Any]) -> list[str]:
    rows = [
        (str(n), row["shape"], "-" if row["killed_at"] is None else f"{row['killed_at']:,}", f"{row['seconds']:.0f}")
        for n, row in enumerate(proof["attempts"], 1)
    ]
    lines = terminal.table(("attempt", "on", "killed at step", "seconds"), rows, left=(1,))
    lines += [
        f"batches of {proof['batches']:,} steps: {'the same rows' if not proof['batch_differences'] else 'DIFFER'}"
    ]
    state = ", ".join(proof["different_arrays"]) + " DIFFER" if proof["different_arrays"] else "the same bits"
    lines += [f"state of step {proof['step']:,}, {len(proof['arrays'])} arrays: {state}"]
    lines += [f"metrics: {proof['lines']:,} lines, {len(proof['differences'])} fields differ"]
    return [*lines, *proof["differences"][:10], "resuming is exact" if proof["same"] else "resuming is NOT exact"]
