"""Does CONFIG fit a target, and what would a step cost there? Compiles the real train step; needs no such device.

Prints bytes of a device by what they are for, the largest buffers, what devices say to each other, and the least time
of a step from published figures of the chips. Reads no text and no checkpoint: how many ids there are comes from the
config. Targets: cpu, cpu:N, v5e:16x16, v5p:4x4x4, v6e:16x16, h100x8, h100x64. Exits with 1 where a step does not fit.
"""

from typing import Annotated

import typer

from jaxlm.commands import terminal
from jaxlm.commands.train import SetOption


def main(
    config: Annotated[str, typer.Argument(help="Shipped name, .py or .json file, or run folder.")],
    target: Annotated[str, typer.Option(help="Devices to plan for.")] = "cpu",
    set_: SetOption = None,
    search: Annotated[bool, typer.Option("--search", help="Try meshes, remat and microbatches; rank them.")] = False,
    at_most: Annotated[int, typer.Option(min=1, help="With --search: programs to compile.")] = 12,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.plan import target as targets

    goal = targets.parse(target)
    targets.prepare(goal)  # before jax is imported
    from jaxlm import host
    from jaxlm.plan import search as searches
    from jaxlm.plan import show
    from jaxlm.plan.plan import mend, plan
    from jaxlm.run_config import load_config

    cfg = load_config(config, *(set_ or []))
    host.start_jax(goal.devices if goal.platform == "cpu" else None, cache=False)
    devices = targets.devices(goal)
    tell = terminal.told
    if search:
        found = searches.search(cfg, goal, devices, at_most, tell)
        terminal.print_json(found.dump()) if json_ else print("\n".join(show.ranked(found)))
        raise typer.Exit(0 if any(one.fits for one in found.ranked) else 1)
    made = plan(cfg, goal, devices)
    tried = [] if made.fits else mend(cfg, goal, devices, tell)
    if json_:
        terminal.print_json({**made.dump(), "tried": [one._asdict() for one in tried]})
    else:
        print("\n".join([*show.plan(made), *show.changes(made, tried)]))
    raise typer.Exit(0 if made.fits else 1)
