"""Whose turn it is: rows of several components, each as often as its share says, at every point and not on average.

Shares are whole numbers of turns out of a period. Among the first p turns each component has fewer than one more or
less than its share of p, for every p: turn m of a component with share w falls after (m - 1) / w and no later than
m / w, rounded up. Earliest-deadline-first always meets these deadlines, because the shares sum to 1 (Tijdeman 1980,
"The chairman assignment problem"; Baruah et al. 1996, "Proportionate progress"). One period is computed when training
starts and repeats; after it all counts are exact. So who comes at turn p, and how often it came before, is arithmetic,
however large p is, and so is where each component stands when the shares change at some turn.

Left out: chance. Rows of a component are shuffled (data/order.py), their turns need not be.
"""

import functools
import heapq
import itertools
import math
from collections.abc import Sequence

import numpy as np

PERIOD = 65_536  # chosen: shares are right to 1 in 65,536 turns, and a period takes 0.1 s to compute


def turns(shares: np.ndarray, period: int = PERIOD) -> tuple[int, ...]:
    """`shares`, in proportion, as whole turns without a common divisor; at least one of a period where over 0.

    What is rounded off goes to the largest remainders.

    >>> turns(np.array([0.5, 0.3, 0.2]), period=10), turns(np.array([3.0, 0.0, 1.0]))
    ((5, 3, 2), (3, 0, 1))
    """
    exact = shares / shares.sum() * period
    whole = np.where(shares > 0, np.maximum(np.floor(exact), 1), 0).astype(np.int64)
    left = period - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[: max(left, 0)]] += 1
    whole[np.argmax(whole)] += min(left, 0)  # what components under one turn took
    return tuple((whole // math.gcd(*whole.tolist())).tolist())


@functools.lru_cache(maxsize=64)
def period(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(component, how often it came before in this period) of each turn of a period with so many of each."""
    length = sum(counts)
    may_come: list[list[int]] = [[] for _ in range(length + 1)]  # turn -> components, from when on they may have it
    may_come[0] = [number for number, count in enumerate(counts) if count]
    waiting: list[tuple[int, int, int]] = []  # (deadline, turn from when on, component)
    came = [0] * len(counts)
    component, before = np.empty(length, np.int64), np.empty(length, np.int64)
    for turn in range(length):
        for number in may_come[turn]:
            heapq.heappush(waiting, (-(-(came[number] + 1) * length // counts[number]), turn, number))
        *_, number = heapq.heappop(waiting)
        component[turn], before[turn] = number, came[number]
        came[number] += 1
        if came[number] < counts[number]:
            may_come[max(turn + 1, came[number] * length // counts[number])].append(number)
    component.flags.writeable = before.flags.writeable = False
    return component, before


class Interleave:
    """The turns of all stages: stage i begins at turn begins[i], the first at 0, with counts[i] a period.

    A component goes on in a stage with the row after its last one in the stage before.
    """

    def __init__(self, begins: Sequence[int], counts: Sequence[tuple[int, ...]]):
        self._begins, self._counts = list(begins), [np.array(of_stage) for of_stage in counts]
        self._periods = [period(of_stage) for of_stage in counts]
        self._before = [np.zeros(len(counts[0]), np.int64)]  # turns of each component before each stage
        for stage, (start, stop) in enumerate(itertools.pairwise(self._begins)):
            self._before.append(self._before[-1] + self._of_stage(stage, stop - start))

    def __call__(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(component, how often it came before) of turns start to stop - 1."""
        parts = []
        for stage, begin in enumerate(self._begins):
            end = self._begins[stage + 1] if stage + 1 < len(self._begins) else stop
            first, last = max(start, begin) - begin, min(stop, end) - begin
            if first < last:
                parts.append(self._turns(stage, np.arange(first, last)))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def before(self, turn: int) -> np.ndarray:
        """How often each component came before `turn`."""
        stage = max(number for number, begin in enumerate(self._begins) if begin <= turn)
        return self._before[stage] + self._of_stage(stage, turn - self._begins[stage])

    def _turns(self, stage: int, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        component, before = self._periods[stage]
        whole, rest = np.divmod(turn, component.size)
        number = component[rest]
        return number, before[rest] + whole * self._counts[stage][number] + self._before[stage][number]

    def _of_stage(self, stage: int, turn: int) -> np.ndarray:
        component, _ = self._periods[stage]
        whole, rest = divmod(turn, component.size)
        return whole * self._counts[stage] + np.bincount(component[:rest], minlength=self._counts[stage].size)
