import jax
import jax.numpy as jnp
import numpy as np
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxlm.generation.sampling import COOLEST, SamplingConfig, candidates, first, sample

V = 12


def random_logits(rows: int = 5, vocab: int = V, seed: int = 0, scale: float = 2.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=(rows, vocab)).astype(np.float32)


def keys(rows: int, seed: int = 0):
    return jax.random.split(jax.random.key(seed), rows)


compiled_sample = jax.jit(sample, static_argnames=("cfg", "vocab"))
compiled_candidates = jax.jit(candidates, static_argnums=1)


def draws(logits: np.ndarray, cfg: SamplingConfig, *, vocab: int | None = None, seed: int = 0) -> np.ndarray:
    rows = len(logits)
    return np.asarray(compiled_sample(logits, keys(rows, seed), cfg=cfg, vocab=vocab or logits.shape[1]))


def kept(logits: np.ndarray, cfg: SamplingConfig) -> list[set[int]]:
    weight_BC, id_BC = map(np.asarray, compiled_candidates(logits, cfg))
    return [set(ids[weights > 0].tolist()) for ids, weights in zip(id_BC, weight_BC, strict=True)]


def kept_by_definition(row: np.ndarray, cfg: SamplingConfig) -> set[int]:
    """The filters one after the other, spelt out over a sorted list, in float64."""
    scaled = row.astype(np.float64) / cfg.temperature
    order = sorted(range(len(row)), key=lambda i: (-scaled[i], i))
    order = order[: cfg.top_k or len(order)]
    weights = np.exp(scaled[order] - scaled.max())
    probabilities = weights / weights.sum()
    nucleus, mass = [], 0.0
    for token, probability in zip(order, probabilities, strict=True):
        nucleus.append((token, probability))
        mass += probability
        if mass >= cfg.top_p:
            break
    return {token for token, p in nucleus if p >= cfg.min_p * probabilities[0]}


FILTERS = {
    "none": SamplingConfig(),
    "hot": SamplingConfig(temperature=3.0),
    "top_k": SamplingConfig(top_k=3),
    "top_k_over_the_vocabulary": SamplingConfig(top_k=100),
    "top_p": SamplingConfig(top_p=0.7),
    "narrow_top_p": SamplingConfig(top_p=1e-6),
    "min_p": SamplingConfig(min_p=0.2),
    "min_p_of_one": SamplingConfig(min_p=1.0),
    "all": SamplingConfig(temperature=1.5, top_k=7, top_p=0.8, min_p=0.1),
    "hot_nucleus": SamplingConfig(temperature=2.0, top_p=0.8),
}


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_keeps_the_set_of_its_definition(name):
    logits = random_logits(rows=40)
    assert kept(logits, FILTERS[name]) == [kept_by_definition(row, FILTERS[name]) for row in logits]


def test_a_nucleus_of_a_large_vocabulary_is_that_of_a_sort():
    logits = random_logits(rows=3, vocab=50_257)
    cfg = SamplingConfig(top_p=0.9)
    for got, row in zip(kept(logits, cfg), logits, strict=True):
        # Sums of 50,257 float32 in another order differ by some 1e-6, so a token at the border may too.
        assert len(got ^ kept_by_definition(row, cfg)) <= 1


def test_equal_logits_are_cut_to_the_size_the_definition_says():
    logits = np.zeros((1, 8), np.float32)
    assert kept(logits, SamplingConfig(top_k=3)) == [{0, 1, 2}]
    assert kept(logits, SamplingConfig(top_p=0.5)) == [{0, 1, 2, 3}]
    assert kept(logits, SamplingConfig(min_p=0.5)) == [set(range(8))]


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1}])
def test_the_narrowest_filter_is_greedy(fields):
    logits = random_logits(rows=50)
    got = draws(logits, SamplingConfig(**fields))
    np.testing.assert_array_equal(got, logits.argmax(-1))


@pytest.mark.parametrize("cfg", [SamplingConfig(temperature=0), SamplingConfig(top_k=1)])
def test_of_equal_logits_greedy_takes_the_lowest_id(cfg):
    assert draws(np.array([[0, 1, 1, 1]], np.float32), cfg).tolist() == [1]


@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_the_coolest_temperature_is_greedy_and_finite(scale):
    logits = random_logits(rows=50, scale=scale)
    got = draws(logits, SamplingConfig(temperature=COOLEST))
    np.testing.assert_array_equal(got, logits.argmax(-1))


CHI_SQUARE_11 = 31.26  # the 99.9 % quantile with 11 degrees of freedom; the seed is fixed, so it holds or not


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_probabilities(temperature):
    row = random_logits(rows=1, scale=1.0)
    tokens = draws(np.repeat(row, 20_000, axis=0), SamplingConfig(temperature=temperature))
    expected = 20_000 * np.exp(row[0] / temperature) / np.exp(row[0] / temperature).sum()
    assert expected.min() > 5  # else the statistic is not chi-square
    observed = np.bincount(tokens, minlength=V)
    assert (((observed - expected) ** 2) / expected).sum() < CHI_SQUARE_11


def test_what_is_cut_is_never_drawn_and_the_rest_in_proportion():
    row = np.log(np.array([[0.4, 0.05, 0.3, 0.05, 0.2]], np.float32))
    tokens = draws(np.repeat(row, 20_000, axis=0), SamplingConfig(top_p=0.65))
    shares = np.bincount(tokens, minlength=5) / 20_000
    np.testing.assert_allclose(shares, [4 / 7, 0, 3 / 7, 0, 0], atol=0.012)  # 3 standard errors, and a bit


def test_an_id_that_the_tokenizer_lacks_is_never_drawn():
    logits = random_logits(rows=200)
    logits[:, 8:] += 100.0
    for cfg in [*FILTERS.values(), SamplingConfig(temperature=0)]:
        assert draws(logits, cfg, vocab=8).max() < 8


@given(st.integers(0, 2**31 - 1), st.sampled_from(sorted(FILTERS)))
def test_a_draw_is_always_from_the_kept_set(seed, name):
    logits = random_logits(rows=8, seed=seed, scale=8.0)
    tokens = draws(logits, FILTERS[name], seed=seed).tolist()
    assert all(t in allowed for t, allowed in zip(tokens, kept(logits, FILTERS[name]), strict=True))


def test_a_row_does_not_depend_on_the_rows_beside_it():
    logits, row_keys = random_logits(rows=20), keys(20)
    together = compiled_sample(logits, row_keys, cfg=FILTERS["all"], vocab=V)
    for row in range(20):
        one = slice(row, row + 1)
        assert compiled_sample(logits[one], row_keys[one], cfg=FILTERS["all"], vocab=V)[0] == together[row]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": -0.1},
        {"temperature": 1e-50},
        {"temperature": float("nan")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": -0.1},
        {"min_p": 1.1},
    ],
)
def test_a_number_out_of_range_is_refused(fields):
    with pytest.raises(pydantic.ValidationError, match=next(iter(fields))):
        SamplingConfig(**fields)


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_the_first_is_found_and_without_one_the_last_index(row):
    wanted = row.index(True) if True in row else len(row) - 1
    assert int(first(jnp.array([row]))[0]) == wanted
