"""Train CONFIG (a shipped name, a .py or .json file, or a run folder), or go on with its run.

Prepares the text first if its shards are not there. Prints the run folder. The same config goes on where its
run stands; one that would learn something else is refused.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from jaxlm import host
from jaxlm.commands import terminal

SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override a field; may be repeated.")
]


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, .py or .json file, or run folder.")],
    set_: SetOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; its folder is runs/NAME.")] = None,
    run_dir: Annotated[Path | None, typer.Option(help="The run folder itself.")] = None,
    shards_dir: Annotated[Path, typer.Option(help="Where shards are kept.", envvar="JAXLM_SHARDS")] = Path("shards"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Set an old run of that name aside, and start anew.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that prepare text; default: one a core.")] = None,
    profile: Annotated[int | None, typer.Option(min=1, metavar="STEPS", help="Write a trace of so many steps.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the resolved config and stop.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    if not print_config:
        host.restart_with_allocator()
    from jaxlm import ranks, redact, run
    from jaxlm.config import dump
    from jaxlm.launch import environment
    from jaxlm.run_config import load_config

    overrides = [*(set_ or []), *([] if name is None else [f"name={name}"])]
    cfg = load_config(config, *overrides)
    if print_config:
        print(json.dumps(redact.values(dump(cfg)), indent=2))
        return
    if run_dir is None and name is None and Path(config).is_dir():
        run_dir = Path(config)
    environment.join()
    with terminal.preparation() as progress, terminal.training(cfg.loop.steps, progress.end) as show:
        outcome = run.train(
            cfg,
            run_dir,
            shards_dir=shards_dir,
            fresh=fresh,
            workers=workers,
            profile=profile,
            show=show,
            progress=progress,
        )
    if ranks.rank() > 0:
        return
    if json_:
        terminal.print_json(outcome._asdict())
    else:
        print(outcome.run)
