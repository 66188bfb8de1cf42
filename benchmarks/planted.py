"""Documents made of real sentences with planted edits, and the true Jaccard of what was planted.

Shingles here are tuples of words by a rule of their own lines, so that no number depends on jaxlm's hashing.
Imports no jaxlm: the peer reads the same documents.
"""

import json
import lzma
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SHINGLE = 5  # words


class Planted(NamedTuple):
    id: str
    text: str
    original: str  # id; "" for an original
    jaccard: float  # with it


def book(path: Path) -> str:
    """Lower-case letters and spaces of a book of Project Gutenberg, sentences a line, its licence left out."""
    text = lzma.decompress(path.read_bytes()).decode("latin-1")
    text = text.split("*** START OF")[-1].split("*** END OF")[0]
    lines = (re.sub(r"[^a-z ]", "", one) for one in re.split(r"[.!?;]\s", re.sub(r"\s+", " ", text).lower()))
    return "\n".join(" ".join(line.split()) for line in lines if line.strip())


def documents_of(text: str, words: int) -> list[list[str]]:
    every = text.split()
    return [every[i : i + words] for i in range(0, len(every) - words + 1, words)]


def shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + SHINGLE]) for i in range(max(len(words) - SHINGLE + 1, 1))}


def jaccard(a: list[str], b: list[str]) -> float:
    x, y = shingles(a), shingles(b)
    return len(x & y) / len(x | y)


def edited(words: list[str], target: float, pool: list[str], rng: random.Random) -> list[str]:
    """A copy whose Jaccard with `words` is about `target`: an exchanged word away from others costs a shingle each
    of its places, so J = (n - 5k) / (n + 5k)."""
    changes = round(len(words) * (1 - target) / (SHINGLE * (1 + target)))
    copy = list(words)
    for place in rng.sample(range(len(words)), changes):
        copy[place] = rng.choice(pool)
    return copy


def pairs(originals: list[list[str]], seed: int) -> list[Planted]:
    """Each original and one copy, of a target uniform in 0.5 to 1."""
    rng, pool = random.Random(seed), [word for words in originals for word in words]
    found = []
    for number, words in enumerate(originals):
        copy = edited(words, rng.uniform(0.5, 1.0), pool, rng)
        found.append(Planted(f"original-{number}", " ".join(words), "", 1.0))
        found.append(Planted(f"copy-{number}", " ".join(copy), f"original-{number}", jaccard(words, copy)))
    return found


def of_sentences(
    sentences: list[str], documents: int, each: int, copies: float, seed: int
) -> Iterator[tuple[str, str, str]]:
    """(id, text, id of the original): `each` random sentences; a share of `copies` edits one of the last 10,000."""
    rng, recent = random.Random(seed), []
    pool = " ".join(sentences[:2_000]).split()
    for number in range(documents):
        if recent and rng.random() < copies:
            original, words = recent[rng.randrange(len(recent))]
            yield f"d{number}", " ".join(edited(words, rng.uniform(0.5, 1.0), pool, rng)), original
            continue
        words = " ".join(rng.choices(sentences, k=each)).split()
        recent.append((f"d{number}", words))
        recent = recent[-10_000:] if len(recent) > 11_000 else recent
        yield f"d{number}", " ".join(words), ""


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in rows))


def read(path: Path) -> list[tuple[str, str]]:
    return [(row["id"], row["text"]) for row in map(json.loads, path.read_text().splitlines())]
