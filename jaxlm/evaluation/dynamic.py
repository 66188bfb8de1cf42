"""Dynamic evaluation (Krause et al. 2018, arXiv:1709.07432): the model learns from a text while it is scored on it.

Each batch is scored first and learnt from afterwards, so that no token has a part in its own score. Gradients are of
the mean loss of a batch, from the recurrent state it was read with. All rows of a batch share one set of parameters:
with one row the text is learnt from in its order, as in the paper, with several those lanes at once.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import pydantic

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.evaluation.perplexity import Sums
from jaxlm.losses import cross_entropy
from jaxlm.models.family import Family


class DynamicSgdConfig(Config):
    """now <- now - rate g + decay (trained - now)."""

    kind: Literal["sgd"] = "sgd"
    rate: float = pydantic.Field(default=0.3, ge=0)  # chosen, as below: 1.813 -> 1.756
    decay: float = pydantic.Field(default=0.0, ge=0, le=1)  # towards the trained parameters; the paper's lambda


class DynamicRmsConfig(Config):
    """now <- now - rate g / (r + eps) + min(1, decay r / mean r) (trained - now), r: root mean square of g in training.

    The mean is over all parameters. (The authors' program takes the mean over arrays of each array's mean.)
    The numbers are chosen, to be tuned on held-out text: the best of four tried on an LSTM of tiny Shakespeare's
    characters in 16 lanes of 64, 1.813 -> 1.732 nats a character.
    """

    kind: Literal["rms"] = "rms"
    rate: float = pydantic.Field(default=2e-3, ge=0)
    decay: float = pydantic.Field(default=1e-3, ge=0)  # towards the trained parameters; the paper's lambda
    eps: float = pydantic.Field(default=1e-3, gt=0)
    batches: int = pydantic.Field(default=100, gt=0)  # of training, that the root mean square is taken over


DynamicConfig = Annotated[DynamicSgdConfig | DynamicRmsConfig, pydantic.Field(discriminator="kind")]


def adapting(sums: Sums, family: Family, cfg: DynamicConfig, rms: Any = None, jit: Callable = jax.jit) -> Sums:
    """`sums` of parameters that change; their carry becomes (theirs, recurrent state, parameters now).

    `rms` is what `root_mean_square` found, for the rule of that name. What is scored is scored by `sums` itself, so
    with rate 0 it has the same bits.
    """
    gradient = mean_gradient(family)

    @jit
    def learn(trained, now, batch, state, rms):
        grads, state = gradient(now, batch, state)
        return moved(cfg, now, trained, grads, rms), state

    def adapted(params: Any, batch: Batch, carry: Any):
        inner, state, now = carry
        of_batch, inner = sums(now, batch, inner)
        now, state = learn(params, now, batch, state, rms)
        return of_batch, (inner, state, now)

    return adapted


def moved(cfg: DynamicConfig, now: Any, trained: Any, grads: Any, rms: Any) -> Any:
    """The parameters after a batch of gradient `grads`."""
    if isinstance(cfg, DynamicSgdConfig):
        return jax.tree.map(lambda w, t, g: w - cfg.rate * g + cfg.decay * (t - w), now, trained, grads)
    leaves = jax.tree.leaves(rms)
    mean = sum(r.sum() for r in leaves) / sum(r.size for r in leaves)
    mean = jnp.where(mean > 0, mean, 1.0)

    def move(w, t, g, r):
        return w - cfg.rate * g / (r + cfg.eps) + jnp.minimum(cfg.decay * r / mean, 1.0) * (t - w)

    return jax.tree.map(move, now, trained, grads, rms)


def mean_gradient(family: Family) -> Callable[[Any, Batch, Any], tuple[Any, Any]]:
    """`f(params, batch, state) -> gradient of the mean loss, state after the batch`; without dropout."""

    def loss(params: Any, batch: Batch, state: Any):
        hidden = family.apply(params, batch, None, state)
        nats, _ = cross_entropy(
            hidden.array,
            family.head(params),
            batch.target,
            batch.weight,
            precision=family.precision,
            softcap=family.softcap,
            bias_V=family.bias(params),
        )
        return nats / jnp.maximum(batch.weight.sum(), 1.0), hidden.carry if state != () else ()

    return jax.grad(loss, has_aux=True)


def root_mean_square(family: Family, params: Any, batches: Iterable[Batch], state: Any, jit: Callable = jax.jit) -> Any:
    """The root mean square of each parameter's gradient over `batches`."""
    gradient = mean_gradient(family)

    @jit
    def add(squares, params, batch, state):
        grads, state = gradient(params, batch, state)
        return jax.tree.map(lambda s, g: s + g * g, squares, grads), state

    squares, count = jax.tree.map(jnp.zeros_like, params), 0
    for batch in batches:
        squares, state = jax.block_until_ready(add(squares, params, batch, state))
        count += 1
    return jax.tree.map(lambda s: jnp.sqrt(s / max(1, count)), squares)
