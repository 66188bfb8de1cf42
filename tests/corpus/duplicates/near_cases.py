"""Documents with planted near duplicates, and the rules written out over all pairs."""

import random
from collections.abc import Sequence

from jaxlm.corpus.duplicates.config import NearConfig
from jaxlm.corpus.duplicates.part import Row

VOCABULARY = [f"{a}{b}{c}" for a in "bdfghjkp" for b in "aeiou" for c in "lmnrstvx"]  # 320, without a digit


def edited(words: list[str], share: float, rng: random.Random) -> list[str]:
    return [rng.choice(VOCABULARY) if rng.random() < share else word for word in words]


def corpus(originals: int, copies: int, seed: int = 0) -> list[Row]:
    """Families of texts of 30 to 60 words whose members differ in up to a tenth of their words."""
    rng = random.Random(seed)
    rows = []
    for family in range(originals):
        words = rng.choices(VOCABULARY, k=rng.randint(30, 60))
        for copy in range(1 + rng.randint(0, copies)):
            source = rng.choice(["books", "web"])
            text = " ".join(edited(words, rng.choice([0.0, 0.01, 0.03, 0.1]), rng))
            rows.append(Row(f"{family}-{copy}", text, source, priority=int(source == "web")))
    return rows


def shingle_set(text: str, length: int = 5) -> set[tuple[str, ...]]:
    """Of a text of plain lower-case words."""
    words = text.split()
    return {tuple(words[i : i + length]) for i in range(max(len(words) - length + 1, 1))} if words else set()


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b) if a or b else 0.0


def certain(**more) -> NearConfig:
    """So many bands that no pair at the threshold is missed: 1 - (1 - 0.75^2)^64 = 1 - 10^-23."""
    return NearConfig(bands=64, rows=2, **more)


def silent(done: int, total: int | None, what: str) -> None:
    """Progress that nobody looks at."""


def cut(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]
