"""The profile of some documents: counts by length, language, licence and year, small and made to be added up.

Every fact is an object of objects of counts, so those of a corpus are the sums of those of its parts, and need the
memory of one part's, however many there are. Lengths are counted by powers of two: bin n holds 2**(n-1) up to 2**n - 1
characters, exact on every machine.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

LICENCES = 100  # of a part that are named: chosen; a field with an address for each document would have thousands
OTHERS = "others"
_LICENCE = 80  # characters of its name
_YEAR = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)")  # printed books are since the 1450s


class Profile:
    """Of the documents that were added."""

    def __init__(self) -> None:
        self.totals = Counter(documents=0, bytes=0, characters=0, words=0)
        self.languages: dict[str, Counter[str]] = {}
        self.lengths: dict[str, Counter[str]] = {}
        self.licences: Counter[str] = Counter()
        self.years: Counter[str] = Counter()

    def add(self, text: str, size: int, words: int, language: str, marks: Mapping[str, Any]) -> None:
        """`size` is in bytes."""
        self.totals.update(documents=1, bytes=size, characters=len(text), words=words)
        self.languages.setdefault(language, Counter()).update(documents=1, bytes=size)
        self.lengths.setdefault(language, Counter())[str(len(text).bit_length())] += 1
        if licence := marks.get("licence"):
            self.licences[str(licence)[:_LICENCE]] += 1
        if year := _YEAR.search(str(marks.get("date") or "")):
            self.years[year[0]] += 1

    def facts(self) -> dict[str, Any]:
        return {
            "totals": dict(self.totals),
            "languages": {name: dict(counts) for name, counts in self.languages.items()},
            "lengths": {name: dict(counts) for name, counts in self.lengths.items()},
            "licences": commonest(self.licences, LICENCES),
            "years": dict(self.years),
        }


def commonest(counts: Mapping[str, int], most: int) -> dict[str, int]:
    """The `most` largest counts, and the sum of the rest; of equals the first by name.

    >>> commonest({"CC0": 3, "MIT": 2, "GPL": 2, "BSD": 1}, 2)
    {'CC0': 3, 'GPL': 2, 'others': 3}
    """
    ordered = sorted(counts.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    rest = sum(count for _, count in ordered[most:])
    return dict(ordered[:most]) | ({OTHERS: rest} if rest else {})


def add(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add counts to `total`, name by name and level by level.

    >>> total = {"en": {"documents": 1}}
    >>> add(total, {"en": {"documents": 2}, "de": {"documents": 4}})
    >>> total
    {'en': {'documents': 3}, 'de': {'documents': 4}}
    """
    for name, value in more.items():
        if isinstance(value, Mapping):
            add(total.setdefault(name, {}), value)
        else:
            total[name] = total.get(name, 0) + value
