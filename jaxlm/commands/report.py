"""Make RUN's report.html: one page that needs no network. Prints its path."""

from pathlib import Path
from typing import Annotated

import typer

from jaxlm.commands import terminal


def main(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.report import page

    path = page.write(run)
    if json_:
        terminal.print_json(page.summary(run))
    else:
        print(path)
