"""What RUN is: its steps, the number and hash of its parameters, its data and environment."""

from typing import Annotated, Any

import typer

from jaxlm.commands import terminal


def main(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    step: Annotated[int | None, typer.Option(help="A saved step; default: the newest.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.checkpoint import Checkpoints
    from jaxlm.checkpoint_folder import CheckpointConfig
    from jaxlm.config import parse
    from jaxlm.flat import parameters_sha256
    from jaxlm.run_config import RunConfig, imported
    from jaxlm.run_folder import RunFolder, read_json

    folder = RunFolder(run).require()
    cfg = parse(read_json(folder.config), RunConfig, origin=str(folder.config))
    # An import was trained elsewhere; its config is for whoever trains on.
    facts: dict[str, Any] = {"run": run, "steps": None if imported(cfg) else cfg.loop.steps}
    with Checkpoints(folder.checkpoints, CheckpointConfig(), read_only=True) as checkpoints:
        facts["saved_steps"] = checkpoints.steps()
        if facts["saved_steps"]:
            facts["step"], flat, facts["meta"] = checkpoints.read(step)
            facts["parameters"] = sum(array.size for array in flat.values())
            facts["parameters_sha256"] = parameters_sha256(flat)
    for name in ("layout", "data", "environment"):
        path = getattr(folder, name)
        facts[name] = read_json(path) if path.exists() else None
    if json_:
        terminal.print_json(facts)
        return
    for name, value in facts.items():
        print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}")
