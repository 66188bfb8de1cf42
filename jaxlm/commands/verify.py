"""Check every byte of RUN's checkpoints and shards against their manifests; exit code 4 if one differs."""

from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import terminal
from jaxlm.errors import Damaged, JaxlmError


def main(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.checkpoint_folder import CheckpointFolder
    from jaxlm.run_folder import RunFolder

    folder = RunFolder(run).require()
    checkpoints = CheckpointFolder(folder.checkpoints)
    problems = {f"checkpoints/{step}": checkpoints.problems(step) for step in checkpoints.committed()}
    known = folder.read_data()
    if known is not None:
        where = Path(known["shards"])
        problems[str(where)] = _problems(where)
    damaged = {name: lines for name, lines in problems.items() if lines}
    if json_:
        terminal.print_json({"run": run, "checked": list(problems), "problems": damaged})
    else:
        for name, lines in problems.items():
            print(f"{name}: {'; '.join(lines) or 'good'}")
        if not problems:
            print("nothing to check yet: no checkpoint, no shards")
    if damaged:
        raise Damaged(f"{len(damaged)} of {len(problems)} are damaged: {', '.join(damaged)}")


def _problems(shards: Path) -> list[str]:
    from jaxlm.data.shards import Shards

    if not shards.exists():
        return ["missing"]
    try:
        return Shards.open(shards).verify()
    except JaxlmError as error:  # too damaged to be opened
        return [str(error)]
