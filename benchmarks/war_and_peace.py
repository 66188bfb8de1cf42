"""Which family reads War and Peace best, at equal parameters, tokens, text and optimiser?

    python benchmarks/war_and_peace.py warpeace_input.txt [--only lstm gru] [--json] [--record]

Trains each of `configs/war_and_peace*.py` by `jaxlm train`, one after another, and scores its last checkpoint on the
test split by `jaxlm eval`. A row has nats a character (of all of them; where fewer are asked for the row says which),
its standard error, the seconds of training, the CPU minutes of the whole command, and characters read a second. Beside
the LSTM stands the best LSTM of Karpathy, Johnson & Fei-Fei 2015 (arXiv:1506.02078, table 1), which has 512 units in
two or three layers, 50 epochs.
The curves go to war_and_peace.svg and war_and_peace.json in the folder that --curves names.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import figure
import harness
import machine as where

FAMILIES = {
    "rnn": "war_and_peace_rnn",
    "lstm": "war_and_peace",
    "gru": "war_and_peace_gru",
    "mingru": "war_and_peace_mingru",
    "minlstm": "war_and_peace_minlstm",
    "gpt2": "war_and_peace_gpt2",
    "llama": "war_and_peace_llama",
    "t5": "war_and_peace_t5",
    "bert": "war_and_peace_bert",
}
ASKED = {"t5": "second half of each row", "bert": "15 %, hidden, from both sides"}  # else every character, once
PUBLISHED = {"lstm": 1.08}  # nats a character; quoted from memory, as the paper cannot be read offline


def train(name: str, config: str, text: Path, folder: Path, more: list[str]) -> dict[str, Any]:
    """What a run came to."""
    run, sets = folder / name, [word for pair in more for word in ("--set", pair)]
    began = cpu_seconds()
    jaxlm("train", config, "--set", f"data.source={text}", "--run-dir", str(run), "--shards-dir", str(folder), *sets)
    spent = cpu_seconds() - began
    score = json.loads(jaxlm("eval", str(run), "--split", "test", "--json"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = {line["step"]: line["seconds"] for line in lines if "seconds" in line}
    speeds = sorted(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
    return {
        "parameters": json.loads((run / "environment.json").read_text())["parameters"],
        "loss": score["loss"],
        "standard_error": score["standard_error"],
        "accuracy": score["accuracy"],
        "seconds": max(seconds.values()),
        "cpu_minutes": spent / 60,
        "tokens_per_second": speeds[len(speeds) // 2],
        "curve": [(seconds[line["step"]], line["eval/loss"]) for line in lines if "eval/loss" in line],
    }


def cpu_seconds() -> float:
    """Of all commands that have ended, over all cores."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def jaxlm(*arguments: str) -> str:
    """Standard output of a command; what it shows meanwhile goes to standard error."""
    ran = subprocess.run(
        [sys.executable, "-m", "jaxlm", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=where.REPOSITORY,
        check=False,
    )
    if ran.returncode:
        raise SystemExit(f"jaxlm {' '.join(arguments)} exited {ran.returncode}")
    return ran.stdout


def row(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """In the form of every benchmark; the ratio is of the published loss over ours."""
    published = PUBLISHED.get(name)
    ratio = published / found["loss"] if published else None
    about = {key: value for key, value in found.items() if key != "curve"}
    case = name if name not in ASKED else f"{name} ({ASKED[name]})"
    peer = "char-rnn's best LSTM (Karpathy et al. 2015)" if published else ""
    spread = {"ratio": ratio, "ratio_min": ratio, "ratio_max": ratio}
    return {
        "case": case,
        "ours": found["loss"],
        "peer": published,
        "peer_name": peer,
        "unit": "nats/char",
        **spread,
        **about,
    }


def note(rows: list[dict[str, Any]]) -> str:
    """The table as people read it."""
    lines = [
        "Test split, last checkpoint; one seed each. Ratios are of nats a character.\n",
        "| family | parameters | nats/char | standard error | accuracy | seconds | CPU minutes | characters/s |",
        "| --- " * 8 + "|",
    ]
    for r in rows:
        loss, speed = f"{r['loss']:.4f} | {r['standard_error']:.4f} | {r['accuracy']:.3f}", r["tokens_per_second"]
        time = f"{r['seconds']:.0f} | {r['cpu_minutes']:.1f}"
        lines.append(f"| {r['case']} | {r['parameters']:,} | {loss} | {time} | {speed:,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    asked = flags()
    asked.curves.mkdir(parents=True, exist_ok=True)  # now, and not when all is trained
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.runs or Path(temporary)
        for name in asked.only or FAMILIES:
            found[name] = train(name, FAMILIES[name], asked.text.resolve(), folder.resolve(), asked.set)
            print(f"{name}: {found[name]['loss']:.4f} nats/char, {found[name]['seconds']:.0f} s", file=sys.stderr)
    rows = [row(name, one) for name, one in found.items()]
    result = harness.report("war_and_peace", rows, json=asked.json)
    curves = {name: one["curve"] for name, one in found.items() if name not in ASKED}
    about = {key: result[key] for key in ("benchmark", "machine", "versions", "commit")}
    (asked.curves / "war_and_peace.json").write_text(json.dumps({**about, "families": found}, indent=1) + "\n")
    if curves:
        title = f"Validation loss on War and Peace over seconds of training, {result['machine']['cpu']}"
        (asked.curves / "war_and_peace.svg").write_text(figure.svg(title, curves, PUBLISHED["lstm"]))
    if asked.record:
        harness.record(result, note=note(rows))


def flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, help="warpeace_input.txt")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, help="these families; default: all")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="override a field, as jaxlm")
    parser.add_argument("--runs", type=Path, help="keep the runs here; default: they are removed")
    parser.add_argument("--curves", type=Path, default=Path(__file__).parent, help="folder of the .json and .svg")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
