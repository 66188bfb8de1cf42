"""List the configs that come with jaxlm, each with the first line of what it says of itself."""

import ast
from typing import Annotated

import typer

from jaxlm.commands import terminal
from jaxlm.config import shipped


def main(json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    summaries = {}
    for name, path in shipped().items():
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        summaries[name] = {"path": str(path), "summary": text.partition("\n")[0]}
    if json_:
        terminal.print_json(summaries)
        return
    width = max(map(len, summaries), default=0)
    for name, facts in summaries.items():
        print(f"{name:<{width}}  {facts['summary']}")
