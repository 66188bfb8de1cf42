"""The datasheet's part on cleaning: what was done to the texts, what each rule took, and some of what went."""

from collections.abc import Mapping
from typing import Any

from jaxlm.report.flow import flow
from jaxlm.report.sheet import Block, Facts, Figure, Question, Sample, Samples, Table
from jaxlm.report.words import NONE, brief, plain, share, size

NAMES = {
    "normalise": "one form of characters", "lines": "lines that are no text go", "languages": "languages that stay",
    "words": "lists of words", "quality": "rules of quality", "scores": "scores by models",
    "personal": "personal data", "duplicates": "duplicates", "contamination": "evaluation sets",
}  # fmt: skip


# Settings that change no document, or are nobody's business.
UNSAID = ("memory", "cap", "salt", "representatives", "path", "include")
AT = (0, 1, 5, 10, 15, 19, 20)  # of the 21 quantiles of a score, those that are shown


def questions(manifest: Mapping[str, Any]) -> list[Question]:
    stages = manifest["summary"]["flow"]
    kept = (
        "The sources lie unchanged where they lay. removed/*.parquet has a row for each document that went and each "
        "reason: its id, its source, the reason and the beginning of the text."
    )
    shown = [block for stage in stages for block in _samples(stage)]
    return [
        Question("What was done?", [_steps(manifest["config"]), _changed(manifest)]),
        Question("What did each rule take?", [block for stage in stages for block in _rules(stage)] or ["Nothing."]),
        Question("How do the scores of models spread?", _scores(manifest)),
        Question("What do the texts look like that went?", shown or ["None went."]),
        Question("Are the raw texts kept?", [kept]),
    ]


def streams(manifest: Mapping[str, Any]) -> list[Figure]:
    """The flow by documents and by bytes."""
    found = manifest["summary"]
    collected = found["profiles"]["collected"]["totals"]
    rows = [["collected", NONE, f"{collected['documents']:,}", NONE, size(collected["bytes"])]]
    for stage in found["flow"]:
        gone, left = stage["in"]["documents"] - stage["out"]["documents"], stage["out"]
        lost = stage["in"]["bytes"] - left["bytes"]
        rows.append([stage["stage"], f"{gone:,}", f"{left['documents']:,}", size(lost), size(left["bytes"])])
    table = Table(("stage", "documents that go", "that are left", "text that goes", "that is left"), rows)
    return [Figure(flow(found["flow"], collected, by), table) for by in ("documents", "bytes")]


def _steps(config: Mapping[str, Any]) -> Facts:
    return Facts([(said, _said(config[name]) if config[name] else "no") for name, said in NAMES.items()])


def _said(value: Any) -> str:
    """A setting in a line."""
    if isinstance(value, Mapping) and value.keys() == {"least", "most"}:
        return _bounds(value["least"], value["most"])
    if isinstance(value, Mapping):
        inner = [f"{name} {_said(one)}" for name, one in value.items() if name not in ("kind", *UNSAID)]
        return f"{value['kind']} ({', '.join(inner)})" if "kind" in value else "; ".join(inner)
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "any"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else plain(value) if isinstance(value, float) else str(value)


def _bounds(least: int | float | None, most: int | float | None) -> str:
    if least is not None and most is not None:
        return f"{plain(least)} to {plain(most)}"
    bound = least if most is None else most
    return "unbounded" if bound is None else f"{'≥' if most is None else '≤'} {plain(bound)}"


def _changed(manifest: Mapping[str, Any]) -> Block:
    collect = manifest["stages"]["collect"]
    rows = [[f"texts in which was mended: {name}", f"{count:,}"] for name, count in collect["changed"].items()]
    lines = collect["counts"].get("lines", 0)
    rows += [[f"lines that went: {name}", f"{n:,} ({share(n, lines)})"] for name, n in collect["lines"].items()]
    if scrubbed := manifest["stages"]["write"].get("scrubbed", 0):
        rows.append(["personal data that were replaced", f"{scrubbed:,}"])
    return Table(("change", "count"), rows) if rows else "No text was changed."


def _rules(stage: Mapping[str, Any]) -> list[Block]:
    """A table; the rules that took nothing are named below it."""
    rows = [
        [
            rule["reason"], f"{rule['documents']:,}", f"{rule['alone']:,}", size(rule["bytes"]),
            NONE if rule["judged"] is None else share(rule["documents"], rule["judged"]),
        ]
        for rule in stage["rules"]
        if rule["documents"]
    ]  # fmt: skip
    idle = [rule["reason"] for rule in stage["rules"] if not rule["documents"]]
    note = f"Took nothing: {', '.join(idle)}." if idle else ""
    if not rows:
        return [f"{stage['stage'].capitalize()}: nothing. {note}"]
    return [Table((stage["stage"], "documents", "it alone", "text", "of those it judged"), rows, note)]


def _scores(manifest: Mapping[str, Any]) -> list[Block]:
    """Of the documents that each was asked of, whether they stay or not: where a bound takes which share of them."""
    scores = manifest["stages"]["scores"]
    if not scores:
        return ["None was asked for."]
    heads = ("score", "documents", "mean", "least", *(f"{n * 5} %" for n in AT[1:-1]), "most")
    rows = [
        [name, f"{one['documents']:,}", brief(one["mean"]), *(brief(one["quantiles"][n]) for n in AT)]
        for name, one in scores.items()
        if one["documents"]
    ]
    idle = [name for name, one in scores.items() if not one["documents"]]
    note = f"Asked of no document: {', '.join(idle)}." if idle else ""
    return [Table(heads, rows, note)] if rows else [note]


def _samples(stage: Mapping[str, Any]) -> list[Block]:
    return [
        Samples(
            f"{stage['stage']}: {rule['reason']}",
            [Sample(one["source"], one["begins"], one["evidence"], one["id"]) for one in rule["samples"]],
        )
        for rule in stage["rules"]
        if rule["samples"]
    ]
