"""Why a run would end, as far as a corpus of a sample tells: `sample.lenient` made it, so that nothing ended it.

Of duplicates it is what the caps compare (duplicates/cap.py), counted again from what went: documents whose first
reason they are, and of passages the share that was cut of each document. A sample holds fewer of them than the whole.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from jaxlm.corpus import table
from jaxlm.corpus.config import CorpusConfig
from jaxlm.corpus.finished import Corpus
from jaxlm.corpus.summary import nothing_left

LEAST = 20  # documents of a source in the sample: chosen; the share of fewer says little
_BEFORE = ("language", "quality", "personal", "score")  # stages


def would_end(cfg: CorpusConfig, made: Corpus) -> list[str]:
    """Why a run would end, were all like the sample that `made` is of."""
    said, collect = [], made.manifest["stages"]["collect"]
    total = collect["counts"]["records"] + collect["bad"]
    if collect["bad"] > cfg.bad_records * total:
        share = f"{collect['bad']:,} of {total:,} records ({collect['bad'] / total:.2%})"
        said.append(
            f"{share} are bad, more than bad_records={cfg.bad_records:g} bears: mend or remove them, or raise it"
        )
    if why := nothing_left(cfg.name, made.manifest["summary"]):
        said.append(f"{why.partition('; --dry-run')[0]}, or the run ends without a corpus")
    return [*said, *_over_caps(cfg, made)]


def _over_caps(cfg: CorpusConfig, made: Corpus) -> Iterator[str]:
    stay = [(row["source"], len(row["text"])) for row in _rows(made, "documents")]
    gone: dict[str, dict[str, Any]] = {}
    for row in _rows(made, "removed"):
        gone.setdefault(row["source"], row)  # the first reason is the one that counts
    left = Counter(_name(source) for source, _ in stay)
    left.update(_name(source) for source, why in gone.items() if why["stage"] not in _BEFORE)
    copies = [(_name(source), why["reason"]) for source, why in gone.items() if why["stage"] == "duplicates"]
    exact = Counter(name for name, reason in copies if reason == "exact duplicate")
    near = Counter(name for name, reason in copies if reason == "near duplicate")
    emptied = Counter(name for name, reason in copies if reason not in ("exact duplicate", "near duplicate"))
    cut = _cut(made, dict(stay))
    passages = {name: emptied[name] + cut.get(name, 0.0) for name in {*emptied, *cut}}
    kinds = (("exact", exact, exact), ("passages", passages, emptied), ("near", near, near))
    for kind, taken, went in kinds:
        how: Any = getattr(cfg.duplicates, kind)  # None: nothing was taken
        for name in sorted(taken):
            share = taken[name] / left[name]
            if left[name] >= LEAST and share > how.cap.share:
                yield (
                    f"source {name!r}: of the {left[name]:,} documents that duplicates.{kind} looked at, a share of "
                    f"{share:.2f} would be removed, above duplicates.{kind}.cap.share={how.cap.share:g}, which ends a "
                    f"run that finds {how.cap.documents:,} documents or more: look at its samples"
                )
        left -= went


def _cut(made: Corpus, lengths: dict[str, int]) -> dict[str, float]:
    """{source: documents' worth of passages that duplicates took out of what stays}."""
    characters, found = Counter(), {}
    for row in _rows(made, "cut"):
        if row["stage"] == "duplicates":
            characters[row["source"]] += row["end"] - row["start"]
    for source, count in characters.items():
        found[_name(source)] = found.get(_name(source), 0.0) + count / (count + lengths[source])
    return found


def _name(source: str) -> str:
    return source.partition("/")[0]


def _rows(made: Corpus, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted((made.folder / kind).glob("*.parquet")):
        yield from table.read_rows(path)
