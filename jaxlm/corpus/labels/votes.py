"""Votes: who said of which item that it is of which class. An abstention is a vote that is not there.

Dimensions: I items, A annotators, K classes, N votes. An annotator is a rule or a person.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


class Votes(NamedTuple):
    """One after the other, sorted by item; somebody may have voted on an item more than once."""

    items: int
    annotators: tuple[str, ...]
    classes: tuple[str, ...]
    item_N: np.ndarray
    annotator_N: np.ndarray
    class_N: np.ndarray

    @classmethod
    def of(
        cls,
        items: int,
        annotators: Sequence[str],
        classes: Sequence[str],
        votes: Sequence[tuple[int, int, int]] | np.ndarray,
    ) -> "Votes":
        """Of (item, annotator, class), each by its number."""
        rows = np.array(votes, np.int64).reshape(-1, 3)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        return cls(items, tuple(annotators), tuple(classes), *np.ascontiguousarray(rows.T))

    def where(self, kept_N: np.ndarray) -> "Votes":
        """Those votes alone."""
        return self._replace(
            item_N=self.item_N[kept_N], annotator_N=self.annotator_N[kept_N], class_N=self.class_N[kept_N]
        )

    def by(self, chosen_A: Bool[np.ndarray, " A"]) -> "Votes":
        """The votes of some annotators; all keep their numbers."""
        return self.where(chosen_A[self.annotator_N])

    def single(self) -> "Votes":
        """The last vote of each annotator on each item: second thoughts count."""
        place_N = self.item_N * len(self.annotators) + self.annotator_N
        _, backwards = np.unique(place_N[::-1], return_index=True)
        return self.where(np.sort(len(place_N) - 1 - backwards))

    def counts(self) -> Int[np.ndarray, "I K"]:
        """Votes for each class on each item."""
        size = self.items * len(self.classes)
        return np.bincount(self.item_N * len(self.classes) + self.class_N, minlength=size).reshape(self.items, -1)

    def table(self) -> Int[np.ndarray, "I A"]:
        """The class each annotator voted for last, or -1."""
        found_IA = np.full((self.items, len(self.annotators)), -1)
        last = self.single()
        found_IA[last.item_N, last.annotator_N] = last.class_N
        return found_IA
