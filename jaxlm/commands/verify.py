"""Check every byte of a run's checkpoints and shards, or of a corpus, against manifests; exit code 4 if one differs."""

from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import terminal
from jaxlm.errors import Damaged, JaxlmError, UserError


def main(
    run: Annotated[str, typer.Argument(help="Run folder, or that of a corpus: corpora/NAME.")],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    problems = _of_corpus(Path(run)) if _is_corpus(Path(run)) else _of_run(run)
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


def _is_corpus(folder: Path) -> bool:
    from jaxlm.corpus.finished import FOLDERS

    return not (folder / "config.json").exists() and any((folder / name).is_dir() for name in FOLDERS)


def _of_corpus(folder: Path) -> dict[str, list[str]]:
    from jaxlm.corpus.finished import Corpus

    try:
        return {str(folder): Corpus.open(folder).verify()}
    except Damaged as error:
        return {str(folder): [str(error)]}


def _of_run(run: str) -> dict[str, list[str]]:
    from jaxlm.checkpoint_folder import CheckpointFolder
    from jaxlm.corpus.files import is_corpus
    from jaxlm.run_folder import RunFolder

    if not (Path(run) / "config.json").exists():
        for above in (*Path(run).parents, *Path(run).absolute().parents):
            if is_corpus(above):
                raise UserError(f"{run!r} lies in a corpus: `jaxlm verify {above}` checks it")
    folder = RunFolder(run).require()
    checkpoints = CheckpointFolder(folder.checkpoints)
    problems = {f"checkpoints/{step}": checkpoints.problems(step) for step in checkpoints.committed()}
    known = folder.read_data()
    if known is not None:
        where = Path(known["shards"])
        problems[str(where)] = _problems(where)
    return problems


def _problems(shards: Path) -> list[str]:
    from jaxlm.data.shards import Shards

    if not shards.exists():
        return ["missing"]
    try:
        return Shards.open(shards).verify()
    except JaxlmError as error:  # too damaged to be opened
        return [str(error)]
