"""Document: a text with its name, until it is tokenised; and the tally of what was left out."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Document(NamedTuple):
    id: str  # hash of the text alone: 32 hex digits of BLAKE2b
    text: str  # any Unicode but half surrogate pairs
    source: str  # the file below data.source, and the line in a .jsonl; the same on every machine
    marks: dict[str, Any]  # what later stages note: language, scores, reasons

    @classmethod
    def of(cls, text: str, source: str) -> "Document":
        return cls(hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest(), text, source, {})


@dataclass
class Tally:
    """What collection left out and why, and what it mended."""

    skipped: Counter[str] = field(default_factory=Counter)  # reason -> files or records
    first: dict[str, str] = field(default_factory=dict)  # reason -> the first source it met
    replaced: int = 0  # invalid bytes and half surrogate pairs that became U+FFFD

    def skip(self, reason: str, source: str) -> None:
        self.skipped[reason] += 1
        self.first.setdefault(reason, source)

    def __str__(self) -> str:
        parts = [f"{n:,} {reason} (first {self.first[reason]})" for reason, n in self.skipped.most_common()]
        parts += [f"{self.replaced:,} invalid characters replaced by U+FFFD"] if self.replaced else []
        return "; ".join(parts)
