"""jaxlm's side of train_step.py: the step as `jaxlm train` runs it, timed in a process of its own.

    python benchmarks/ours/timed_step.py nanogpt --choose                # prints {"layout": ...}
    python benchmarks/ours/timed_step.py nanogpt --layout '{"mesh": ...}'

Prints {"median_ms", "mean_ms", "loss", "compile_s", ...}. The process restarts itself under its allocator
settings, as the command line does, and the loop is `loop.fit`: batches are placed inside the timing, two steps
are in flight, metrics are read every ten steps. Tokens are random, 16 batches in turn, as the peer has them.
The cache of compiled programs is off, so that `compile_s` is a compilation.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from pathlib import Path

from jaxlm import host

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cases import CASES, WARM_UP, Case


def main() -> None:
    parser = argparse.ArgumentParser(description="Time jaxlm's train step.")
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--steps", type=int, help="timed steps; default: the case's")
    parser.add_argument("--choose", action="store_true", help="print the layout that `auto` finds, and stop")
    parser.add_argument("--layout", type=json.loads, help="what --choose printed")
    flags = parser.parse_args()
    host.restart_with_allocator()
    allocator = host.tune_allocator()
    case = CASES[flags.case]
    case = case._replace(steps=flags.steps or case.steps)
    layout = choose(config(case), case.vocab) if flags.layout is None else flags.layout
    result = {"layout": layout} if flags.choose else time_steps(case, layout)
    print(json.dumps({**result, "allocator": allocator}))


def config(case: Case):
    """nanoGPT's model and optimiser, the rate constant as the peer's; no text is read."""
    from jaxlm.run_config import RunConfig

    constant = {"kind": "linear", "warmup": 0, "final": 1.0}
    adamw = {"kind": "adamw", "peak_rate": 1e-3, "beta1": 0.9, "beta2": 0.99, "decay": 0.1, "clip": 1.0}
    parts = {
        "data": {"source": "random", "rows": "chunked", "length": case.length, "batch": case.batch},
        "model": {
            "kind": "decoder",
            "layers": case.layers,
            "heads": case.heads,
            "width": case.width,
            "vocab": case.vocab,
        },
        "optimizer": {**adamw, "schedule": constant},
        "loop": {"steps": WARM_UP + case.steps + 1},  # the time of a step ends where the next begins
    }
    return RunConfig.model_validate({"name": "train_step", **parts})


def choose(cfg, vocab: int) -> dict:
    """The layout as `jaxlm train` chooses it: by measuring each in a process of its own."""
    from jaxlm.config import dump
    from jaxlm.training import layout as layouts

    candidates = layouts.candidates(cfg.mesh, cfg.step.compile, host.cores(), cfg.data.batch)
    return layouts.choose(dump(cfg), candidates, vocab).dump()


def time_steps(case: Case, chosen: dict) -> dict:
    return time_config(config(case), case.vocab, chosen, random_batches(case))


def time_config(cfg, vocab: int, chosen: dict, batches: list) -> dict:
    """Milliseconds from one dispatch to the next, once the loop's two places in flight are taken.

    `batches` come in turn; `cfg` has WARM_UP steps, those that are timed, and one.
    """
    import jax

    from jaxlm import parts
    from jaxlm.training import loop
    from jaxlm.training.layout import Layout

    layout = Layout.parse(chosen)
    host.start_jax(layout.devices, cache=False)
    start = time.perf_counter()
    run = parts.build(cfg, layout, vocab)
    compile_s = time.perf_counter() - start
    dispatched: list[float] = []
    losses: list[float] = []

    def step(state, batch):
        dispatched.append(time.perf_counter())
        return run.compiled.step(state, batch)

    placed = map(run.compiled.place, itertools.cycle(batches))
    log = lambda _, metrics: losses.append(metrics["loss"])
    loop.fit(cfg.loop, run.compiled.enter(run.init()), placed, step, log=log)
    times = [1e3 * (b - a) for a, b in itertools.pairwise(dispatched)][WARM_UP:]
    return {
        "median_ms": statistics.median(times),
        "mean_ms": statistics.fmean(times),  # no least time: a dispatch after a read does not wait
        "loss": losses[-1],
        "compile_s": compile_s,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(run.abstract.params)),
        "devices": len(run.mesh.devices.flat),
    }


def random_batches(case: Case, count: int = 16) -> list:
    """Rows of random tokens, each one document."""
    import numpy as np

    from jaxlm.batch import Batch

    shape = case.batch, case.length
    rows = np.random.default_rng(0).integers(case.vocab, size=(count, case.batch, case.length + 1), dtype=np.int32)
    ones = np.ones(shape, np.int32)
    position = np.ascontiguousarray(np.broadcast_to(np.arange(case.length, dtype=np.int32), shape))
    return [Batch(row[:, :-1].copy(), row[:, 1:].copy(), np.ones(shape, np.float32), ones, position) for row in rows]


if __name__ == "__main__":
    main()
