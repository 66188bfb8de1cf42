"""What `jaxlm prepare` says of a corpus on a terminal: a line for each stage, and what looks like a mistake."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jaxlm.commands import terminal

REASONS = 3  # of a stage: chosen, a line
RULES = 12  # of a stage whose samples are shown: chosen; of languages there may be a hundred
_BEGINS = 100  # characters of a sample


def stages(manifest: Mapping[str, Any]) -> str:
    """A table: stage, documents in and out, and the reasons that took most."""
    from jaxlm.report.words import share, size

    found, collect = manifest["summary"], manifest["stages"]["collect"]
    documents, skipped = found["profiles"]["collected"]["totals"], collect["skipped"]
    read = documents["documents"] + sum(skipped.values())
    rows = [("collect", *_two(read, documents["documents"]), _top(skipped.items()))]
    for stage in found["flow"]:
        took = [(rule["reason"], rule["first"]) for rule in stage["rules"]]
        rows.append((stage["stage"], *_two(stage["in"]["documents"], stage["out"]["documents"]), _top(took)))
    stay = found["profiles"]["stay"]["totals"]
    kept = share(stay["documents"], documents["documents"])
    end = f"{stay['documents']:,} of {documents['documents']:,} documents stay ({kept}), {size(stay['bytes'])} of text"
    lines = terminal.table(("stage", "in", "out", "most for"), rows, left=(0, 3))
    return "\n".join([*(f"  {line}" for line in lines), *_leaks(manifest), end])


_DONE = {"report": "reported", "mask": "masked", "drop": "dropped"}


def _leaks(manifest: Mapping[str, Any]) -> Iterator[str]:
    for name, one in manifest["stages"].get("contamination", {}).items():
        done = _DONE[manifest["config"]["contamination"]["mode"]]
        items = f"{one['found']:,} of the {one['items']:,} items"
        yield f"contamination: {one['documents']:,} documents hold {items} of {name} ({done})"


def _two(entered: int, left: int) -> tuple[str, str]:
    return f"{entered:,}", f"{left:,}"


def _top(counts: Iterable[tuple[str, int]]) -> str:
    some = sorted((item for item in counts if item[1]), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in some[REASONS:])
    told = [f"{reason} {count:,}" for reason, count in some[:REASONS]] + ([f"others {rest:,}"] if rest else [])
    return ", ".join(told) or "nothing"


def samples(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Lines for each rule that took something: how many, and a few of them."""
    from jaxlm.report.words import share

    for stage in manifest["summary"]["flow"]:
        took = [rule for rule in stage["rules"] if rule["documents"]]
        for rule in took[:RULES]:
            of = f" of {rule['judged']:,} ({share(rule['documents'], rule['judged'])})" if rule["judged"] else ""
            yield f"\n{stage['stage']}: {rule['reason']}: {rule['documents']:,}{of}, it alone {rule['alone']:,}"
            for one in rule["samples"]:
                yield f"  {one['source']}  {one['id'][:12]}  {one['evidence']}".rstrip()
                yield f"    {plain(one['begins'])[:_BEGINS]}"
        if len(took) > RULES:
            yield f"\n{stage['stage']}: {len(took) - RULES:,} more rules, which --json tells"


def plain(text: str) -> str:
    """One line without what a terminal would obey.

    >>> plain("a\\n\\x1b[2J b")
    'a [2J b'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
