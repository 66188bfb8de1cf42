"""What a table of votes tells: of each annotator, of each two, of all, and of what came of it.

The table of annotators has the columns of Snorkel's LFAnalysis (Ratner et al. 2017, arXiv:1711.10160): coverage,
overlaps, conflicts, and accuracy where the truth is known; shares are of all items.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxlm.corpus.labels.agreement import Level, cohen_kappa, fleiss_kappa, krippendorff_alpha
from jaxlm.corpus.labels.consensus import STATES, Consensus
from jaxlm.corpus.labels.votes import Votes

_PAIRED = 20  # annotators with most votes, whose pairs are compared: chosen, 190 pairs are more than anybody reads


def annotators(votes: Votes, found: Consensus, gold_I: np.ndarray, rules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """{annotator: what is known of it}; `gold_I` is the true class of an item, or -1."""
    single = votes.single()
    counts_IK, A = single.counts(), len(votes.annotators)
    others_N = counts_IK.sum(axis=1)[single.item_N] - 1
    differ_N = others_N + 1 - counts_IK[single.item_N, single.class_N]
    believed_N = found.posterior_IK[single.item_N, single.class_N]
    true_N = gold_I[single.item_N]
    count = lambda weight_N: np.bincount(single.annotator_N, weight_N, A).tolist()
    votes_A, overlaps_A, conflicts_A = count(np.ones(len(true_N))), count(others_N > 0), count(differ_N > 0)
    believed_A, judged_A, right_A = count(believed_N), count(true_N >= 0), count(true_N == single.class_N)
    told = {}
    for a, name in enumerate(votes.annotators):
        cast = single.class_N[single.annotator_N == a]
        told[name] = {
            "kind": "rule" if name in rules else "person",
            "votes": {votes.classes[k]: int(n) for k, n in enumerate(np.bincount(cast)) if n},
            "coverage": _share(votes_A[a], votes.items),
            "overlaps": _share(overlaps_A[a], votes.items),
            "conflicts": _share(conflicts_A[a], votes.items),
            "believed": _share(believed_A[a], votes_A[a]),  # mean probability that the class it named is right
            "judged": int(judged_A[a]),  # votes on items whose truth is known
            "accuracy": _share(right_A[a], judged_A[a]),  # among these
            "confusion": _confusion(votes, found, a),
        }
    return told


def _share(part: int | float, whole: int | float) -> float | None:
    return float(part / whole) if whole else None


def _confusion(votes: Votes, found: Consensus, annotator: int) -> dict[str, dict[str, float]] | None:
    """{true class: {answer: probability}}, of a model that has them; silence is "" ."""
    if found.answers_AKR is None:
        return None
    answers = [*votes.classes, ""]
    return {
        name: {answer: round(float(p), 6) for answer, p in zip(answers, row_R, strict=True) if answer or p}
        for name, row_R in zip(votes.classes, found.answers_AKR[annotator], strict=True)
    }


def agreement(votes: Votes, level: Level) -> dict[str, Any]:
    """Coefficients of all annotators of these votes, and of each two of those with most votes."""
    single = votes.single()
    counts_IK = single.counts()
    several_IK = counts_IK[counts_IK.sum(axis=1) > 1]
    as_many = np.unique(several_IK.sum(axis=1)).size == 1
    values = list(map(float, votes.classes)) if level == "interval" else None
    return {
        "items": len(several_IK),  # with several votes
        "alpha": krippendorff_alpha(counts_IK),
        **({f"alpha_{level}": krippendorff_alpha(counts_IK, level, values)} if level != "nominal" else {}),
        "fleiss_kappa": fleiss_kappa(several_IK) if as_many else None,  # None: items differ in their number of votes
        "pairs": _pairs(single),
    }


def _pairs(single: Votes) -> list[dict[str, Any]]:
    """Of each two who voted on the same items, most items first."""
    votes_A = np.bincount(single.annotator_N, minlength=len(single.annotators))
    most = sorted(np.argsort(-votes_A, kind="stable")[:_PAIRED].tolist())
    table_IA, told = single.table(), []
    for first, second in itertools.combinations([a for a in most if votes_A[a]], 2):
        both_I = (table_IA[:, first] >= 0) & (table_IA[:, second] >= 0)
        if both_I.any():
            one, other = table_IA[both_I, first], table_IA[both_I, second]
            told.append({
                "first": single.annotators[first], "second": single.annotators[second], "items": int(both_I.sum()),
                "equal": float((one == other).mean()), "kappa": cohen_kappa(one, other, len(single.classes)),
            })  # fmt: skip
    return sorted(told, key=lambda pair: -pair["items"])


def outcome(labels_I: np.ndarray, found: Consensus, gold_I: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """What the model made of the items, and how it compares with the truth where that is known.

    What is written as examples has the truth in its place there.
    """
    balance = np.bincount(labels_I[labels_I >= 0], minlength=len(classes))
    truth = np.bincount(gold_I[gold_I >= 0], minlength=len(classes))
    judged_I = (labels_I >= 0) & (gold_I >= 0)
    return {
        "items": len(labels_I),
        "labelled": int((labels_I >= 0).sum()),
        "unlabelled": {why: int((labels_I == state).sum()) for state, why in STATES.items()},
        "balance": dict(zip(classes, balance.tolist(), strict=True)),
        "prior": dict(zip(classes, found.prior_K.round(6).tolist(), strict=True)),
        "gold": dict(zip(classes, truth.tolist(), strict=True)),
        "judged": int(judged_I.sum()),  # labelled, and the truth is known
        "examples": {"gold": int((gold_I >= 0).sum()), "model": int(((gold_I < 0) & (labels_I >= 0)).sum())},
        "accuracy": _share(int((labels_I == gold_I)[judged_I].sum()), int(judged_I.sum())),
        "rounds": len(found.objective),  # of EM
    }
