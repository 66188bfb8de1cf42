"""Label models: the data of Dawid and Skene's paper, planted annotators, and what EM must never do."""

import itertools

import numpy as np
import pytest

from jaxlm.corpus.labels.consensus import NO_VOTES, TIE, DawidSkene, Majority, consensus, dawid_skene, decided, majority
from jaxlm.corpus.labels.votes import Votes

# Table 1 of Dawid and Skene 1979: 45 patients; the first observer saw each three times, the others once.
PATIENTS = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212
1211111 1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111
1111111 1121121 1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111
2322222 1211111 2222222
""".split()  # noqa: SIM905
OBSERVER = (0, 0, 0, 1, 2, 3, 4)


def anaesthetists() -> Votes:
    rows = [(i, a, int(c) - 1) for i, told in enumerate(PATIENTS) for a, c in zip(OBSERVER, told, strict=True)]
    return Votes.of(len(PATIENTS), [f"observer {n}" for n in range(1, 6)], "1234", rows)


def planted(
    seed: int, items: int, right: list[float], classes: int = 3, asked: float = 1.0
) -> tuple[Votes, np.ndarray]:
    """Votes of annotators who are right so often, each on a share of the items; and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, items)
    rows = [
        (i, a, int(truth[i] if rng.random() < share else (truth[i] + rng.integers(1, classes)) % classes))
        for i in range(items) for a, share in enumerate(right) if rng.random() < asked
    ]  # fmt: skip
    return Votes.of(items, [f"a{n}" for n in range(len(right))], [f"c{n}" for n in range(classes)], rows), truth


NOBODY = np.zeros(5, bool)


def test_the_papers_patients_come_out_as_in_the_paper():
    """Its table 2: classes 1 to 4 with 0.40, 0.42, 0.11, 0.07; observer 1 says 1 of patients of class 1 in 0.89."""
    found = dawid_skene(anaesthetists(), DawidSkene(smoothing=0, tolerance=1e-12), NOBODY)
    np.testing.assert_allclose(found.prior_K, [0.40, 0.42, 0.11, 0.07], atol=0.005)
    np.testing.assert_allclose(found.answers_AKR[0, 0, :4], [0.89, 0.11, 0, 0], atol=0.005)
    np.testing.assert_allclose(found.answers_AKR[0, 1, :4], [0.07, 0.88, 0.05, 0], atol=0.005)


def by_definition(votes: Votes, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Equations 2.3 to 2.5 in loops: (posterior, log-likelihood of each round)."""
    I, A, K = votes.items, len(votes.annotators), len(votes.classes)
    count = np.zeros((I, A, K))
    np.add.at(count, (votes.item_N, votes.annotator_N, votes.class_N), 1)
    T = count.sum(axis=1) / count.sum(axis=(1, 2))[:, None]
    told = []
    for _ in range(rounds):
        p = T.mean(axis=0)
        pi = np.zeros((A, K, K))
        for a, j, l in itertools.product(range(A), range(K), range(K)):
            pi[a, j, l] = (T[:, j] * count[:, a, l]).sum() / (T[:, j] * count[:, a].sum(axis=1)).sum()
        joint = np.array([[p[j] * np.prod(pi[:, j] ** count[i]) for j in range(K)] for i in range(I)])
        told.append(np.log(joint.sum(axis=1)).sum())
        T = joint / joint.sum(axis=1, keepdims=True)
    return T, np.array(told)


def test_each_round_is_the_papers_equations():
    votes, _ = planted(0, 30, [0.8, 0.7, 0.6, 0.9])
    found = dawid_skene(votes, DawidSkene(smoothing=0, rounds=6, tolerance=0), NOBODY[:4])
    posterior, told = by_definition(votes, 6)
    np.testing.assert_allclose(found.posterior_IK, posterior, atol=1e-9)
    np.testing.assert_allclose(found.objective, told, rtol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_likelihood_never_falls(smoothing, asked, seed):
    votes, _ = planted(seed, 200, [0.3, 0.5, 0.9, 0.4], asked=0.4)
    found = dawid_skene(votes, DawidSkene(smoothing=smoothing, tolerance=0, rounds=60), np.full(4, asked))
    assert len(found.objective) > 5
    assert np.diff(found.objective).min() > -1e-8 * abs(found.objective[0])
    np.testing.assert_allclose(found.answers_AKR.sum(axis=2), 1, rtol=1e-9)
    voted = np.unique(votes.item_N)
    np.testing.assert_allclose(found.posterior_IK[voted].sum(axis=1), 1, rtol=1e-9)


def test_who_errs_is_found_and_weighed_where_the_majority_is_misled():
    """Three of five guess: the two good ones outvote them only when they are known."""
    votes, truth = planted(1, 2_000, [0.95, 0.95, 0.4, 0.4, 0.4])
    right = lambda found: (decided(found.posterior_IK, 0.0) == truth).mean()
    model = dawid_skene(votes, DawidSkene(), NOBODY)
    assert right(model) > 0.94 > 0.90 > right(majority(votes))
    accuracy = np.einsum("k,akk->a", model.prior_K, model.answers_AKR[:, :, :3])
    np.testing.assert_allclose(accuracy, [0.95, 0.95, 0.4, 0.4, 0.4], atol=0.05)


def test_rules_of_one_class_tell_something_by_their_silence():
    """Six rules, each for one class: asked of every item they find the truth, taken for absent they only count."""
    rng = np.random.default_rng(0)
    truth = (rng.random(3_000) < 0.3).astype(int)
    fires = {(0, 0): 0.7, (1, 0): 0.6, (2, 0): 0.5, (3, 1): 0.8, (4, 1): 0.6, (5, 1): 0.9}
    strays = [0.05, 0.05, 0.4, 0.05, 0.05, 0.5]
    rows = [
        (i, a, c) for i in range(truth.size) for (a, c), share in fires.items()
        if rng.random() < (share if truth[i] == c else strays[a])
    ]  # fmt: skip
    votes = Votes.of(truth.size, [str(a) for a in range(6)], ["no", "yes"], rows)
    voted = votes.counts().sum(axis=1) > 0
    right = lambda found: (decided(found.posterior_IK, 0.0) == truth)[voted].mean()
    asked = dawid_skene(votes, DawidSkene(), np.ones(6, bool))
    assert right(asked) > 0.93 > 0.9 > right(majority(votes))
    assert abs(asked.prior_K[1] - truth[voted].mean()) < 0.03


def test_a_majority_is_of_annotators_and_a_tie_has_no_class():
    votes = Votes.of(4, ["ann", "bob", "cy"], ["bad", "good"], [
        (0, 0, 1), (0, 1, 1), (0, 2, 0), (1, 0, 0), (1, 1, 1), (3, 0, 0), (3, 0, 0), (3, 0, 1),
    ])  # fmt: skip
    found = consensus(votes, Majority(), NOBODY[:3])
    assert decided(found.posterior_IK, 0.0).tolist() == [1, TIE, NO_VOTES, 1], "of one's own votes the last counts"


def test_no_votes_at_all_are_no_classes():
    votes = Votes.of(3, ["ann"], ["bad", "good"], [])
    for model in (Majority(), DawidSkene()):
        assert decided(consensus(votes, model, NOBODY[:1]).posterior_IK, 0.0).tolist() == [NO_VOTES] * 3


def test_the_order_of_the_votes_makes_no_difference():
    votes, _ = planted(2, 50, [0.8, 0.7, 0.6])
    rows = list(zip(votes.item_N.tolist(), votes.annotator_N.tolist(), votes.class_N.tolist(), strict=True))
    other = Votes.of(50, votes.annotators, votes.classes, rows[::-1])
    one, two = (dawid_skene(v, DawidSkene(), np.ones(3, bool)).posterior_IK for v in (votes, other))
    np.testing.assert_allclose(one, two, atol=1e-9)
