"""Fair comparisons: contenders take turns, ratios are taken round by round, and what is missing is said.

    contenders = {"jaxlm": Contender([OURS, "--json"]), "torch": Contender([THEIRS, "--json"], peer_python())}
    results = alternate(contenders, rounds=5)
    report("train_step", [compare("nanogpt", results, "jaxlm", "torch")], json=True)

Every contender is a fresh process that prints one JSON object on the last line of its standard output, e.g.
{"median_ms": 19.3, "min_ms": 18.8, "loss": 3.97, "compile_s": 4.1}. Rounds run A B C A B C: a machine that
slows down slows all of them, so the ratio within a round is steadier than a ratio of two medians. A ratio
over 1 always means that jaxlm is better.
Left out: statistics beyond median and range; five rounds carry no more.
"""

import dataclasses
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from json import JSONDecodeError, dumps, loads
from pathlib import Path
from typing import Any

import machine as where
import rich.console
import rich.table

RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
FIGURES = ("ours", "peer", "ratio", "ratio_min", "ratio_max")


@dataclasses.dataclass(frozen=True)
class Contender:
    """A command, run in the repository's root, and what it needs."""

    arguments: Sequence[str]  # after the interpreter
    python: str = sys.executable
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)  # over the caller's; "" unsets
    packages: Sequence[str] = ()  # of that interpreter
    programs: Sequence[str] = ()  # on the path, e.g. g++
    missing: str = ""  # the reason, where the caller already knows that it cannot run
    timeout: float = 1_800.0  # seconds


@dataclasses.dataclass(frozen=True)
class Missing:
    """A contender that could not enter, and why."""

    reason: str


Rounds = list[dict[str, Any]]


def as_installed(contender: Contender) -> Contender:
    """The variant without any allocator setting, whatever this shell has set."""
    unset = dict.fromkeys(where.ALLOCATOR_VARIABLES, "")
    return dataclasses.replace(contender, environment={**contender.environment, **unset})


def with_settings(contender: Contender, settings: Mapping[str, str]) -> Contender:
    """The variant under exactly `settings`, environment variables that jaxlm gives itself."""
    clean = as_installed(contender)
    return dataclasses.replace(clean, environment={**clean.environment, **settings})


def with_mallopt(contender: Contender, options: Mapping[str, int]) -> Contender:
    """The variant under what jaxlm sets with mallopt(3): glibc reads the same options from variables.

    `options` as mallopt names them: {"M_MMAP_MAX": 0, "M_TRIM_THRESHOLD": 2**31 - 1, "M_ARENA_MAX": 1}.
    """
    named = {where.MALLOPT_VARIABLES[option]: str(value) for option, value in options.items()}
    return with_settings(contender, named)


def with_tcmalloc(contender: Contender) -> Contender:
    """The variant with tcmalloc preloaded, or the reason why there is none."""
    library = where.tcmalloc()
    if library is None:
        return dataclasses.replace(contender, missing=f"none of {', '.join(where.TCMALLOC)} is installed")
    return with_settings(contender, {"LD_PRELOAD": library})


def alternate(contenders: Mapping[str, Contender], rounds: int) -> dict[str, Rounds | Missing]:
    """Run each contender once a round, in turn; for each the objects it printed, one a round."""
    reasons = {name: why_not(contender) for name, contender in contenders.items()}
    results: dict[str, Rounds | Missing] = {n: Missing(reason) if reason else [] for n, reason in reasons.items()}
    for n in range(rounds):
        for name, contender in contenders.items():
            done = results[name]
            if isinstance(done, Missing):
                continue
            start = time.perf_counter()
            done.append(_run(name, contender))
            took = time.perf_counter() - start
            print(f"round {n + 1}/{rounds} {name}: {_short(done[-1])} ({took:.0f} s in all)", file=sys.stderr)
    return results


def why_not(contender: Contender) -> str:
    """The reason why a contender cannot run here; empty where it can."""
    if contender.missing:
        return contender.missing
    if shutil.which(contender.python) is None:
        return f"no interpreter {contender.python}"
    for program in contender.programs:
        if shutil.which(program) is None:
            return f"{program} is not on the path"
    for package in contender.packages:
        if not where.has_package(contender.python, package):
            return f"package {package} is missing in {contender.python}"
    return ""


def _run(name: str, contender: Contender) -> dict[str, Any]:
    environment = {key: value for key, value in (os.environ | dict(contender.environment)).items() if value != ""}
    command = [contender.python, *contender.arguments]
    ran = subprocess.run(
        command, env=environment, cwd=where.REPOSITORY, capture_output=True, text=True, check=False,
        timeout=contender.timeout,
    )  # fmt: skip
    lines = ran.stdout.strip().splitlines()
    try:
        printed = loads(lines[-1]) if lines else None
    except JSONDecodeError:
        printed = None
    if ran.returncode != 0 or not isinstance(printed, dict):
        raise RuntimeError(
            f"contender {name!r} exited {ran.returncode} without a JSON object on its last line\n"
            f"command: {' '.join(command)}\nstdout: {ran.stdout[-500:]}\nstderr: {ran.stderr[-2_000:]}"
        )
    return printed


def median(rounds: Rounds, figure: str) -> float:
    return statistics.median(r[figure] for r in rounds)


def best(results: Mapping[str, Rounds | Missing], names: Sequence[str], figure: str = "median_ms") -> str:
    """The name with the smallest median of a figure; the first name where all are missing."""
    ran = {name: median(done, figure) for name in names if not isinstance(done := results[name], Missing)}
    return min(ran, key=ran.__getitem__) if ran else names[0]


def compare(
    case: str,
    results: Mapping[str, Rounds | Missing],
    ours: str,
    peer: str,
    *,
    figure: str = "median_ms",
    unit: str = "ms",
    more_is_better: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """One row: medians over the rounds, and the median, least and greatest of the rounds' ratios."""
    a, b = results[ours], results[peer]
    row: dict[str, Any] = {"case": case, **dict.fromkeys(FIGURES), "peer_name": peer, "unit": unit, **more}
    for column, done in (("ours", a), ("peer", b)):
        if isinstance(done, Missing):
            row["missing"] = f"{ours if column == 'ours' else peer}: {done.reason}"
        else:
            row[column] = median(done, figure)
            row[f"{column}_rounds"] = [r[figure] for r in done]
    if "missing" not in row:
        pairs = zip(row["ours_rounds"], row["peer_rounds"], strict=True)
        ratios = [x / y if more_is_better else y / x for x, y in pairs]
        row |= {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    return row


def counted(case: str, ours: float, peer: float, unit: str, peer_name: str, **more: Any) -> dict[str, Any]:
    """One row of figures that no round changes; the ratio is ours by the peer's."""
    ratio = ours / peer if peer else None
    return {
        "case": case, "ours": ours, "peer": peer, **dict.fromkeys(("ratio", "ratio_min", "ratio_max"), ratio),
        "unit": unit, "peer_name": peer_name, **more,
    }  # fmt: skip


def seconds(step: Callable[[], Any]) -> float:
    """How long a step of this process takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def alone(case: str, ours: float | None, unit: str, **more: Any) -> dict[str, Any]:
    """One row of a figure that nobody else has."""
    return {"case": case, **dict.fromkeys(FIGURES), "ours": ours, "unit": unit, **more}


def against(case: str, done: Rounds | Missing, figure: str, unit: str, goal: float, **more: Any) -> dict[str, Any]:
    """One row of rounds beside a goal, of which more is better."""
    results: dict[str, Rounds | Missing] = {"jaxlm": done, "the goal": [{figure: goal}]}
    if not isinstance(done, Missing):
        results["the goal"] = [{figure: goal} for _ in done]
    return compare(case, results, "jaxlm", "the goal", figure=figure, unit=unit, more_is_better=True, **more)


def report(benchmark: str, rows: Sequence[Mapping[str, Any]], *, json: bool) -> dict[str, Any]:
    """Print the rows, as one JSON object or as a table, and return that object."""
    result = {
        "benchmark": benchmark,
        "machine": where.machine(),
        "versions": where.versions(),
        "commit": where.commit(),
        "rows": list(rows),
    }
    if json:
        print(dumps(result))
    else:
        _print_table(result)
    return result


def record(result: Mapping[str, Any], note: str = "", path: Path = RESULTS) -> None:
    """Append what `report` returned to the results, under today's date. `note` says what a number cannot."""
    m, about = result["machine"], result["versions"]
    allocator = ", ".join(f"{k}={v}" for k, v in m["allocator"].items()) or "none"
    lines = [
        f"\n## {datetime.date.today().isoformat()} {result['benchmark']} ({result['commit']})\n",
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['kernel']}, {m['libc']}; "
        f"allocator settings in the shell: {allocator}; load {m['load_1_minute']}.",
        ", ".join(f"{name} {version}" for name, version in about.items()) + ".\n",
        *([note.strip() + "\n"] if note else []),
        "| " + " | ".join(COLUMNS) + " |",
        "|" + " --- |" * len(COLUMNS),
        *("| " + " | ".join(_cells(row)) + " |" for row in result["rows"]),
    ]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


COLUMNS = ("case", "ours", "peer", "unit", "ratio", "range of ratio", "peer is")


def _cells(row: Mapping[str, Any]) -> list[str]:
    if row.get("missing"):
        ratio, spread = "missing", str(row["missing"])
    elif row.get("ratio") is None:
        ratio, spread = "", ""
    else:
        ratio, spread = f"{row['ratio']:.2f}", f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
    ours, peer = _figure(row.get("ours")), _figure(row.get("peer"))
    return [str(row["case"]), ours, peer, str(row["unit"]), ratio, spread, str(row.get("peer_name") or "")]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _print_table(result: Mapping[str, Any]) -> None:
    table = rich.table.Table(title=f"{result['benchmark']} ({result['commit']})")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("ours", "peer", "ratio") else "left")
    for row in result["rows"]:
        table.add_row(*_cells(row))
    console = rich.console.Console()
    console.print(table)
    m = result["machine"]
    console.print(f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['kernel']}, load {m['load_1_minute']}")
    console.print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))


def _short(printed: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v:.4g}" for k, v in printed.items() if isinstance(v, float))
