"""Mixtures: how much of what is read comes from each source, or is in each language.

A weight is a share of the tokens that are predicted. Rows hold documents of one component each, so weights become
shares of rows by how many tokens a row of the component has on average: rows that documents fill badly come more often.

    weights      shares as they are given, in proportion
    epochs       how often each document is read while the whole mixture is read once: 2 reads twice as often as 1
    temperature  in proportion to tokens ** (1 / temperature): 1 is as they come, more lifts what is small. 1 / 0.7
                 (mBERT), 1 / 0.3 (XLM-R, Conneau et al. 2020, arXiv:1911.02116, section 3.1; mT5, Xue et al. 2021,
                 arXiv:2010.11934, section 3.1), 5 (Arivazhagan et al. 2019, arXiv:1907.05019)

Left out: choosing weights by how training goes.
"""

import itertools
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from jaxlm.config import Config
from jaxlm.config_errors import nearest
from jaxlm.data.components import By
from jaxlm.errors import UserError


def _not_all_zero(shares: dict[str, float]) -> dict[str, float]:
    if not any(shares.values()):
        raise ValueError("asks for nothing at all: give one component more than 0")
    return shares


Shares = Annotated[dict[str, Annotated[float, pydantic.Field(ge=0)]], pydantic.AfterValidator(_not_all_zero)]


class Weights(Config):
    kind: Literal["weights"] = "weights"
    weights: Shares  # component -> share of tokens, in proportion; 0 leaves it out


class Epochs(Config):
    kind: Literal["epochs"] = "epochs"
    epochs: Shares  # component -> times that it is read while the mixture is read once; 0 leaves it out


class Temperature(Config):
    kind: Literal["temperature"] = "temperature"
    temperature: float = pydantic.Field(default=3.33, gt=0)  # XLM-R's and mT5's 1 / 0.3


Proportions = Annotated[Weights | Epochs | Temperature, pydantic.Field(discriminator="kind")]


class Stage(Config):
    """Another mixture from a step on; what was read of each component is not read again for that."""

    step: int = pydantic.Field(gt=0)  # the first that reads it
    mixture: Proportions


class _Mixed(Config):
    by: By = "source"  # what a component is
    stages: tuple[Stage, ...] = ()  # in the order of their steps
    # Times that a document may be read in a run before it is warned of: up to 4 are nearly as good as new text
    # (Muennighoff et al. 2023, arXiv:2305.16264).
    most_epochs: float = pydantic.Field(default=4.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _stages_follow_each_other(self) -> "_Mixed":
        steps = [stage.step for stage in self.stages]
        for one, other in itertools.pairwise(steps):
            if one >= other:
                raise ValueError(f"stages begin at steps {one} and then {other}: name them in their order, each once")
        return self


class WeightsMixture(Weights, _Mixed):
    pass


class EpochsMixture(Epochs, _Mixed):
    pass


class TemperatureMixture(Temperature, _Mixed):
    pass


MixtureConfig = Annotated[
    WeightsMixture | EpochsMixture | TemperatureMixture,
    pydantic.Field(discriminator="kind"),
]


def token_shares(asked: Any, names: list[str], tokens: np.ndarray, where: str) -> np.ndarray:
    """The share of tokens that `asked` (Proportions) gives each component; they sum to 1.

    `tokens` are those that a pass over each component predicts, 0 where it has none. UserError where a name is unknown
    or missing, or a share is asked of a component without any.
    """
    if isinstance(asked, Temperature):
        # Of the largest, since a power of a count may be beyond a float.
        share = np.where(tokens > 0, (np.maximum(tokens, 1) / tokens.max()) ** (1 / asked.temperature), 0)
        return share / share.sum()
    given = asked.epochs if isinstance(asked, Epochs) else asked.weights
    told = f"data.mixture: {asked.kind} of {where}"
    for name in given:
        if name not in names:
            raise UserError(f"{told}: {name!r} is not there; {nearest(name, sorted(names), 'there are')}")
    for name, count in zip(names, tokens, strict=True):
        if count and name not in given:
            raise UserError(f"{told}: {name!r}, with {count:,} tokens, is not named: give its share, 0 leaves it out")
        if not count and given.get(name):
            raise UserError(f"{told}: {name!r} has {given[name]:g} and no documents there: give it 0, or more text")
    share = np.array([given.get(name, 0) for name in names], float)
    share = share * tokens if isinstance(asked, Epochs) else share
    return share / share.sum()
