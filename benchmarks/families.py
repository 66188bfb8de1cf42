"""How long is a train step of the other families, beside PyTorch's, or beside another family? And decoding?

    python benchmarks/families.py [--case lstm | bert | t5 | mingru | mingru8 | generate] [--json] [--record]

The cases are rows of family_cases.py, and `generate`: both cases of generate.py, which says what they are.

Where the peer is PyTorch, it takes part as in train_step.py: eager and compiled, in float32 and under autocast, as
installed, under jaxlm's allocator settings and under tcmalloc. Where it is jaxlm itself, two of its families take
turns, each in the layout that `auto` chose for it. Both sides have as many parameters and, at the end, about the same
loss, or there is no result: nobody is fast by doing less. For numbers to keep, one case at a time and more --minutes.
"""

import argparse
import functools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import generate
import harness
from cases import WRITING
from family_cases import CASES, FamilyCase, Ours
from train_step import MINUTES, about, in_turns, measure, ours, torch_contender

NAMES = [*CASES, "generate"]
PARAMETERS = 0.01  # most that two models may differ by: of the peer's number
LOSS = 0.05  # of the peer's last loss, in a few steps on random tokens


def jaxlm(name: str, *more: str) -> harness.Contender:
    """jaxlm on the CPU with no setting of this shell."""
    return ours(name, *more, script="benchmarks/ours/timed_family.py")


def torch_peer(case: FamilyCase, way: str) -> harness.Contender:
    script, *flags = case.peer
    return torch_contender([f"benchmarks/peers/{script}", *flags, "--steps", str(case.steps)], way)


def case_rows(name: str, case: FamilyCase, rounds: int, deadline: float, overrides: Sequence[str] = ()) -> list[dict]:
    """The rows of a case; `overrides` of both sides' configs are for trying the script out, with jaxlm alone."""
    more = ["--steps", str(case.steps), *(word for one in overrides for word in ("--set", one))]
    if isinstance(case.peer, Ours):
        return [same(name, row) for row in of_our_own(name, case, rounds, deadline, more)]
    rows = measure(name, functools.partial(jaxlm, name, *more), functools.partial(torch_peer, case), rounds, deadline)
    return [same(name, row) for row in rows]


def of_our_own(name: str, case: FamilyCase, rounds: int, deadline: float, more: Sequence[str]) -> list[dict]:
    sides = {"jaxlm": more, "peer": ["--peer", *more]}
    looked = harness.alternate({side: jaxlm(name, *words, "--choose") for side, words in sides.items()}, rounds=1)
    layouts = {side: found[0]["layout"] for side, found in looked.items()}
    contenders = {side: jaxlm(name, *words, "--layout", json.dumps(layouts[side])) for side, words in sides.items()}
    results = in_turns(name, contenders, rounds, deadline)
    facts = about("ours", results["jaxlm"]) | about("peer", results["peer"])
    facts["layout"] = f"{layouts['jaxlm']['mesh']['layout']}, the peer's {layouts['peer']['mesh']['layout']}"
    row = harness.compare(
        name, results, "jaxlm", "peer", figure=case.figure, unit=case.unit, more_is_better=case.more_is_better,
        peer_name=case.peer_name, **facts,
    )  # fmt: skip
    return [row]


def same(name: str, row: dict) -> dict:
    """`row`; RuntimeError where its two sides did not do the same."""
    for what, most in (("parameters", PARAMETERS), ("loss", LOSS)):
        a, b = row.get(f"ours_{what}"), row.get(f"peer_{what}")
        if a is not None and b is not None and not abs(a - b) <= most * b:
            raise RuntimeError(f"{name}: {what} {a} and the peer's {b} are not within {most:.0%}: not the same work")
    return row


def measured(name: str, asked: argparse.Namespace, deadline: float) -> list[dict]:
    """The rows of one of NAMES."""
    if name == "generate":
        each = [(n, case._replace(calls=asked.steps or case.calls)) for n, case in WRITING.items()]
        ends = [deadline - (deadline - time.monotonic()) / 2, deadline]
        return [
            row
            for (n, case), end in zip(each, ends, strict=True)
            for row in generate.measure(n, case, asked.rounds, end)
        ]
    case = CASES[name]._replace(steps=asked.steps or CASES[name].steps)
    return case_rows(name, case, asked.rounds, deadline)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=NAMES, help="default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed steps, or calls, of each contender; default: the case's")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no round begins that would pass them")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    began, names = time.monotonic(), [asked.case] if asked.case else NAMES
    rows: list[dict] = []
    for n, name in enumerate(names, 1):
        rows += measured(name, asked, began + 60 * asked.minutes * n / len(names))
    result = harness.report("families", rows, json=asked.json)
    if asked.record:
        harness.record(result, note="\n".join(notes(rows)))


def notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the table has no column for: rounds, layout, parameters, losses."""
    first = {row["case"]: row for row in reversed(rows) if "layout" in row}
    return [
        f"- {name}: {len(row['ours_rounds'])} rounds; layout {row['layout']}; {row['ours_parameters']:,} parameters, "
        f"the peer's {row.get('peer_parameters', 0):,}; last losses {row['ours_loss']:.3f} and "
        f"{row.get('peer_loss', float('nan')):.3f}."
        for name, row in sorted(first.items())
    ]


if __name__ == "__main__":
    main()
