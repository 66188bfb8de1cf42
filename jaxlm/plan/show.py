"""A plan as lines for a terminal."""

import itertools
from collections.abc import Iterator

from jaxlm.plan.plan import Change, Plan
from jaxlm.plan.search import Found


def plan(made: Plan) -> Iterator[str]:
    goal, chip = made.target, made.target.figures
    yield f"{made.parameters:,} parameters, {made.vocab:,} ids ({made.vocab_from})"
    mesh = " x ".join(f"{axis} {size}" for axis, size in made.mesh.items() if size > 1) or "one device"
    yield f"{goal.name}: {goal.devices} devices ({goal.chip or goal.platform}), {mesh}, {made.layout}"
    yield f"compiled in {made.compile_seconds:.1f} s, nothing run"
    for note in made.substitutions + made.notes:
        yield f"note: {note}"
    yield ""
    yield from memory(made)
    yield ""
    yield from collectives(made)
    yield ""
    yield from bound(made)
    if chip is not None:
        yield f"figures of {goal.chip}: {chip.source}"


def memory(made: Plan) -> Iterator[str]:
    parts = made.memory
    yield "bytes of a device"
    rows = {
        "parameters": parts.parameters,
        "optimiser": parts.optimizer,
        "other state": parts.state,
        "batch": parts.batch,
        "activations": parts.activations,
        "logits and loss": parts.logits,
        "outputs": parts.outputs,
        "gaps between buffers": parts.gaps,
        "the program itself": parts.program,
    }
    yield from columns([(name, size_of(size)) for name, size in rows.items()])
    yield (
        f"  arguments {size_of(parts.arguments).strip()}, temporaries {size_of(parts.temporaries).strip()}, "
        f"of which the categories explain {100 * parts.explained:.1f} %"
    )
    together = made.target.platform == "cpu"
    share = made.peak * (made.target.devices if together else 1) / made.limit
    verdict = "fits" if made.fits else "DOES NOT FIT"
    of = "of this machine's free memory, all devices together" if together else "of a device"
    yield f"  in all {size_of(made.peak).strip()}: {verdict}, {100 * share:.1f} % {of} ({size_of(made.limit).strip()})"
    yield ""
    yield "largest buffers when memory is fullest"
    yield from columns([(f"{one.place}", f"{one.shape[:60]}", size_of(one.bytes)) for one in made.largest])


def collectives(made: Plan) -> Iterator[str]:
    if not made.collectives:
        yield "no collectives"
        return
    yield "collectives of a step, bytes that a device sends"
    yield from columns([(kind, f"{t.count:,}", size_of(t.bytes)) for kind, t in made.collectives.items()])
    least = made.least_collective_bytes
    if least:
        ratio, said = made.collective_bytes / least, size_of(made.collective_bytes).strip()
        yield f"  in all {said}, {ratio:.3f} times the least for the whole batch at once"
    if made.unknown_loops:
        yield f"  counted once, for their rounds are unknown: {', '.join(made.unknown_loops)}"


def bound(made: Plan) -> Iterator[str]:
    of = made.bound
    yield f"{of.flops:.3e} FLOPs a step by formula, {of.tokens:,} tokens"
    if of.seconds is None:
        yield "no figures are published of a CPU, so a step has no least time here"
        return
    times = [("arithmetic", of.compute_seconds), ("memory", of.memory_seconds), ("network", of.network_seconds)]
    yield "a step takes at least"
    yield from columns([(name, f"{1e3 * (time or 0.0):,.1f} ms") for name, time in times])
    yield (
        f"  bound by {of.by}: MFU at most {100 * (of.mfu or 0.0):.1f} %, "
        f"{of.tokens_per_second or 0.0:,.0f} tokens a second at most"
    )


def changes(made: Plan, tried: list[Change]) -> Iterator[str]:
    if made.fits:
        return
    yield ""
    yield "tried, to make it fit"
    for one in tried:
        said = one.why or f"{size_of(one.peak or 0).strip()} of a device"
        yield f"  {'fits' if one.fits else 'no'}: --set {' --set '.join(one.settings)} ({said})"
    if not tried or not tried[-1].fits:
        yield "none of them is enough: more devices, or a smaller model"


def ranked(found: Found) -> Iterator[str]:
    yield f"{len(found.ranked)} of {found.possible} ways to run it, the best first, each with --set mesh.layout=axes"
    rows = [("", "of a device", "step at least", "MFU at most", "bound by", "sent", "settings")]
    for one in found.ranked:
        time = "" if one.seconds is None else f"{1e3 * one.seconds:,.1f} ms"
        mfu = "" if one.mfu is None else f"{100 * one.mfu:.1f} %"
        sent = size_of(one.collective_bytes)
        rows.append(
            ("fits" if one.fits else "no", size_of(one.peak), time, mfu, one.by or "", sent, short(one.settings))
        )
    yield from columns(rows)
    for why, alike in itertools.groupby(sorted(found.refused, key=lambda one: one[1]), key=lambda one: one[1]):
        first, *rest = [short(settings) for settings, _ in alike]
        yield f"  refused: {first}{f' and {len(rest)} more' if rest else ''}: {why}"


def short(settings: list[str]) -> str:
    """Settings without those that all ways have, and axes of one device."""
    return " ".join(
        one
        for one in settings
        if not one.startswith(("mesh.layout", "mesh.devices")) and not (one.startswith("mesh.") and one.endswith("=1"))
    )


def columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
    for row in rows:
        yield ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()


def size_of(size: int) -> str:
    """Bytes as a person says them.

    >>> size_of(1_536), size_of(3 * 2**30)
    ('    1.5 KiB', '    3.0 GiB')
    """
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:7.1f} {unit}"
