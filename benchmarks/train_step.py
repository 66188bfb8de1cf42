"""How long is a train step, beside PyTorch's?

    python benchmarks/train_step.py [--case nanogpt | 124m] [--rounds 5] [--json] [--record]

A GPT without biases (cases.py), AdamW (0.9, 0.99), decay 0.1, clipping at 1.0, random tokens. jaxlm runs as
`pip install` leaves it (ours/timed_step.py), in the layout that `auto` chose once, before the rounds. PyTorch
(peers/torch_gpt.py) runs eager and compiled, in float32 and under autocast to bfloat16: a first look at all four
picks the fastest, and what comes within a tenth of it. These then take turns with ours, beside eager float32, and
the fastest again under jaxlm's own allocator settings and under tcmalloc.

Rows of a case: against the best of four as installed, against eager float32, and one for each allocator. Needs torch
(JAXLM_PEER_PYTHON may name its interpreter), and g++ to compile. The default run ends within ten minutes on two
cores, in as many of the rounds as fit; for numbers to keep, give one case at a time and more --minutes.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import harness
import machine as where
from cases import CASES, Case

from jaxlm import host

WAYS = {  # of running PyTorch
    "eager float32": (),
    "eager bfloat16": ("--dtype", "bf16"),
    "compiled float32": ("--compile",),
    "compiled bfloat16": ("--dtype", "bf16", "--compile"),
}
EAGER = "eager float32"
SETTINGS = {"GLIBC_TUNABLES": ":".join(f"{name}={value}" for name, value in host.TUNABLES.items())}
MINUTES = 9.5  # chosen: two cases and some air within ten minutes


def ours(case: str, *more: str, script: str = "benchmarks/ours/timed_step.py") -> harness.Contender:
    """jaxlm on the CPU, as the peers, with no setting of this shell."""
    contender = harness.Contender([script, case, *more], environment={"JAX_PLATFORMS": "cpu", host.SWITCH: ""})
    return harness.as_installed(contender)


def torch_step(case: Case, way: str) -> harness.Contender:
    sizes = case._asdict()
    flags = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    return torch_contender(["benchmarks/peers/torch_gpt.py", *flags], way)


def torch_contender(arguments: Sequence[str], way: str) -> harness.Contender:
    """PyTorch in one of WAYS, as installed."""
    contender = harness.Contender(
        [*arguments, *WAYS[way], "--json"],
        python=where.peer_python(),
        packages=["torch"],
        programs=["g++"] if "--compile" in WAYS[way] else [],
    )
    return harness.as_installed(contender)


def measure(
    name: str, jaxlm: Callable[..., harness.Contender], torch: Callable[[str], harness.Contender], rounds: int,
    deadline: float,
) -> list[dict]:  # fmt: skip
    """The rows of a case: `jaxlm(*more arguments)` against `torch(way)`, one of WAYS. `deadline`: see `in_turns`."""
    layout = harness.alternate({"layout": jaxlm("--choose")}, rounds=1)["layout"][0]["layout"]
    look = harness.alternate({way: torch(way) for way in WAYS}, rounds=1)
    fastest = fastest_ways(look)
    contenders = {"jaxlm": jaxlm("--layout", json.dumps(layout))}
    contenders |= {way: torch(way) for way in dict.fromkeys([*close(look, fastest), EAGER])}
    contenders["jaxlm's settings"] = harness.with_settings(torch(fastest[0]), SETTINGS)
    contenders["tcmalloc"] = harness.with_tcmalloc(torch(fastest[0]))
    results = in_turns(name, contenders, rounds, deadline)
    shown = {way: None if isinstance(done, harness.Missing) else done[0]["median_ms"] for way, done in look.items()}
    text = f"{layout['mesh']['layout']} ({layout['why']})"
    return rows(name, results, fastest, layout=text, first_look_ms=shown)


def in_turns(name: str, contenders: Mapping[str, harness.Contender], rounds: int, deadline: float) -> dict[str, Any]:
    """`alternate`, but no round begins that would end after `deadline`, if the last one is a measure."""
    results: dict[str, Any] = {contender: [] for contender in contenders}
    for n in range(rounds):
        start = time.monotonic()
        for contender, done in harness.alternate(contenders, rounds=1).items():
            results[contender] = done if isinstance(done, harness.Missing) else [*results[contender], *done]
        now = time.monotonic()
        if n + 1 < rounds and now + (now - start) > deadline:
            print(f"{name}: {n + 1} of {rounds} rounds, the time is up", file=sys.stderr)
            break
    return results


def fastest_ways(look: Mapping[str, Any]) -> list[str]:
    """Those of WAYS that ran, the fastest first; the first of them where none did."""
    ran = [way for way in WAYS if not isinstance(look[way], harness.Missing)]
    return sorted(ran, key=lambda way: harness.median(look[way], "median_ms")) or [EAGER]


def close(look: Mapping[str, Any], fastest: Sequence[str]) -> list[str]:
    """The fastest way, and those that another round might put before it."""
    if isinstance(look[fastest[0]], harness.Missing):
        return [fastest[0]]
    least = harness.median(look[fastest[0]], "median_ms")
    return [way for way in fastest if harness.median(look[way], "median_ms") < 1.1 * least]


def rows(case: str, results: Mapping[str, Any], fastest: Sequence[str], **more: Any) -> list[dict]:
    """Against the best as installed, eager float32, and the fastest of the first look by allocator."""
    best = harness.best(results, [way for way in fastest if way in results])
    told = (
        (best, f"PyTorch as installed, best of {len(WAYS)}: {best}"),
        (EAGER, f"PyTorch as installed, {EAGER}"),
        ("jaxlm's settings", f"PyTorch under jaxlm's allocator settings, {fastest[0]}"),
        ("tcmalloc", f"PyTorch under tcmalloc, {fastest[0]}"),
    )
    compared = []
    for peer, text in told:
        facts = about("ours", results["jaxlm"]) | about("peer", results[peer]) | more
        if len({value for name, value in facts.items() if name.endswith("_parameters")}) > 1:
            raise RuntimeError(f"{case}: not the same model: {facts}")
        compared.append(harness.compare(case, results, "jaxlm", peer, peer_name=text, **facts))
    return compared


def about(side: str, done: Any) -> dict[str, float]:
    """What else the first round of a side printed: that it compiled and learnt."""
    if isinstance(done, harness.Missing):
        return {}
    return {f"{side}_{figure}": done[0][figure] for figure in ("compile_s", "loss", "parameters")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed steps of each contender; default: the case's")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no round begins that would pass them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    began, names = time.monotonic(), [asked.case] if asked.case else list(CASES)
    measured: list[dict] = []
    for n, name in enumerate(names, 1):
        case = CASES[name]
        case = case._replace(steps=asked.steps or case.steps)
        measured += measure(
            name,
            functools.partial(ours, name, "--steps", str(case.steps)),
            functools.partial(torch_step, case),
            asked.rounds,
            began + 60 * asked.minutes * n / len(names),
        )
    result = harness.report("train_step", measured, json=asked.json)
    if asked.record:
        harness.record(result, note="\n".join(notes(measured)))


def notes(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the table has no column for: layout, compilation, rounds."""
    first = {row["case"]: row for row in reversed(measured)}
    return [
        f"- {name}: {len(row['ours_rounds'])} rounds; layout {row['layout']}; first step and compilation "
        f"{row['ours_compile_s']:.1f} s, the peer's {row.get('peer_compile_s', float('nan')):.1f} s."
        for name, row in sorted(first.items())
    ]


if __name__ == "__main__":
    main()
