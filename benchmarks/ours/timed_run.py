"""jaxlm's side of speedrun.py: `jaxlm train CONFIG` as it is, then its curve out of metrics.jsonl.

    python benchmarks/ours/timed_run.py shakespeare_speedrun FOLDER 1.88 --set data.source=input.txt

Prints what peers/torch_train.py prints: {"curve": [{"step", "seconds", "validation_loss"}], "step_at_target",
"seconds_at_target", "compile_s", ...}. `seconds` are the run's own: training without evaluation, saving and
compilation, read when the evaluated step was done. The run is begun anew in FOLDER/run each time.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from jaxlm import host


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a config and print its curve.")
    parser.add_argument("config")
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=float, help="validation loss, nats a character")
    parser.add_argument("--set", action="append", default=[])
    flags = parser.parse_args()
    host.restart_with_allocator()  # as `jaxlm train` does before anything else
    compiled = count_compilation()
    from jaxlm.commands import train

    run = flags.folder / "run"
    train.main(flags.config, set_=flags.set, run_dir=run, shards_dir=flags.folder / "shards", fresh=True)
    points = curve((run / "metrics.jsonl").read_text())
    print(json.dumps({**reached(points, flags.target), "curve": points, "compile_s": sum(compiled)}))


def count_compilation() -> list[float]:
    """A list that will hold the seconds of each of this process's compilations."""
    import jax

    seconds: list[float] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return seconds


def curve(metrics: str) -> list[dict[str, float]]:
    """The evaluated steps of a metrics.jsonl; each must have been logged too, or its seconds are not known."""
    seconds, losses = {}, {}
    for line in map(json.loads, metrics.splitlines()):
        if "seconds" in line:
            seconds[line["step"]] = line["seconds"]
        if "eval/loss" in line:
            losses[line["step"]] = line["eval/loss"]
    if unknown := sorted(losses.keys() - seconds.keys()):
        raise SystemExit(f"steps {unknown} were evaluated but not logged: make loop.log_every divide loop.eval_every")
    return [{"step": n, "seconds": seconds[n], "validation_loss": losses[n]} for n in sorted(losses)]


def reached(points: list[dict[str, float]], target: float) -> dict[str, Any]:
    """When the loss was first at or under `target`: None where it never was."""
    there = next((point for point in points if point["validation_loss"] <= target), None)
    return {
        "target": target,
        "step_at_target": there and there["step"],
        "seconds_at_target": there and there["seconds"],
        "loss": points[-1]["validation_loss"],
        "best_loss": min(point["validation_loss"] for point in points),
    }


if __name__ == "__main__":
    main()
