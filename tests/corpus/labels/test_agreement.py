"""Coefficients of agreement: the examples that were published with them, and their definitions spelled out."""

import itertools

import krippendorff
import numpy as np
import pytest

from jaxlm.corpus.labels.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from jaxlm.errors import UserError

# Ten subjects and fourteen raters: the worked example of many texts on Fleiss' kappa, which they give as 0.210.
FOURTEEN = np.array([
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
])  # fmt: skip

# Krippendorff 2011, part C: four observers, twelve units, values missing (0).
OBSERVERS = np.array([
    [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0], [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
    [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0], [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
])  # fmt: skip


def counts_of(units: np.ndarray, classes: int) -> np.ndarray:
    """Of a table of units by observers, with -1 where there is no value."""
    return np.stack([(units == k).sum(axis=1) for k in range(classes)], axis=1)


def test_cohens_kappa_of_fifty_proposals_is_as_published():
    """Two readers of 50 proposals: both yes 20, both no 15, they differ 5 and 10 times; kappa is 0.4."""
    first = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    np.testing.assert_allclose(cohen_kappa(first, second, 2), 0.4, atol=1e-12)


def test_fleiss_kappa_of_fourteen_raters_is_as_published():
    np.testing.assert_allclose(fleiss_kappa(FOURTEEN), 0.210, atol=5e-4)


@pytest.mark.parametrize("level, published", [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_alpha_of_his_own_example_is_as_published(level, published):
    found = krippendorff_alpha(counts_of(OBSERVERS.T - 1, 5), level, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(found, published, atol=5e-4)


def by_definition(units: np.ndarray, level: str) -> float:
    """Alpha as 1 - observed / expected disagreement, over every pair of values there is."""
    pairable = [[int(v) for v in unit if v >= 0] for unit in units]
    pairable = [unit for unit in pairable if len(unit) > 1]
    values = list(itertools.chain(*pairable))
    within = lambda c, k: sum(values.count(g) for g in range(min(c, k), max(c, k) + 1))
    distance = {
        "nominal": lambda c, k: float(c != k),
        "interval": lambda c, k: float((c - k) ** 2),
        "ordinal": lambda c, k: (within(c, k) - (values.count(c) + values.count(k)) / 2) ** 2 if c != k else 0.0,
    }[level]
    observed = sum(
        distance(a, b) / (len(unit) - 1) for unit in pairable for a, b in itertools.permutations(unit, 2)
    ) / len(values)
    expected = sum(distance(a, b) for a, b in itertools.permutations(values, 2)) / (len(values) * (len(values) - 1))
    return 1 - observed / expected


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_its_definition(level, seed):
    units = np.random.default_rng(seed).integers(-1, 4, (12, 4))
    np.testing.assert_allclose(
        krippendorff_alpha(counts_of(units, 4), level, range(4)), by_definition(units, level), rtol=1e-9
    )


def test_kappa_is_its_definition():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / 40
    expected = sum((first == k).sum() * (second == k).sum() for k in range(3)) / 40**2
    np.testing.assert_allclose(cohen_kappa(first, second, 3), (observed - expected) / (1 - expected), rtol=1e-12)


def test_fleiss_kappa_of_two_is_kappa_with_one_taste_for_both():
    """Scott's pi: the share of each class is taken over both."""
    units = np.random.default_rng(1).integers(0, 3, (40, 2))
    observed = (units[:, 0] == units[:, 1]).mean()
    expected = sum((units == k).mean() ** 2 for k in range(3))
    found = fleiss_kappa(counts_of(units, 3))
    np.testing.assert_allclose(found, (observed - expected) / (1 - expected), rtol=1e-12)


def test_who_always_agrees_has_one_and_who_never_does_less_than_nothing():
    same, other = np.array([0, 1, 2, 1]), np.array([1, 2, 0, 0])
    assert cohen_kappa(same, same, 3) == 1.0
    assert cohen_kappa(same, other, 3) < 0
    counts = counts_of(np.stack([same, same], axis=1), 3)
    assert fleiss_kappa(counts) == 1.0 and krippendorff_alpha(counts) == 1.0


def test_what_cannot_be_told_is_none():
    nothing, always = np.zeros(0, np.int64), np.zeros(5, np.int64)
    assert cohen_kappa(nothing, nothing, 2) is None and cohen_kappa(always, always, 2) is None
    assert fleiss_kappa(np.array([[2, 0], [2, 0]])) is None and fleiss_kappa(np.zeros((0, 2), np.int64)) is None
    assert krippendorff_alpha(np.array([[3, 0], [2, 0]])) is None
    assert krippendorff_alpha(np.array([[1, 0], [0, 1]])) is None


def test_fleiss_kappa_refuses_items_with_fewer_votes():
    with pytest.raises(UserError, match=r"item 0 has 2 votes and item 1 has 1.*take Krippendorff's alpha"):
        fleiss_kappa(np.array([[2, 0], [0, 1]]))


def test_alpha_is_that_of_the_package_of_its_name():
    values = np.where(OBSERVERS > 0, OBSERVERS, np.nan)
    for level in ("nominal", "ordinal", "interval"):
        ours = krippendorff_alpha(counts_of(OBSERVERS.T - 1, 5), level, [1, 2, 3, 4, 5])
        theirs = krippendorff.alpha(reliability_data=values, level_of_measurement=level)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
