"""How far the probabilities of a classifier can be trusted: do they order, and are they met?

`auc`                the chance that a text of a class is given more probability of it than one of another class
                     (Hanley & McNeil 1982; ties count half); of several classes the mean, each against the rest
`calibration_error`  |share that is right - mean probability| of the likeliest class, over bins of that probability
                     weighted by texts (Guo et al. 2017, arXiv:1706.04599, section 2, with their 15 bins)
`brier`              squared distance of the probabilities from what was true, summed over classes (Brier 1950)
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlm.batch import Batch
from jaxlm.losses import logits
from jaxlm.models.family import Family

BINS = 15


class Bin(NamedTuple):
    """Texts whose likeliest class has a probability within the same fifteenth."""

    probability: float  # mean
    right: float  # share
    texts: int


class Trust(NamedTuple):
    auc: float | None  # None: all texts are of one class
    brier: float
    calibration_error: float
    calibration: list[Bin]  # least sure first; empty bins are left out


def probabilities(family: Family) -> Callable[[Any, Batch], jax.Array]:
    """`f(params, batch)`: of each text that is asked about, those of the classes; whoever knows the mesh jits it."""
    return lambda params, batch: jax.nn.softmax(logits(family, params, batch))


def trust(of_batch: Callable[[Any, Batch], Any], params: Any, batches: Iterable[Batch]) -> Trust:
    """The Trust in `params` over all texts of `batches` that have a label."""
    found, true = [], []
    for batch in batches:
        asked = np.asarray(batch.weight) > 0
        found.append(np.asarray(of_batch(params, batch), np.float64)[asked])
        true.append(np.asarray(batch.target)[asked])
    return from_texts(np.concatenate(found), np.concatenate(true))


def from_texts(probability_TC: np.ndarray, true_T: np.ndarray) -> Trust:
    """Of T texts: what the model gave to each of C classes, and which it is."""
    texts, classes = probability_TC.shape
    right_TC = true_T[:, None] == np.arange(classes)
    areas = [auc(probability_TC[:, c], right_TC[:, c]) for c in range(classes)]
    known = [area for area in areas if area is not None]
    likeliest_T, sure_T = probability_TC.argmax(1), probability_TC.max(1)
    bin_T = np.minimum((sure_T * BINS).astype(int), BINS - 1)
    hit_T = likeliest_T == true_T
    filled = [(sure_T[bin_T == b], hit_T[bin_T == b]) for b in np.unique(bin_T)]
    bins = [Bin(float(sure.mean()), float(hit.mean()), len(sure)) for sure, hit in filled]
    return Trust(
        auc=float(np.mean(known)) if known else None,
        brier=float(((probability_TC - right_TC) ** 2).sum(1).mean()),
        calibration_error=sum(abs(b.right - b.probability) * b.texts for b in bins) / texts,
        calibration=bins,
    )


def auc(score_T: np.ndarray, is_T: np.ndarray) -> float | None:
    """The area under the curve of `score_T` as a test of `is_T`; None where all are, or none is.

    >>> auc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    yes = int(is_T.sum())
    if yes in (0, len(is_T)):
        return None
    _, place_T, count = np.unique(score_T, return_inverse=True, return_counts=True)
    rank_T = (np.cumsum(count) - (count - 1) / 2)[place_T]  # from 1; equal scores share the mean of theirs
    return float((rank_T[is_T].sum() - yes * (yes + 1) / 2) / (yes * (len(is_T) - yes)))
