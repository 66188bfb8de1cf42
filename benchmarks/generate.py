"""How many tokens a second does a GPT-2 write, beside Hugging Face's?

    python benchmarks/generate.py [--case 124m_1 | 124m_8] [--rounds 5] [--json] [--record]
    python benchmarks/families.py --case generate      # the same, among the other families' steps

Greedy decoding with a cache, 64 tokens of prompt and 128 new ones, random weights, 1 and 8 prompts at once. jaxlm
runs as `pip install` leaves it (ours/timed_generate.py), and once more in float32; transformers (peers/hf_generate.py)
runs in float32 and in bfloat16. All take turns, and the faster of the peer's two of a first look again under jaxlm's
own allocator settings and under tcmalloc.

Rows of a case: jaxlm against the better of two as installed, float32 against float32, and one for each allocator.
Needs torch and transformers (JAXLM_PEER_PYTHON may name their interpreter). A round of both cases takes some
minutes on two cores.
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

import harness
import machine as where
from cases import WRITING, Writing
from train_step import SETTINGS, in_turns

from jaxlm import host

FLOAT32 = "float32"
WAYS = {FLOAT32: ("--dtype", "f32"), "bfloat16": ("--dtype", "bf16")}  # of running the peer
OURS = {"jaxlm": (), "jaxlm in float32": ("--precision", "float32")}


def ours(name: str, case: Writing, *more: str) -> harness.Contender:
    """jaxlm on the CPU, as the peers, with no setting of this shell."""
    arguments = ["benchmarks/ours/timed_generate.py", name, "--calls", str(case.calls), *more]
    return harness.as_installed(harness.Contender(arguments, environment={"JAX_PLATFORMS": "cpu", host.SWITCH: ""}))


def theirs(case: Writing, way: str) -> harness.Contender:
    sizes = [word for name, value in case._asdict().items() for word in (f"--{name}", str(value))]
    arguments = ["benchmarks/peers/hf_generate.py", *sizes, *WAYS[way], "--json"]
    packages = ["torch", "transformers"]
    return harness.as_installed(harness.Contender(arguments, python=where.peer_python(), packages=packages))


def measure(name: str, case: Writing, rounds: int, deadline: float = math.inf) -> list[dict]:
    """The rows of a case; `deadline`: see `in_turns`."""
    look = harness.alternate({way: theirs(case._replace(calls=1), way) for way in WAYS}, rounds=1)
    fastest = theirs(case, harness.best(look, list(WAYS)))
    contenders = {side: ours(name, case, *flags) for side, flags in OURS.items()}
    contenders |= {way: theirs(case, way) for way in WAYS}
    contenders["jaxlm's settings"] = harness.with_settings(fastest, SETTINGS)
    contenders["tcmalloc"] = harness.with_tcmalloc(fastest)
    return rows(name, in_turns(name, contenders, rounds, deadline), harness.best(look, list(WAYS)))


def rows(case: str, results: Mapping[str, Any], fastest: str) -> list[dict]:
    """Against the better as installed, float32 by float32, and the faster of the first look by allocator."""
    parameters = {done[0]["parameters"] for done in results.values() if not isinstance(done, harness.Missing)}
    if len(parameters) > 1:
        raise RuntimeError(f"{case}: not the same model: {sorted(parameters)} parameters")
    better = harness.best(results, list(WAYS))
    told = (
        ("jaxlm", better, f"transformers as installed, the better of {len(WAYS)}: {better}"),
        ("jaxlm in float32", FLOAT32, "transformers as installed, float32, and ours in float32"),
        ("jaxlm", "jaxlm's settings", f"transformers under jaxlm's allocator settings, {fastest}"),
        ("jaxlm", "tcmalloc", f"transformers under tcmalloc, {fastest}"),
    )
    how = {"figure": "tokens_per_second", "unit": "tokens/s", "more_is_better": True}
    return [harness.compare(case, results, side, peer, peer_name=text, **how) for side, peer, text in told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=WRITING, help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, help="timed calls of each contender; default: the case's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    measured: list[dict] = []
    for name in [asked.case] if asked.case else WRITING:
        case = WRITING[name]
        measured += measure(name, case._replace(calls=asked.calls or case.calls), asked.rounds)
    result = harness.report("generate", measured, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
