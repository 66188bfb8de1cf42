"""How many positions should one body of the recurrent loop hold? Measures UNROLL of models/recurrence.py.

    python benchmarks/unroll.py [--values 1 2 4 8 16 35] [--case lstm] [--rounds 5] [--json]

The default and each value take turns on a case of family_cases.py. A ratio over 1 means that the default is faster.
"""

import argparse
import json

import harness
from families import jaxlm
from family_cases import CASES
from train_step import about

from jaxlm.models.recurrence import UNROLL


def unroll_rows(name: str, values: list[int], rounds: int, steps: int) -> list[dict]:
    more = ["--steps", str(steps)]
    layout = harness.alternate({"layout": jaxlm(name, "--choose", *more)}, rounds=1)["layout"][0]["layout"]
    contenders = {
        str(value): jaxlm(name, *more, "--layout", json.dumps(layout), "--unroll", str(value))
        for value in dict.fromkeys([UNROLL, *values])
    }
    results = harness.alternate(contenders, rounds)
    default = str(UNROLL)
    against = lambda value: harness.compare(
        f"{name}, unroll {value}",
        results,
        default,
        value,
        peer_name=f"unroll {value} instead of {default}",
        **about("ours", results[default]),
        **about("peer", results[value]),
    )
    return [against(value) for value in contenders if value != default]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, nargs="+", default=[1, 2, 4, 8, 16, 35])
    parser.add_argument("--case", choices=CASES, default="lstm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="timed steps of each contender; default: the case's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append to RESULTS.md")
    asked = parser.parse_args()
    measured = unroll_rows(asked.case, asked.values, asked.rounds, asked.steps or CASES[asked.case].steps)
    result = harness.report("unroll", measured, json=asked.json)
    if asked.record:
        harness.record(result)


if __name__ == "__main__":
    main()
