"""One class for each item, from votes that differ: by majority, or by Dawid and Skene's model of who errs how.

Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied
Statistics 28:20-28. An item is of class k with probability `prior_K`; an annotator answers r to an item of class k
with probability `answers_AKR`; answers are independent given the class. EM begins with the shares of the votes, as
their equation 3.1 does. Two things are ours:

- Smoothing s adds s to each count of the M step: it is the step of EM for the posterior under Dirichlet(1 + s)
  priors, whose density is what never falls. 0 is their maximum likelihood.
- Whoever was asked of every item, as a rule is, answers by silence too: silence is one more answer. A rule that only
  ever votes for one class would otherwise tell nothing, as its vote would be certain whatever the class.

Dimensions: I items, A annotators, K classes, R answers (the classes, then silence), N answers given,
V items with a vote, P patterns of votes.

Left out: annotators who copy each other, and items that are harder than others. Rules that look at the same words
are taken for independent witnesses, and the probabilities are too sure then.
"""

from typing import Annotated, Literal, NamedTuple

import numpy as np
import pydantic
from jaxtyping import Bool, Float, Int

from jaxlm.config import Config
from jaxlm.corpus.labels.votes import Votes

_EQUAL = 1e-9  # of two probabilities: chosen, far above what sums of floats are off
NO_VOTES, TIE, UNSURE = -1, -2, -3
STATES = {NO_VOTES: "no votes", TIE: "tie", UNSURE: "unsure"}


class Majority(Config):
    """The class with most votes; where two have as many, none."""

    kind: Literal["majority"] = "majority"


class DawidSkene(Config):
    """Votes weighed by how its annotator errs, which is learned from who agrees with whom."""

    kind: Literal["dawid_skene"] = "dawid_skene"
    smoothing: float = pydantic.Field(default=0.1, ge=0)  # votes; chosen: an error not seen yet forbids no class
    rounds: int = pydantic.Field(default=200, gt=0)  # most; chosen: the paper's data need 12
    tolerance: float = pydantic.Field(default=1e-6, ge=0)  # nats an item: a smaller gain ends it; chosen


ModelConfig = Annotated[Majority | DawidSkene, pydantic.Field(discriminator="kind")]


class Consensus(NamedTuple):
    """What a label model says."""

    posterior_IK: np.ndarray  # rows of items without votes are 0
    prior_K: np.ndarray
    answers_AKR: np.ndarray | None = None  # None: the model knows no annotators
    objective: tuple[float, ...] = ()  # nats after each round: log-likelihood, and the logarithm of the priors


def consensus(votes: Votes, cfg: Majority | DawidSkene, asked_A: Bool[np.ndarray, " A"]) -> Consensus:
    """By the model of `cfg`; `asked_A` are annotators that saw every item, as rules do."""
    return majority(votes) if isinstance(cfg, Majority) else dawid_skene(votes, cfg, asked_A)


def majority(votes: Votes) -> Consensus:
    """Shares of the votes.

    >>> votes = Votes.of(2, ["ann", "bob", "cy"], ["bad", "good"], [(0, 0, 1), (0, 1, 1), (0, 2, 0)])
    >>> majority(votes).posterior_IK.round(2).tolist()
    [[0.33, 0.67], [0.0, 0.0]]
    """
    counts_IK = votes.single().counts()
    share_IK = counts_IK / np.maximum(counts_IK.sum(axis=1, keepdims=True), 1)
    return Consensus(share_IK, share_IK.sum(axis=0) / max(share_IK.sum(), 1))


def dawid_skene(votes: Votes, cfg: DawidSkene, asked_A: Bool[np.ndarray, " A"]) -> Consensus:
    """By EM on the items that have a vote; those with the same votes are one, of more weight."""
    voted_V, kind_V, first_P, weight_P = _patterns(votes)
    K, A = len(votes.classes), len(votes.annotators)
    counts_PK = votes.counts()[first_P]
    posterior_PK = counts_PK / counts_PK.sum(axis=1, keepdims=True)
    seen_N, answer_N = _with_silence(votes, first_P, asked_A)
    start_P = np.searchsorted(seen_N, np.arange(first_P.size))
    given_AR = np.ones((A, K + 1), bool)
    given_AR[:, K] = asked_A
    prior_K, answers_AKR, objective = np.full(K, 1 / K), np.full((A, K, K + 1), 1 / (K + 1)), []
    for _ in range(cfg.rounds if voted_V.size else 0):
        prior_K, answers_AKR = _maximised(posterior_PK * weight_P[:, None], seen_N, answer_N, given_AR, cfg.smoothing)
        with np.errstate(divide="ignore"):  # the logarithm of 0 is right here: such an answer rules its class out
            log_K, log_AKR = np.log(prior_K), np.log(answers_AKR)
        log_GK = log_AKR.transpose(0, 2, 1).reshape(-1, K)  # G: annotator and answer
        joint_PK = np.add.reduceat(log_GK[answer_N], start_P) + log_K
        most_P1 = joint_PK.max(axis=1, keepdims=True)
        posterior_PK = np.exp(joint_PK - most_P1)
        sum_P1 = posterior_PK.sum(axis=1, keepdims=True)
        posterior_PK /= sum_P1
        told = float(weight_P @ (most_P1 + np.log(sum_P1))[:, 0])
        if cfg.smoothing:
            told += cfg.smoothing * float(log_K.sum() + log_AKR.transpose(0, 2, 1)[given_AR].sum())
        objective.append(told)
        if len(objective) > 1 and told - objective[-2] <= cfg.tolerance * voted_V.size:
            break
    posterior_IK = np.zeros((votes.items, K))
    posterior_IK[voted_V] = posterior_PK[kind_V]
    return Consensus(posterior_IK, prior_K, answers_AKR, tuple(objective))


def _patterns(votes: Votes) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(items with a vote, the pattern of each; an item of each pattern, how many items have it).

    A pattern is what an item's votes hash to: a sum of a random number for each annotator and class, so their order
    makes no difference. Two of a million that differ have one hash with a probability under 1e-7.
    """
    voted_V, start_V = np.unique(votes.item_N, return_index=True)
    each = np.random.default_rng(0).integers(0, 2**64, len(votes.annotators) * len(votes.classes), np.uint64)
    hash_N = each[votes.annotator_N * len(votes.classes) + votes.class_N]
    hash_V = np.add.reduceat(hash_N, start_V) if voted_V.size else hash_N
    _, first_P, kind_V, weight_P = np.unique(hash_V, return_index=True, return_inverse=True, return_counts=True)
    return voted_V, kind_V, voted_V[first_P], weight_P


def _with_silence(votes: Votes, first_P: np.ndarray, asked_A: Bool[np.ndarray, " A"]) -> tuple[np.ndarray, np.ndarray]:
    """(pattern, annotator and answer as one number) of each vote and each silence, sorted by pattern."""
    K, R = len(votes.classes), len(votes.classes) + 1
    pattern_I = np.full(votes.items, -1)
    pattern_I[first_P] = np.arange(first_P.size)
    own = votes.where(pattern_I[votes.item_N] >= 0)
    pattern_N = pattern_I[own.item_N]
    silent_PA = np.tile(asked_A, (first_P.size, 1))
    silent_PA[pattern_N, own.annotator_N] = False
    silent_pattern, silent_annotator = np.nonzero(silent_PA)
    seen_N = np.concatenate([pattern_N, silent_pattern])
    answer_N = np.concatenate([own.annotator_N * R + own.class_N, silent_annotator * R + K])
    order = np.argsort(seen_N, kind="stable")
    return seen_N[order], answer_N[order]


def _maximised(
    weighted_PK: np.ndarray, seen_N: np.ndarray, answer_N: np.ndarray, given_AR: np.ndarray, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """The M step, equations 2.3 and 2.4: (prior_K, answers_AKR)."""
    K = weighted_PK.shape[1]
    prior_K = (weighted_PK.sum(axis=0) + smoothing) / (weighted_PK.sum() + K * smoothing)
    tallies = [np.bincount(answer_N, weighted_PK[seen_N, k], given_AR.size) for k in range(K)]
    tally_AKR = np.stack(tallies, axis=1).reshape(given_AR.shape[0], -1, K).transpose(0, 2, 1)
    tally_AKR = tally_AKR + smoothing * given_AR[:, None, :]
    total_AK1 = tally_AKR.sum(axis=2, keepdims=True)
    return prior_K, np.divide(tally_AKR, total_AK1, out=np.zeros_like(tally_AKR), where=total_AK1 > 0)


def decided(posterior_IK: Float[np.ndarray, "I K"], least: float) -> Int[np.ndarray, " I"]:
    """The class of each item, or why it has none: NO_VOTES, TIE, or UNSURE where its probability is below `least`.

    >>> decided(np.array([[0.2, 0.8], [0.5, 0.5], [0.0, 0.0], [0.4, 0.6]]), 0.7).tolist()
    [1, -2, -1, -3]
    """
    best_I = posterior_IK.argmax(axis=1)
    most_I = posterior_IK.max(axis=1)
    tied_I = (posterior_IK >= most_I[:, None] - _EQUAL).sum(axis=1) > 1
    told_I = np.where(most_I < least - _EQUAL, UNSURE, best_I)
    return np.where(most_I == 0, NO_VOTES, np.where(tied_I, TIE, told_I))
