"""left_out.parquet: a row for each record or file that gave no document, and why.

    source  the source and the file in it       place   where in the file, as its reader says it
    bad     damaged or wrong, not just unwanted reason  as it is counted    detail  what differs in each, and the mend

Rows go to the file as they come, so a file with a million wrong lines needs no more memory than one.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxlm.corpus import table
from jaxlm.corpus.document import LeftOut
from jaxlm.corpus.files import File

NAME = "left_out.parquet"
# How reasons begin that tell of no loss: archives hold records that are no pages, exports pages that are no articles,
# and lines that are cut may be all of a text.
_EXPECTED = ("a web record", "a web response", "a wiki page", "a description or cache", "no text")
_DETAIL = 500  # characters: an error may hold the whole record
_ROW = table.schema(source="string", place="string", bad="bool", reason="string", detail="string")


class Rows:
    """Writes what a Tally tells."""

    def __init__(self, file: table.Writer, source: str):
        self._rows, self._source = file, source
        self._file: File | None = None

    def following(self, files: Iterable[File]) -> Iterator[File]:
        """`files`; what is told while one of them is at hand is of that one."""
        for self._file in files:
            yield self._file

    def __call__(self, one: LeftOut) -> None:
        name, place = f"{self._source}/{one.where}", ""
        if self._file is not None:
            name, place = f"{self._source}/{self._file.name}", _place(one.where, self._file)
        detail = one.detail.removeprefix(":").removeprefix(";").strip()[:_DETAIL]
        self._rows.add({"source": name, "place": place, "bad": one.bad, "reason": one.reason, "detail": detail})


def _place(where: str, file: File) -> str:
    """`where` without the file, whose path is another on another machine.

    >>> _place("/data/a.jsonl, line 3", File("a.jsonl", Path("/data/a.jsonl"), 9))
    'line 3'
    """
    for known in (str(file.path), file.name):
        if where.startswith(known):
            return where.removeprefix(known).lstrip(",: ")
    return where


@contextmanager
def rows(path: Path, source: str) -> Iterator[Rows]:
    """Those of a part, written whole at its end."""
    with table.Writer(path, _ROW) as file:
        yield Rows(file, source)


def first(parts: Iterable[Path], count: int) -> list[str]:
    """`file, place: reason` of the first rows of all parts, in order."""
    found = itertools.islice((row for part in parts for row in table.each_row(part)), count)
    return [f"{', '.join(filter(None, (row['source'], row['place'])))}: {row['reason']}" for row in found]


def join(planned: Sequence[tuple[str, LeftOut]], parts: Iterable[Path], path: Path) -> None:
    """One file of all parts, after what was left out before any file was read, each with its source."""
    before = path.with_name(path.name + ".planned")
    with table.Writer(before, _ROW) as file:
        for source, one in planned:
            Rows(file, source)(one)
    table.join([before, *parts], path, _ROW)
    before.unlink()


def lost(path: Path) -> dict[str, dict[str, Any]]:
    """{source: count, the commonest reason, its count and the first file} of a joined file, but for what has to go."""
    reasons: dict[str, Counter[str]] = {}
    first: dict[tuple[str, str], str] = {}
    for row in table.each_row(path, ["source", "reason"]):
        if not row["reason"].startswith(_EXPECTED):
            name = row["source"].partition("/")[0]
            reasons.setdefault(name, Counter())[row["reason"]] += 1
            first.setdefault((name, row["reason"]), row["source"])
    found = {}
    for name, counts in reasons.items():
        ((reason, most),) = counts.most_common(1)
        found[name] = {"count": counts.total(), "reason": reason, "most": most, "first": first[name, reason]}
    return found
