"""What a mixture asks for, and what it may not."""

import numpy as np
import pytest

from jaxlm.config import dump, override, parse
from jaxlm.data.dataset import DataConfig
from jaxlm.data.mixture import EpochsMixture, TemperatureMixture, Weights, WeightsMixture, token_shares
from jaxlm.errors import UserError

NAMES, TOKENS = ["web", "books", "wiki"], np.array([900, 90, 10])


def shares(asked, tokens=TOKENS):
    return token_shares(asked, NAMES, tokens, "sources of the train split of shards").tolist()


def test_each_kind_is_its_definition():
    assert shares(Weights(weights={"wiki": 1, "web": 2, "books": 1})) == [0.5, 0.25, 0.25]
    assert shares(EpochsMixture(epochs={"web": 1, "books": 0, "wiki": 10})) == [0.9, 0, 0.1]
    assert shares(TemperatureMixture(temperature=1)) == pytest.approx([0.9, 0.09, 0.01])
    root = np.sqrt(TOKENS)
    assert shares(TemperatureMixture(temperature=2)) == pytest.approx((root / root.sum()).tolist())
    assert shares(TemperatureMixture(temperature=0.001)) == [1, 0, 0]
    assert shares(TemperatureMixture(), np.array([5, 5, 0])) == [0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"web": 1, "book": 1, "wiki": 1},
            "weights of sources of the train.*'book' is not there; did you mean 'books'",
        ),
        ({"web": 1, "books": 1}, "'wiki', with 10 tokens, is not named: give its share, 0 leaves it out"),
    ],
)
def test_every_component_is_named_and_no_other(weights, message):
    with pytest.raises(UserError, match=message):
        shares(Weights(weights=weights))


def data(**fields):
    return {"source": "text", "length": 16, "batch": 4, **fields}


STAGE = {"step": 5, "mixture": {"kind": "weights", "weights": {"web": 1}}}


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ({"kind": "weights", "weights": {"web": 0, "books": 0}}, r"mixture.weights: asks for nothing at all"),
        ({"kind": "weights", "weights": {"web": -1}}, r"mixture\.weights\['web'\]=-1.*greater than or equal to 0"),
        ({"kind": "weight"}, "did you mean 'weights'"),
        ({"kind": "temperature", "temperature": 0}, r"temperature=0.*greater than 0"),
        ({"kind": "temperature", "by": "licence"}, r"mixture.by=\"licence\""),
        ({"kind": "temperature", "stages": [STAGE, STAGE]}, "steps 5 and then 5: name them in their order"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(mixture, message):
    with pytest.raises(UserError, match=message):
        parse(data(mixture=mixture), DataConfig)


def test_lanes_are_not_mixed():
    with pytest.raises(UserError, match=r"rows='lanes' read the text in its own order.*leave mixture out, or rows"):
        parse(data(rows="lanes", mixture={"kind": "temperature"}), DataConfig)


def test_a_mixture_is_set_as_other_choices_are():
    cfg = parse(data(), DataConfig)
    told = override(cfg, ["mixture.kind=temperature", "mixture.temperature=5", "mixture.by=language"])
    assert told.mixture == TemperatureMixture(temperature=5, by="language")
    told = override(cfg, ["mixture.kind=weights", "mixture.weights={'web': 3, 'books': 1}"])
    assert told.mixture == WeightsMixture(weights={"web": 3, "books": 1})
    assert parse(dump(told), DataConfig) == told
