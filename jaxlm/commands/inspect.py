"""What RUN is: its steps, the number and hash of its parameters, its data and environment.

With --sharding: where the parameters of a config or a run lie on the devices of its mesh, how many bytes that are on
each, what is large and stays whole, and what the compiler copies to all devices. No accelerator is needed: CPU devices
stand for them.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlm.commands import terminal
from jaxlm.errors import UserError

DEVICES = 8  # chosen: a host's GPUs or a small slice, where neither --devices nor the config says how many


def main(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run folder; with --sharding also a config, as `jaxlm train` takes it.")
    ],
    step: Annotated[int | None, typer.Option(help="A saved step; default: the newest.")] = None,
    sharding: Annotated[bool, typer.Option("--sharding", help="Show where parameters lie on the devices.")] = False,
    devices: Annotated[
        int | None, typer.Option(min=1, help=f"With --sharding: devices; default: the config's, or {DEVICES}.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="With --sharding: override a field; may be repeated."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    if sharding:
        if step is not None:
            raise UserError(f"--step {step} is of what was saved, and --sharding tells of none: leave one out")
        _sharding(run, devices, set_ or [], json_)
        return
    if devices is not None or set_:
        raise UserError("--devices and --set are for --sharding: add it, or leave them out")
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


def _sharding(config: str, devices: int | None, overrides: list[str], json_: bool) -> None:
    from jaxlm.run_config import load_config
    from jaxlm.sharding import ask
    from jaxlm.sharding_question import layout_of, shaped, vocabulary_of

    folder = Path(config) if Path(config).is_dir() else None
    cfg = load_config(config, *overrides)
    layout = layout_of(cfg, folder, devices, overrides, DEVICES)
    vocab = vocabulary_of(cfg, folder)
    found = ask(shaped(cfg, folder, vocab), layout, vocab)
    if json_:
        parameters = [leaf._asdict() for leaf in found.parameters]
        terminal.print_json(
            found._asdict() | {"parameters": parameters, "vocabulary": vocab, "compile": layout.compile}
        )
        return
    sizes = ", ".join(f"{axis} {size}" for axis, size in found.mesh.items())
    print(f"mesh: {sizes}; step by {layout.compile}; {layout.why}; vocabulary {vocab:,}\n")
    spelled = lambda words: " ".join(word or "-" for word in words)
    heads = ["parameter", "shape", "dimensions", "on mesh axes", "on a device", "bytes", "bytes a device"]
    rows = [
        [
            leaf.name,
            spelled(map(str, leaf.shape)),
            spelled(leaf.axes),
            spelled(leaf.mesh_axes),
            spelled(map(str, leaf.device_shape)),
            f"{leaf.bytes:,}",
            f"{leaf.device_bytes:,}",
        ]
        for leaf in found.parameters
    ]
    print("\n".join(terminal.table(heads, rows, left=(0, 1, 2, 3, 4))) + "\n")
    totals = [[name, f"{whole:,}", f"{part:,}"] for name, (whole, part) in found.totals.items()]
    print("\n".join(terminal.table(["state", "bytes", "bytes a device"], totals)) + "\n")
    print("\n".join(_said(found.warnings, found.rematerialised)))


def _said(warnings: list[str], rematerialised: list[dict[str, str]] | None) -> list[str]:
    lines = [f"warning: {warning}" for warning in warnings]
    if rematerialised is None:
        return [*lines, "the step did not compile in time, so nothing is known of what the compiler copies"]
    for one in rematerialised:
        lines.append(
            f"warning: the compiler copies {one['shape']} whole to every device, as it cannot split it anew "
            f'("involuntary full rematerialization", from {{{one["from"]}}} to {{{one["to"]}}}) at {one["where"]}: '
            f"pin the array there by `mesh.constrain`, or a table by `mesh.whole_rows`, or use other sizes of the axes"
        )
    return lines or ["nothing large stays whole, and the compiler copies nothing to all devices against its will"]
