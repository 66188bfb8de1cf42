"""Components: what a document counts to where text is mixed, its source and its language.

Shards hold a number for each document and kind of component, u16, and their manifest the names, in the order in which
they were met. Which names a document has is decided where text is read (corpus/document.py).
"""

from typing import Literal

By = Literal["source", "language"]
KINDS: tuple[By, ...] = ("source", "language")

MOST = 4_096  # names of a kind: chosen, more than anybody weighs; a field that differs in each record has more
OTHERS = "(others)"  # the name of what comes after those
LONGEST = 100  # characters of a name: chosen, a field that holds texts is no name


class Names:
    """Gives each name of a kind its number."""

    def __init__(self) -> None:
        self._numbers: dict[By, dict[str, int]] = {by: {} for by in KINDS}

    def numbers(self, names: tuple[str, str]) -> tuple[int, int]:
        """Of (source, language)."""
        source, language = (self._number(by, name[:LONGEST]) for by, name in zip(KINDS, names, strict=True))
        return source, language

    def facts(self) -> dict[str, list[str]]:
        """{kind: names}, for the manifest."""
        return {by: list(numbers) for by, numbers in self._numbers.items()}

    def _number(self, by: By, name: str) -> int:
        numbers = self._numbers[by]
        if name not in numbers and len(numbers) >= MOST - 1:
            name = OTHERS
        return numbers.setdefault(name, len(numbers))
