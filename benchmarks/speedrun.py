"""How many seconds from the first step to 1.88 nats a character on tiny Shakespeare?

    python benchmarks/speedrun.py input.txt [--rounds 2] [--json] [--record]

jaxlm runs `jaxlm train shakespeare_speedrun`. Two peers in PyTorch (peers/torch_train.py) run the same text: one
with the very same optimiser, schedule, batch and switches (ours/recipe.py translates the resolved config), and
one with nanoGPT's recipe over as many more steps as it needs. Each runs as installed, in the way that is the
fastest for its model by a first look (eager or compiled, float32 or autocast to bfloat16).
Seconds are of training: evaluation and compilation are outside, on all sides. The first evaluation at or under
the target counts, after every `loop.eval_every` steps of the config. The curves of the last round go to
speedrun.json and speedrun.svg in the folder that --curves names.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import figure
import harness
import machine as where
from ours.recipe import MODEL, recipe
from train_step import EAGER, WAYS, fastest_ways, torch_contender

from jaxlm import host
from jaxlm.run_config import RunConfig, load_config

CONFIG, TARGET = "shakespeare_speedrun", 1.88  # nats a character: what nanoGPT's README gives for its CPU recipe
LONGER = 3_000  # chosen: steps of nanoGPT's recipe, whose 2,000 end above the target
SELDOM = 50  # chosen: steps between its evaluations, which are outside its seconds but not outside ours
FIGURE = "seconds_at_target"
LOOK_STEPS = 100  # timed, to choose a way


def ours(config: str, folder: Path, target: float, overrides: Sequence[str]) -> harness.Contender:
    """Without the cache of compiled programs, so that compile_s is a compilation."""
    sets = [word for override in overrides for word in ("--set", override)]
    contender = harness.Contender(
        ["benchmarks/ours/timed_run.py", config, str(folder), str(target), *sets],
        environment={"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "false", host.SWITCH: ""},
    )
    return harness.as_installed(contender)


def peer(text: Path, folder: Path, name: str, fields: Mapping[str, Any], way: str, *more: str) -> harness.Contender:
    """The peer with the fields of a Recipe, as a file beside the run."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(fields))
    return torch_contender(["benchmarks/peers/torch_train.py", str(text), "--recipe", str(file), *more], way)


def fastest_way(fields: Mapping[str, Any]) -> str:
    """Of running the model of a recipe in PyTorch, by timing its steps."""
    flags = [flag(name, value) for name, value in fields.items() if name in (*MODEL, "batch")]
    arguments = ["benchmarks/peers/torch_gpt.py", *(word for words in flags for word in words)]
    arguments += ["--steps", str(LOOK_STEPS)]
    return fastest_ways(harness.alternate({way: torch_contender(arguments, way) for way in WAYS}, rounds=1))[0]


def flag(name: str, value: Any) -> list[str]:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    return [f"--{dashed}", str(value)]


def rows(results: Mapping[str, Any], peers: Mapping[str, str]) -> list[dict]:
    """One row a peer; a contender that missed the target in any round has no time, and the row says so."""
    timed = {name: in_time(done) for name, done in results.items()}
    return [
        harness.compare(
            "speedrun", timed, "jaxlm", name, figure=FIGURE, unit="s", peer_name=text,
            **about("ours", results["jaxlm"]), **about("peer", results[name]),
        )
        for name, text in peers.items()
    ]  # fmt: skip


def in_time(done: harness.Rounds | harness.Missing) -> harness.Rounds | harness.Missing:
    if isinstance(done, harness.Missing) or all(r[FIGURE] is not None for r in done):
        return done
    late = next(r for r in done if r[FIGURE] is None)
    steps, best = late["curve"][-1]["step"], late["best_loss"]
    return harness.Missing(f"did not reach {late['target']:g} nats in {steps} steps, its best was {best:.4f}")


def about(side: str, done: harness.Rounds | harness.Missing) -> dict[str, Any]:
    if isinstance(done, harness.Missing):
        return {}
    return {f"{side}_{name}": done[0][name] for name in ("step_at_target", "compile_s", "best_loss")}


def save_curves(result: Mapping[str, Any], results: Mapping[str, Any], names: Mapping[str, str], folder: Path) -> None:
    curves = {names[name]: done[-1]["curve"] for name, done in results.items() if not isinstance(done, harness.Missing)}
    target = next(done[-1]["target"] for done in results.values() if not isinstance(done, harness.Missing))
    about_it = {name: result[name] for name in ("benchmark", "machine", "versions", "commit")}
    (folder / "speedrun.json").write_text(json.dumps({**about_it, "target": target, "curves": curves}, indent=1) + "\n")
    points = {name: [(point["seconds"], point["validation_loss"]) for point in curve] for name, curve in curves.items()}
    title = f"Validation loss on tiny Shakespeare over seconds of training, {result['machine']['cpu']}"
    (folder / "speedrun.svg").write_text(figure.svg(title, points, target))


def checked(cfg: RunConfig) -> RunConfig:
    if cfg.loop.eval_every % cfg.loop.log_every:
        raise SystemExit(
            f"loop.log_every={cfg.loop.log_every} does not divide loop.eval_every={cfg.loop.eval_every}: the seconds "
            f"of an evaluated step are known only if it is logged too; add --set loop.log_every={cfg.loop.eval_every}"
        )
    return cfg


def main() -> None:
    asked = flags()
    overrides = [f"data.source={asked.text.resolve()}", *asked.set]
    cfg = checked(load_config(asked.config, *overrides))
    same = recipe(cfg)
    longer = {"steps": asked.longer}
    evaluate = lambda every: ("--eval-every", str(every), "--target", str(asked.target))
    ways = [asked.way or fastest_way(fields) for fields in (same, longer)] if torch_is_here() else [EAGER, EAGER]
    names = {
        "jaxlm": f"jaxlm, {cfg.name}",
        "same": f"PyTorch, the same recipe, {ways[0]}",
        "nanogpt": f"PyTorch, nanoGPT's recipe over {asked.longer} steps, {ways[1]}",
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contenders = {
            "jaxlm": ours(asked.config, folder, asked.target, overrides),
            "same": peer(asked.text.resolve(), folder, "same", same, ways[0], *evaluate(cfg.loop.eval_every)),
            "nanogpt": peer(
                asked.text.resolve(), folder, "nanogpt", longer, ways[1], *evaluate(SELDOM), "--stop-at-target"
            ),
        }
        results = harness.alternate(contenders, asked.rounds)
    peers = {name: text for name, text in names.items() if name != "jaxlm"}
    result = harness.report("speedrun", rows(results, peers), json=asked.json)
    save_curves(result, results, names, asked.curves)
    if asked.record:
        harness.record(result, note="Seconds of training; the curves are in speedrun.svg.")


def torch_is_here() -> bool:
    return where.has_package(where.peer_python(), "torch")


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="tiny Shakespeare's input.txt")
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a field, as jaxlm")
    parser.add_argument("--target", type=float, default=TARGET, help="validation loss, nats a character")
    parser.add_argument("--longer", type=int, default=LONGER, help="steps of the peer with nanoGPT's recipe")
    parser.add_argument("--way", choices=WAYS, help="of running PyTorch; default: the fastest of a first look")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--curves", type=Path, default=Path(__file__).parent, help="folder of speedrun.json and .svg")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
