"""Trust in a classifier's probabilities: each number is what its definition says."""

import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.evaluation.classes import auc, from_texts, trust

RNG = np.random.default_rng(0)


def test_auc_is_the_share_of_pairs_in_order():
    score, is_it = RNG.integers(0, 9, 60) / 9, RNG.random(60) < 0.4  # with many ties
    yes, no = score[is_it], score[~is_it]
    wanted = np.mean((yes[:, None] > no[None]) + 0.5 * (yes[:, None] == no[None]))
    assert auc(score, is_it) == pytest.approx(wanted)
    assert auc(-score, is_it) == pytest.approx(1 - wanted)
    assert auc(score, np.ones(60, bool)) is None


def test_probabilities_that_are_met_have_no_error():
    sure = np.repeat([0.6, 0.9], [100, 50])
    hit = np.concatenate([np.arange(100) < 60, np.arange(50) < 45])
    found = from_texts(np.stack([sure, 1 - sure], axis=1), np.where(hit, 0, 1))
    assert found.calibration_error == pytest.approx(0, abs=1e-12)
    assert [(bin.probability, bin.right, bin.texts) for bin in found.calibration] == [
        (pytest.approx(0.6), 0.6, 100), (pytest.approx(0.9), 0.9, 50),
    ]  # fmt: skip
    assert found.brier == pytest.approx(2 * np.mean((sure - hit) ** 2))


def test_probabilities_that_are_not_met_are_off_by_the_distance():
    always = np.tile([1.0, 0.0, 0.0], (4, 1))
    found = from_texts(always, np.array([0, 0, 0, 2]))
    assert found.calibration_error == pytest.approx(0.25)
    assert found.auc == pytest.approx(0.5)  # of classes 0 and 2; of class 1 there is no text
    assert from_texts(always, np.zeros(4, int)).auc is None


def test_what_is_not_asked_for_does_not_count():
    probability = np.array([[[0.8, 0.2], [0.3, 0.7]], [[0.5, 0.5], [0.1, 0.9]]])
    token = np.zeros((2, 3), np.int32)
    batch = Batch(token, np.array([[0, 0], [0, 1]]), np.array([[1, 0], [0, 1]], np.float32), token, token)
    found = trust(lambda params, batch: probability, None, [batch])
    assert sum(bin.texts for bin in found.calibration) == 2
    assert found.brier == pytest.approx((0.2**2 * 2 + 0.1**2 * 2) / 2)
