"""What each reason took from a part: documents, bytes, and a few of them to look at.

A document has all the reasons that speak against it. The first one takes it in the flow from stage to stage, so that
the flow adds up; `alone` counts those that no other reason would have taken, which is what leaving the reason out
would bring back. Samples are the documents with the smallest ids: hashes, so they are drawn evenly, and those of a
corpus are among those of its parts.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SAMPLES = 3  # of a reason: chosen, what one reads before one believes a rule

Sample = dict[str, str]  # id, source, begins, evidence


class Account:
    """Of the documents that went."""

    def __init__(self) -> None:
        self._rules: dict[str, dict[str, Counter[str]]] = {}
        self._samples: dict[str, dict[str, list[Sample]]] = {}

    def goes(self, document: Sample, size: int, why: Sequence[tuple[str, str, str]]) -> None:
        """A `document` of `size` bytes goes for these (stage, reason, evidence), the first of them foremost."""
        for place, (stage, reason, evidence) in enumerate(why):
            rule = self._rules.setdefault(stage, {}).setdefault(reason, Counter())
            rule.update(documents=1, bytes=size)
            if place == 0:
                rule.update(first=1, first_bytes=size)
            if len(why) == 1:
                rule.update(alone=1)
            samples = self._samples.setdefault(stage, {}).setdefault(reason, [])
            if len(samples) < SAMPLES or document["id"] <= samples[-1]["id"]:
                samples.append({**document, "evidence": evidence})
                samples[:] = _smallest(samples)

    def facts(self) -> dict[str, Any]:
        rules = {
            stage: {reason: dict(counts) for reason, counts in reasons.items()}
            for stage, reasons in self._rules.items()
        }
        return {"rules": rules, "samples": self._samples}


def add_samples(total: dict[str, dict[str, list[Sample]]], more: Mapping[str, Mapping[str, list[Sample]]]) -> None:
    """Make `total`, {stage: {reason: samples}}, those of both."""
    for stage, reasons in more.items():
        for reason, some in reasons.items():
            known = total.setdefault(stage, {}).setdefault(reason, [])
            known[:] = _smallest([*known, *some])


def _smallest(some: Iterable[Sample]) -> list[Sample]:
    """Those with the smallest ids; of equal texts one."""
    ordered = sorted(some, key=lambda sample: (sample["id"], sample["source"]))
    return [next(same) for _, same in itertools.groupby(ordered, key=lambda sample: sample["id"])][:SAMPLES]
