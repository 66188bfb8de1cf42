"""Labels of a source: votes of its rules and people, one class for each text, and files of what came of it.

    labels/NAME/examples.jsonl    {"text", "label", "confidence", "by", "id", "source"}: what `jaxlm train` reads
    labels/NAME/votes.jsonl       each text with a vote: who said what, also of gold; the label, or why it has none
    labels/NAME/report.json       annotators, agreement, balance, config

Where gold knows the class, that is the label, with confidence 1 and "by": "gold"; elsewhere it is the model's, from the
votes of all others. The report judges the model's own labels, so gold tells how right they are.

The source is read twice, since a label is known only when everybody voted; of a text memory holds its id and votes.

Left out: several processes, and active learning from a classifier's own doubts.
"""

import json
import logging
import os
import shutil
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

import jaxlm
from jaxlm import redact
from jaxlm.config import dump
from jaxlm.corpus.collect import Progress
from jaxlm.corpus.disk import clear_errors
from jaxlm.corpus.document import Tally
from jaxlm.corpus.labels import given, report
from jaxlm.corpus.labels.config import FIELDS, LabelConfig
from jaxlm.corpus.labels.consensus import STATES, Consensus, consensus, decided, majority
from jaxlm.corpus.labels.rules import Item, fits
from jaxlm.corpus.labels.texts import texts
from jaxlm.corpus.labels.votes import Votes
from jaxlm.corpus.lock import locked
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

EXAMPLES, VOTES, REPORT = "examples.jsonl", "votes.jsonl", "report.json"


class Labels(NamedTuple):
    """Those that were made, and all that others may want to know of them."""

    cfg: LabelConfig
    root: Path  # of the labels, which are no texts to be labelled
    ids: list[str]
    votes: Votes  # without those of gold
    gold: Votes
    found: Consensus
    labels_I: np.ndarray  # the model's: number of a class, or of why there is none
    gold_I: np.ndarray  # number of a class, or -1
    people: dict[str, dict[str, str]]  # id -> {who: label}
    given: dict[str, str]  # id -> text, where no source is read
    report: dict[str, Any]

    def label(self, item: int) -> tuple[str, float] | None:
        """The model's, and how sure it is."""
        k = int(self.labels_I[item])
        return None if k < 0 else (self.cfg.classes[k], float(self.found.posterior_IK[item, k]))

    def decided(self, item: int) -> tuple[str, float, str] | None:
        """(label, confidence, "gold" or "model"): by gold where it knows."""
        k, found = int(self.gold_I[item]), self.label(item)
        if k >= 0:
            return self.cfg.classes[k], 1.0, "gold"
        return found and (*found, "model")

    def items(self) -> Iterator[Item]:
        """The texts again, in the order of `ids`; UserError where the source changed meanwhile."""
        count, tally = 0, Tally(budget=1.0, fields=FIELDS)
        for count, item in enumerate(_items(self.cfg, self.root, tally, self.given), start=1):
            if count > len(self.ids) or item.id != self.ids[count - 1]:
                break
            yield item
        else:
            if count == len(self.ids):
                return
        raise UserError(f"source={self.cfg.source!r} changed while it was read: run again when it stays as it is")


def make(cfg: LabelConfig, root: Path, progress: Progress | None = None) -> Labels:
    """Write the labels of `cfg` to `root`/NAME, whole or not at all."""
    progress = progress or (lambda done, total, what: None)
    made = label(cfg, root, progress)
    folder = (root / cfg.name).absolute()
    building, old = (folder.with_name(f".{cfg.name}.{what}") for what in ("building", "old"))
    with clear_errors(folder, "labels", "nothing half-written stays there"):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{cfg.name}.lock", "--labels-dir"):
            if old.exists() and not folder.exists():  # a kill came between the two renames below
                os.rename(old, folder)
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            try:
                _write(made, building, progress)
                shutil.rmtree(old, ignore_errors=True)
                if folder.exists():
                    os.rename(folder, old)
                os.rename(building, folder)
                shutil.rmtree(old, ignore_errors=True)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return made


def label(cfg: LabelConfig, root: Path, progress: Progress) -> Labels:
    """Let everybody vote, and decide."""
    tally = Tally(budget=cfg.bad_records, fields=FIELDS)
    people, texts_given, passed = _of_people(cfg)
    names = _rules(cfg) + sorted({who for said in people.values() for who in said})
    ids, rows = _voted(cfg, _items(cfg, root, tally, texts_given), names, people, progress)
    if not ids:
        raise UserError(f"source={cfg.source!r} holds no text: {str(tally) or 'there is no file'}: name another one")
    if elsewhere := len(people.keys() - set(ids)):
        log.warning(
            "%d of %d texts that people looked at are not in source=%r: their votes count for nothing; keep the id "
            "that a sample carries, or label the files the texts come from",
            elsewhere, len(people), cfg.source,
        )  # fmt: skip
    if unknown := [name for name in cfg.gold if name not in names]:
        raise UserError(f"gold names {unknown[0]!r}, who does not vote: there are {', '.join(names) or 'nobody'}")
    every = Votes.of(len(ids), names, cfg.classes, rows)
    by_rule_A, gold_A = (np.array([name in some for name in names], bool) for some in (_rules(cfg), cfg.gold))
    votes, gold = every.by(~gold_A), every.by(gold_A)
    progress(0, None, "label model")
    found = consensus(votes, cfg.model, by_rule_A & ~gold_A)
    labels_I = decided(found.posterior_IK, cfg.least_confidence)
    gold_I = np.maximum(decided(majority(gold).posterior_IK, 0.0), -1)
    of_kind = {"rules": by_rule_A & ~gold_A, "people": ~by_rule_A & ~gold_A}
    each = report.annotators(votes, found, gold_I, _rules(cfg))
    told = {
        "outcome": report.outcome(labels_I, found, gold_I, cfg.classes),
        "annotators": {name: facts for name, facts in each.items() if name not in cfg.gold},
        "agreement": {
            kind: report.agreement(votes.by(of_A), cfg.level) for kind, of_A in of_kind.items() if of_A.sum() > 1
        },
        "left_out": dict(sorted(tally.skipped.items())),
        "people": {"passed_over": passed, "texts_not_in_source": elsewhere},
        "config": dump(cfg),
        "jaxlm": jaxlm.__version__,
    }  # fmt: skip
    return Labels(cfg, root, ids, votes, gold, found, labels_I, gold_I, people, texts_given, told)


def _rules(cfg: LabelConfig) -> list[str]:
    return [rule.name for rule in cfg.rules]


def _of_people(cfg: LabelConfig) -> tuple[dict[str, dict[str, str]], dict[str, str], int]:
    """({id: {who: label}}, {id: text} where no source is read, how often a text was passed over)."""
    people: dict[str, dict[str, str]] = {}
    texts_given: dict[str, str] = {}
    passed = 0
    for answer in given.answers(cfg):
        if answer.annotator in _rules(cfg):
            raise UserError(
                f"{answer.where}: a person is named {answer.annotator!r}, as a rule is: rename the rule, or set a "
                f"prefix for the file's people"
            )
        if cfg.source is None:
            texts_given.setdefault(answer.id, answer.text)
        if answer.label is None:
            passed += 1
        else:
            people.setdefault(answer.id, {})[answer.annotator] = answer.label
    return people, texts_given, passed


def _items(cfg: LabelConfig, root: Path, tally: Tally, texts_given: dict[str, str]) -> Iterator[Item]:
    if cfg.source is not None:
        return texts(cfg, tally, exclude=root)
    return (Item(id_, text, "") for id_, text in texts_given.items())


def _voted(
    cfg: LabelConfig, items: Iterator[Item], names: list[str], people: dict[str, dict[str, str]], progress: Progress
) -> tuple[list[str], np.ndarray]:
    """(ids of the texts; item, annotator and class of each vote); of `names` the rules are the first."""
    ids: list[str] = []
    rows = array("q")  # one number after the other: millions of votes fit
    number_of = {name: k for k, name in enumerate(cfg.classes)}
    voters = [(fits(rule), number_of[rule.vote]) for rule in cfg.rules]
    place = {name: a for a, name in enumerate(names)}
    for n, item in enumerate(items):
        ids.append(item.id)
        for a, (fit, k) in enumerate(voters):
            if fit(item):
                rows.extend((n, a, k))
        for who, said in people.get(item.id, {}).items():
            rows.extend((n, place[who], number_of[said]))
        progress(n + 1, None, "voting on texts")
    return ids, np.frombuffer(rows, np.int64).reshape(-1, 3)


def _write(made: Labels, folder: Path, progress: Progress) -> None:
    votes_of, gold_of = _said(made.votes), _said(made.gold)
    with (
        open(folder / EXAMPLES, "w", encoding="utf-8") as examples,
        open(folder / VOTES, "w", encoding="utf-8") as file,
    ):
        for n, item in enumerate(made.items()):
            about, found = {"id": item.id, "source": item.source}, made.decided(n)
            label, confidence, by = found or (None, 0.0, None)
            if found:
                sure = {"label": label, "confidence": round(confidence, 6), "by": by}
                _line(examples, {"text": item.text, **sure, **about})
            if (votes := votes_of(n)) or gold_of(n):
                why = None if found else STATES[int(made.labels_I[n])]
                _line(file, {**about, "votes": votes, "gold": gold_of(n), "label": label, "by": by, "why_none": why})
            progress(n + 1, made.votes.items, "writing examples")
    (folder / REPORT).write_text(
        json.dumps(redact.values(made.report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _said(votes: Votes) -> Callable[[int], dict[str, str]]:
    """Of an item {who: class}."""
    first_I = np.searchsorted(votes.item_N, np.arange(votes.items + 1))

    def said(item: int) -> dict[str, str]:
        here = slice(first_I[item], first_I[item + 1])
        pairs = zip(votes.annotator_N[here].tolist(), votes.class_N[here].tolist(), strict=True)
        return {votes.annotators[a]: votes.classes[k] for a, k in pairs}

    return said


def _line(file: TextIO, record: dict[str, Any]) -> None:
    file.write(json.dumps(record, ensure_ascii=False) + "\n")
