"""Is a plan true, what do devices say to each other as they grow, and what does planning itself cost?

    python benchmarks/plan.py truth [--json] [--record]
    python benchmarks/plan.py scaling [--json] [--record]
    python benchmarks/plan.py targets [--json] [--record]

truth    the peak that `jaxlm plan --target cpu:2` foretells against how much a process grows while it trains a few
         steps of the same config, under glibc's allocator as it comes. The ratio is that of the two: 1 is exact.
scaling  bytes that a device sends in a step of Llama 3.1 8B, whose parameters are split over all devices, or over one
         ring of them and copied over the other, against the least that such a mesh needs; for 8, 64 and 256 TPUs and
         GPUs, from the compiled program. Also the seconds and the memory of this machine that compiling took.
targets  the shipped configs on the devices they are for.

scaling and targets want the wheels of `make install-plan`, and say so where they are missing.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import harness

ROOT = Path(__file__).resolve().parents[1]
STEPS = 4  # chosen: the second step finds all that the first has allocated


class Case(NamedTuple):
    name: str
    config: str
    target: str
    settings: tuple[str, ...] = ()


# Some hundred MB each, so that what Python and XLA keep beside it is little.
WIDE = ("model.width=512", "model.layers=4", "data.length=128", "data.batch=16")
TRUTH = (
    Case("decoder, one device", "shakespeare_char", "cpu:1", ("mesh.layout=single", *WIDE)),
    Case("decoder, copied on two devices", "shakespeare_char", "cpu:2", (
        "mesh.layout=replicated", "mesh.devices=2", *WIDE)),
    Case("decoder, split over two devices", "shakespeare_char", "cpu:2", (
        "mesh.layout=sharded", "mesh.devices=2", *WIDE)),
    Case("decoder, recomputed", "shakespeare_char", "cpu:1", (
        "mesh.layout=single", *WIDE, "data.batch=32", "model.remat=full")),
    Case("encoder", "bert_mini", "cpu:1", ("mesh.layout=single", "data.batch=16")),
    Case("LSTM", "shakespeare_lstm", "cpu:1", ("mesh.layout=single", "data.batch=128")),
)  # fmt: skip

LENGTH = ("data.length=4096",)
RINGS = ("mesh.layout=axes",)
SCALING = (
    Case("8 v5p, fsdp 8", "llama_8b", "v5p:2x2x2", (*LENGTH, "data.batch=8")),
    Case("64 v5p, data 16 x fsdp 4", "llama_8b", "v5p:4x4x4", (
        *LENGTH, "data.batch=64", *RINGS, "mesh.data=16", "mesh.fsdp=4")),
    Case("64 v5p, fsdp 64", "llama_8b", "v5p:4x4x4", (*LENGTH, "data.batch=64")),
    Case("256 v5e, data 16 x fsdp 16", "llama_8b", "v5e:16x16", (
        *LENGTH, "data.batch=256", *RINGS, "mesh.data=16", "mesh.fsdp=16")),
    Case("256 v5e, fsdp 256", "llama_8b", "v5e:16x16", (*LENGTH, "data.batch=256")),
    Case("8 H100, fsdp 8", "llama_8b", "h100x8", (*LENGTH, "data.batch=8")),
    Case("64 H100, fsdp 64", "llama_8b", "h100x64", (*LENGTH, "data.batch=64")),
    Case("256 H100, fsdp 256", "llama_8b", "h100x256", (*LENGTH, "data.batch=256")),
)  # fmt: skip

TARGETS = (
    Case("Llama 3.1 8B on v5e:16x16", "llama_8b", "v5e:16x16"),
    Case("Llama 3.1 8B on v5e:16x16, data 16 x fsdp 16", "llama_8b", "v5e:16x16", (
        *RINGS, "mesh.data=16", "mesh.fsdp=16")),
    Case("Llama 3.1 8B on v5p:4x4x4", "llama_8b", "v5p:4x4x4"),
    Case("Llama 3.1 8B on v5p:4x4x4, data 16 x fsdp 4", "llama_8b", "v5p:4x4x4", (
        *RINGS, "mesh.data=16", "mesh.fsdp=4")),
    Case("Llama 3.1 8B on h100x64", "llama_8b", "h100x64"),
    Case("GPT-2 124M on h100x8", "gpt2", "h100x8"),
    Case("BERT base on h100x8", "bert", "h100x8"),
)  # fmt: skip


def arguments(case: Case) -> list[str]:
    return [case.config, "--target", case.target, *(x for setting in case.settings for x in ("--set", setting))]


def planned(case: Case) -> dict[str, Any]:
    """What `jaxlm plan --json` says, and what planning took; `missing` where it cannot."""
    command = [sys.executable, "-m", "jaxlm", "plan", *arguments(case), "--json"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if not child.stdout.strip():
        return {"missing": (child.stderr.strip().splitlines() or ["no answer"])[-1]}
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # the largest child so far, so run the small ones first
    return {**json.loads(child.stdout.splitlines()[-1]), "host_bytes": usage.ru_maxrss * 1024}


def grown(case: Case) -> dict[str, float]:
    """How many bytes a process of its own grew by while it trained."""
    command = [sys.executable, str(Path(__file__).resolve()), "train", *arguments(case)]
    clean = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean)
    if child.returncode:
        raise SystemExit(child.stderr)
    return json.loads(child.stdout.splitlines()[-1])


def train(config: str, target: str, settings: list[str]) -> dict[str, float]:
    """Train a few steps, in this process; its growth beyond what it was with the step compiled."""
    import ctypes
    import gc

    import jax

    from jaxlm import host, parts
    from jaxlm.data.objectives import example
    from jaxlm.plan import target as targets
    from jaxlm.plan.compilation import lay_out, vocab_of
    from jaxlm.run_config import load_config

    goal, cfg = targets.parse(target), load_config(config, *settings)
    host.start_jax(goal.devices, cache=False)
    built = parts.build(cfg, lay_out(cfg, goal), vocab_of(cfg)[0])
    batch = example(cfg.data.objective, cfg.data.batch, cfg.data.length)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what compiling left: a step would use it again, and not be seen
    before = status("VmRSS")
    state = built.compiled.enter(jax.block_until_ready(built.init()))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the highest that follows, without what `init` took
    for _ in range(STEPS):
        state, metrics = built.compiled.step(state, built.compiled.place(batch))
        jax.block_until_ready(metrics)
    return {"grown_bytes": status("VmHWM") - before, "before_bytes": before}


def status(name: str) -> int:
    """Bytes, from /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def truth() -> list[dict[str, Any]]:
    rows = []
    for case in TRUTH:
        plan, measured = planned(case), grown(case)
        foretold = plan["peak_bytes_per_device"] * plan["target"]["devices"]
        explained = plan["memory"]["explained"]
        rows.append(
            harness.counted(
                case.name, foretold, measured["grown_bytes"], "bytes", "the process's growth", explained=explained
            )
        )
    return rows


def scaling() -> list[dict[str, Any]]:
    rows = []
    for case in SCALING:
        plan = planned(case)
        if "missing" in plan:
            rows.append(harness.alone(case.name, None, "bytes", missing=plan["missing"]))
            continue
        sent, least = plan["collective_bytes"], plan["least_collective_bytes"]
        rows += [
            harness.counted(case.name, sent, least, "bytes", "the least", collectives=plan["collectives"]),
            harness.alone(f"{case.name}: compiling", plan["compile_seconds"], "seconds"),
            harness.alone(f"{case.name}: memory of this machine", plan["host_bytes"], "bytes"),
        ]
    return rows


def targets() -> list[dict[str, Any]]:
    """Bytes of a device by what it has: a ratio up to 1 fits."""
    rows = []
    for case in TARGETS:
        plan = planned(case)
        if "missing" in plan:
            rows.append(harness.alone(case.name, None, "bytes", missing=plan["missing"]))
            continue
        needs, has, bound = plan["peak_bytes_per_device"], plan["limit_bytes_per_device"], plan["bound"]
        more = {name: plan[name] for name in ("memory", "collectives", "bound", "tried")}
        rows += [
            harness.counted(case.name, needs, has, "bytes", "what a device has", **more),
            harness.alone(f"{case.name}: a step at least", bound["seconds"], "seconds"),
            harness.alone(f"{case.name}: MFU at most", bound["mfu"], "share"),
            harness.alone(f"{case.name}: compiling", plan["compile_seconds"], "seconds"),
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("truth", "scaling", "targets", "train"))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    parser.add_argument("config", nargs="?", help="with train, which `truth` starts")
    parser.add_argument("--target")
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    if asked.what == "train":
        print(json.dumps(train(asked.config, asked.target, asked.set)))
        return
    rows = {"truth": truth, "scaling": scaling, "targets": targets}[asked.what]()
    result = harness.report(f"plan {asked.what}", rows, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
