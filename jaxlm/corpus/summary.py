"""The summary of a corpus: what went into each stage and what came out of it, by source and by rule, with samples.

    sources   of each: files, documents and bytes, as they were collected and as they stay
    flow      the stages in order: documents and bytes in and out, their config, and their rules
    rules     of a stage, those too that took nothing: what each took (corpus/account.py), of how many, and samples
    profiles  of what was collected and of what stays (corpus/profile.py)

It is put together of the facts of parts, and reads no text. `warnings` says what looks like a mistake.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlm.corpus import scores, table, word_lists
from jaxlm.corpus.account import add_samples
from jaxlm.corpus.config import CorpusConfig, told
from jaxlm.corpus.document import DAMAGED
from jaxlm.corpus.profile import add
from jaxlm.corpus.rules import possible

STAGES = ("language", "quality", "personal", "score", "duplicates", "contamination")  # in their order
BEGINS = 100  # characters of a document that has many copies
# Of a source's files and records. Chosen: single ones are damaged or empty in any source; a tenth is another encoding,
# a wrong field, or files of another kind.
LOST = 0.1
_NAMED = 3  # rules of a kind that a warning names
_WITH_THRESHOLDS = ("quality", "score")  # a corpus without copies, personal data or bad lines is no mistake
_NOTHING = {"documents": 0, "bytes": 0, "first": 0, "first_bytes": 0, "alone": 0}

Facts = Mapping[str, Any]


class Read(NamedTuple):
    """What was told of files that were read together."""

    source: str  # its name
    files: int
    counts: Facts


class Piece(NamedTuple):
    """What the stages told of documents that were annotated together."""

    source: str  # its name
    annotated: Facts
    written: Facts
    profile: Path
    account: Path
    stay: Path  # documents


def summarise(
    cfg: CorpusConfig,
    read: Sequence[Read],
    parts: Sequence[Piece],
    duplicates: Mapping[str, Facts],
    scored: Mapping[str, Facts],
    of_files: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Plain JSON; what parts wrote is read one by one.

    `duplicates` and `scored` are the facts of each kind and of each score; `of_files`, of a sample, the files that
    each source has.
    """
    before, after, taken, shown = {}, {}, {}, {}
    for part in parts:
        account = json.loads(part.account.read_bytes())
        add(before, json.loads(part.profile.read_bytes()))
        add(after, account["profile"])
        add(taken, account["rules"])
        add_samples(shown, account["samples"])
    copied = {
        name: {**found, "biggest": _biggest(found.get("biggest", []), parts)} for name, found in duplicates.items()
    }
    return {
        "sources": _sources(cfg, read, parts, of_files), "flow": _flow(cfg, before, taken, shown, scored),
        "profiles": {"collected": before, "stay": after},
        "with_personal": sum(part.annotated["with_personal"] for part in parts),
        "duplicates": copied,
    }  # fmt: skip


def _biggest(counts: Sequence[Sequence[Any]], parts: Sequence[Piece]) -> list[dict[str, Any]]:
    """Of (id of a document that stays, its texts): the documents. Parts are looked at until all are found.

    One that is found in none stayed for its copies and went later, as a leak.
    """
    missing, found = {id_ for id_, _ in counts}, {}
    for part in parts:
        if not missing:
            break
        for row in table.rows_with(part.stay, missing):
            found[row["id"]] = {"source": row["source"], "begins": row["text"][:BEGINS]}
            missing.discard(row["id"])
    return [{"id": id_, "texts": texts, **found[id_]} for id_, texts in counts if id_ in found]


def _flow(
    cfg: CorpusConfig, before: Facts, taken: Facts, shown: Facts, scored: Mapping[str, Facts]
) -> list[dict[str, Any]]:
    left = {"documents": before["totals"]["documents"], "bytes": before["totals"]["bytes"]}
    flow = []
    for stage in STAGES:
        judged = _judged(cfg, stage, before, left["documents"], scored)
        rules = _rules(taken.get(stage, {}), judged, shown.get(stage, {}))
        if not rules:
            continue
        entered, left = left, {
            "documents": left["documents"] - sum(rule["first"] for rule in rules),
            "bytes": left["bytes"] - sum(rule["first_bytes"] for rule in rules),
        }  # fmt: skip
        flow.append({"stage": stage, "in": entered, "out": left, "rules": rules, "config": _config(cfg, stage)})
    return flow


def _sources(
    cfg: CorpusConfig, read: Sequence[Read], parts: Sequence[Piece], of_files: Mapping[str, int] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        source.name: {
            "licence": source.licence, "files": 0, "records": 0, "bytes_in": 0,
            "documents": 0, "bytes": 0, "stay": {"documents": 0, "bytes": 0},
        }
        for source in cfg.sources
    }  # fmt: skip
    names = ("records", "bytes_in", "documents", "bytes")
    for one in read:
        add(found[one.source], {"files": one.files, **{name: one.counts[name] for name in names}})
    for part in parts:
        stay = found[part.source]["stay"]
        add(stay, {name: part.written["counts"][name] for name in ("documents", "bytes")})
    for name, files in (of_files or {}).items():
        found[name]["of_files"] = files
    return found


def _judged(cfg: CorpusConfig, stage: str, before: Facts, entered: int, scored: Mapping[str, Facts]) -> dict[str, int]:
    """{reason: documents that it was asked of}, of each reason that the config may give; all other ones of all."""
    everything = before["totals"]["documents"]
    if stage == "quality":
        found: dict[str, set[str]] = {}
        for quality in cfg.quality:
            for language in quality.languages or before["languages"]:
                for reason in possible(quality.rules, language, word_lists.measures(cfg.words, language)):
                    found.setdefault(reason, set()).add(language)
        count = lambda names: sum(before["languages"].get(name, {"documents": 0})["documents"] for name in names)
        return {reason: count(names) for reason, names in found.items()}
    if stage == "score":
        return {reason: scored[score.name]["documents"] for score in cfg.scores for reason in scores.possible(score)}
    if stage == "duplicates":
        kinds = (("exact duplicate", cfg.duplicates.exact), ("near duplicate", cfg.duplicates.near))
        return {reason: entered for reason, how in kinds if how is not None}
    if stage == "personal" and cfg.personal is not None and cfg.personal.mode == "drop":
        return {"personal data": everything}
    return {}


def _rules(taken: Facts, judged: Mapping[str, int], shown: Facts) -> list[dict[str, Any]]:
    """Those that took most first."""
    rules = [
        {"reason": reason, **_NOTHING, **taken.get(reason, {}), "judged": judged.get(reason),
         "samples": shown.get(reason, [])}
        for reason in {**judged, **taken}
    ]  # fmt: skip
    return sorted(rules, key=lambda rule: (-rule["first"], -rule["documents"], rule["reason"]))


def _config(cfg: CorpusConfig, stage: str) -> Any:
    """What of the config a stage goes by."""
    return told(cfg).get(_FIELDS.get(stage, stage))


_FIELDS = {"language": "languages", "score": "scores"}  # of the config, of stages that are called otherwise


def nothing_left(name: str, summary: Facts) -> str | None:
    """What took most of a corpus of which no document stays; None of any other."""
    if summary["profiles"]["stay"]["totals"].get("documents"):
        return None
    most = max(summary["flow"], key=lambda stage: stage["in"]["documents"] - stage["out"]["documents"])
    entered, rule = most["in"]["documents"], max(most["rules"], key=lambda rule: rule["first"])
    field = _FIELDS.get(most["stage"], most["stage"])
    return (
        f"no document of {name!r} stays: of {entered:,}, {most['stage']} removed "
        f"{entered - most['out']['documents']:,}, {rule['first']:,} of them for {rule['reason']!r}: change {field}; "
        f"--dry-run shows samples"
    )


def warnings(manifest: Facts) -> list[str]:
    """What looks like a mistake in what was asked for: rules that took nothing, or more than half of all."""
    said, idle, unasked = [], [], []
    flow, config = manifest["summary"]["flow"], manifest["config"]
    for stage in flow:
        entered, went = stage["in"]["documents"], stage["in"]["documents"] - stage["out"]["documents"]
        if stage["stage"] == "language" and 2 * went > entered:
            said.append(_much("languages", went, entered))
        for rule in stage["rules"]:
            judged, reason = rule["judged"], rule["reason"]
            if judged is not None and 2 * rule["documents"] > judged:
                said.append(_much(reason, rule["documents"], judged))
            elif judged and not rule["documents"] and stage["stage"] in _WITH_THRESHOLDS:
                idle.append(reason)
            elif judged == 0 and stage["stage"] in _WITH_THRESHOLDS:
                unasked.append(reason)
    if config["languages"]["keep"] and not any(stage["stage"] == "language" for stage in flow):
        idle.append("languages.keep")
    if config["personal"] and config["personal"]["mode"] == "fake" and not config["personal"]["salt"]:
        said.append(
            "personal.mode='fake' without personal.salt: anybody can make the fake of a value that he guesses and look "
            "for it in the texts; set personal.salt to a secret"
        )
    if damaged := manifest["stages"]["collect"]["skipped"].get(DAMAGED):
        said.append(
            f"{damaged:,} of the files are damaged: what they held behind the damage is missing, and counts as one bad "
            f"record each; left_out.parquet names them"
        )
    said += [*_lost(manifest["summary"]["sources"]), *_left_as_common(manifest)]
    if idle:
        said.append(f"rules that removed nothing: {_named(idle)} (check their thresholds)")
    if unasked:
        where = "see quality.languages, words.languages and scores.languages"
        said.append(f"{_named(unasked)} judged no document, since none is in their languages: {where}")
    return said


def _lost(sources: Facts) -> list[str]:
    """Of each source that gave few documents for its files and records, why."""
    said = []
    for name, one in sources.items():
        lost = one.get("left_out", {"count": 0})
        total = lost["count"] + one["documents"]
        if lost["count"] > LOST * total:
            said.append(
                f"source {name!r}: {lost['count']:,} of {total:,} files and records ({lost['count'] / total:.0%}) gave "
                f"no document, {lost['most']:,} of them as {lost['reason']!r}, the first {lost['first']}: "
                f"left_out.parquet names all"
            )
    return said


def _left_as_common(manifest: Facts) -> list[str]:
    """Of each evaluation set the items that stay in documents as whole as they are, since many hold them."""
    said, asked = [], manifest["config"]["contamination"]
    for name, one in manifest["stages"].get("contamination", {}).items():
        if not one["whole"]["items"]:
            continue
        first, others = one["whole"]["most"][0], one["whole"]["items"] - 1
        more = f", and {others:,} more items in others" if others else ""
        said.append(
            f"contamination: {first['whole']:,} documents hold nearly all of {first['place']} of {name}{more}, and "
            f"were let be, as phrases in over contamination.common={asked['common']} documents are no evidence: look "
            f"at contamination/phrases.parquet, and raise contamination.common if these are leaks"
        )
    return said


def _much(reason: str, went: int, of: int) -> str:
    return f"{reason} removed {went:,} of the {of:,} documents it judged ({went / of:.0%}): look at its samples"


def _named(reasons: Sequence[str]) -> str:
    rest = len(reasons) - _NAMED
    return ", ".join(reasons[:_NAMED]) + (f" and {rest:,} more rules" if rest > 0 else "")
