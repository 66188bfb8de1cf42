"""How far annotators agree beyond what chance would give: 1 is always, 0 is as chance.

Cohen 1960 (Educational and Psychological Measurement 20:37-46): two annotators, each with a taste of its own.
Fleiss 1971 (Psychological Bulletin 76:378-382): many, as many for each item, one taste for all.
Krippendorff 2011 ("Computing Krippendorff's alpha-reliability", repository.upenn.edu/asc_papers/43): any number for
each item, and classes that have an order or are numbers. None where a coefficient is 0/0: nothing to compare, or only
one class was ever named.

Dimensions: I items, K classes. Left out: weighted kappa, confidence intervals, alpha for ratios.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from jaxlm.errors import UserError

Level = Literal["nominal", "ordinal", "interval"]


def cohen_kappa(first_I: Int[np.ndarray, " I"], second_I: Int[np.ndarray, " I"], classes: int) -> float | None:
    """Of two annotators: the numbers of the classes they named on the same items.

    >>> round(cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0]), 2), 6)
    0.5
    """
    table_KK = np.bincount(first_I * classes + second_I, minlength=classes**2).reshape(classes, classes)
    return _beyond_chance(np.trace(table_KK), table_KK.sum(axis=0) @ table_KK.sum(axis=1), len(first_I), 1)


def _beyond_chance(equal: np.integer, by_chance: np.integer, items: int, pairs: int) -> float | None:
    """(observed - expected) / (1 - expected), in whole numbers as long as it can be."""
    whole = items**2 * pairs**2
    if not items or int(by_chance) == whole:
        return None
    observed, expected = int(equal) / (items * pairs), int(by_chance) / whole
    return (observed - expected) / (1 - expected)


def fleiss_kappa(counts_IK: Int[np.ndarray, "I K"]) -> float | None:
    """Of votes for each class on each item, as many on each: UserError where they are not."""
    votes_I = counts_IK.sum(axis=1)
    if not votes_I.size or votes_I.max() < 2:
        return None
    votes = int(votes_I[0])
    if (votes_I != votes).any():
        other = int((votes_I != votes).argmax())
        raise UserError(
            f"item 0 has {votes} votes and item {other} has {votes_I[other]}, but Fleiss' kappa needs as many on each: "
            f"take Krippendorff's alpha"
        )
    agreeing = int((counts_IK * (counts_IK - 1)).sum()) / (votes * (votes - 1))
    totals_K = counts_IK.sum(axis=0)
    items = len(votes_I)
    chance = int(totals_K @ totals_K) / (items * votes) ** 2
    return None if int(totals_K.max()) == items * votes else (agreeing / items - chance) / (1 - chance)


def krippendorff_alpha(
    counts_IK: Int[np.ndarray, "I K"], level: Level = "nominal", values: Sequence[int | float] | None = None
) -> float | None:
    """Of votes for each class on each item, any number of them; `values` are the classes' numbers, of intervals.

    >>> counts = np.array([[2, 0], [0, 2], [1, 1], [1, 0]])
    >>> round(krippendorff_alpha(counts), 6)
    0.444444
    """
    paired_UK = counts_IK[counts_IK.sum(axis=1) > 1].astype(float)  # one vote alone can be compared with none
    weighted_UK = paired_UK / (paired_UK.sum(axis=1, keepdims=True) - 1)
    coincidences_KK = weighted_UK.T @ paired_UK - np.diag(weighted_UK.sum(axis=0))
    total_K = paired_UK.sum(axis=0)
    distance_KK = _distances(total_K, level, values)
    expected = total_K @ distance_KK @ total_K
    if not expected:
        return None
    return float(1 - (total_K.sum() - 1) * (coincidences_KK * distance_KK).sum() / expected)


def _distances(total_K: Float[np.ndarray, " K"], level: Level, values: Sequence[int | float] | None) -> np.ndarray:
    """Squared, of each class to each."""
    if level == "nominal":
        return 1.0 - np.eye(len(total_K))
    if level == "interval":
        assert values is not None
        return np.subtract.outer(np.array(values, float), np.array(values, float)) ** 2
    middle_K = np.cumsum(total_K) - total_K / 2  # of the votes in order: half of each end's own lie between
    return np.subtract.outer(middle_K, middle_K) ** 2
