"""Optimisers and learning-rate schedules: config -> optax.

Decay applies to weight matrices and tables, not to biases and norms.
"""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
import pydantic

from jaxlm.config import Config
from jaxlm.models.layers import Precision
from jaxlm.training.adamw import adamw as skipping_adamw
from jaxlm.training.muon import muon


class CosineConfig(Config):
    """Linear warm-up, then half a cosine down to `final` (Loshchilov & Hutter 2017, arXiv:1608.03983)."""

    kind: Literal["cosine"] = "cosine"
    warmup: int = pydantic.Field(default=100, ge=0)  # steps
    final: float = pydantic.Field(default=0.1, ge=0, le=1)  # of the peak rate


class LinearConfig(Config):
    """Linear warm-up, then a straight line to `final` (Defazio et al. 2023, arXiv:2310.07831)."""

    kind: Literal["linear"] = "linear"
    warmup: int = pydantic.Field(default=100, ge=0)  # steps
    final: float = pydantic.Field(default=0.0, ge=0, le=1)  # of the peak rate


class WsdConfig(Config):
    """Warm-up, stable, decay (Hu et al. 2024, arXiv:2404.06395): the last `decay` of the steps go down."""

    kind: Literal["wsd"] = "wsd"
    warmup: int = pydantic.Field(default=100, ge=0)  # steps
    decay: float = pydantic.Field(default=0.2, gt=0, le=1)  # of all steps
    final: float = pydantic.Field(default=0.0, ge=0, le=1)  # of the peak rate


ScheduleConfig = Annotated[CosineConfig | LinearConfig | WsdConfig, pydantic.Field(discriminator="kind")]


class AdamConfig(Config):
    """The rule alone: Adam with decoupled decay (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    peak_rate: float = pydantic.Field(default=1e-3, gt=0)
    beta1: float = pydantic.Field(default=0.9, ge=0, lt=1)
    beta2: float = pydantic.Field(default=0.95, ge=0, lt=1)
    eps: float = pydantic.Field(default=1e-8, gt=0)
    decay: float = pydantic.Field(default=0.1, ge=0)  # times the learning rate, a step


class AdamWConfig(AdamConfig):
    """AdamW for all parameters."""

    kind: Literal["adamw"] = "adamw"
    clip: float | None = pydantic.Field(default=1.0, gt=0)  # global norm of the gradient; None: no clipping
    schedule: ScheduleConfig = CosineConfig()
    # Decay of a moving average of parameters; None: none.
    average: float | None = pydantic.Field(default=None, gt=0, lt=1)


class MuonConfig(Config):
    """Muon (Jordan et al. 2024) for hidden matrices, AdamW for tables, head, norms and biases."""

    kind: Literal["muon"] = "muon"
    peak_rate: float = pydantic.Field(default=0.02, gt=0)  # of hidden matrices
    momentum: float = pydantic.Field(default=0.95, ge=0, lt=1)
    decay: float = pydantic.Field(default=0.0, ge=0)  # times the learning rate, a step; of hidden matrices
    others: AdamConfig = AdamConfig(peak_rate=3e-3, decay=0.0)  # of all but hidden matrices; same schedule
    clip: float | None = pydantic.Field(default=None, gt=0)  # global norm of the gradient; None: no clipping
    schedule: ScheduleConfig = WsdConfig()
    # Decay of a moving average of parameters; None: none.
    average: float | None = pydantic.Field(default=None, gt=0, lt=1)


class SgdConfig(Config):
    """Plain gradient descent: hides nothing, so it is what equalities are tested with."""

    kind: Literal["sgd"] = "sgd"
    peak_rate: float = pydantic.Field(default=0.1, gt=0)
    momentum: float = pydantic.Field(default=0.0, ge=0, lt=1)
    clip: float | None = pydantic.Field(default=None, gt=0)
    schedule: ScheduleConfig = LinearConfig(warmup=0, final=1.0)
    average: float | None = pydantic.Field(default=None, gt=0, lt=1)


class NtAsgdConfig(Config):
    """Plain descent, whose iterates are averaged from when the held-out loss no longer falls: training/asgd.py.

    The numbers are Merity et al.'s for AWD-LSTM on Penn Treebank (2018, arXiv:1708.02182, section 5), who evaluate
    once an epoch: loop.eval_every says how often.
    """

    kind: Literal["nt_asgd"] = "nt_asgd"
    peak_rate: float = pydantic.Field(default=30.0, gt=0)
    patience: int = pydantic.Field(default=5, gt=0)  # evaluations that do not count yet as the best; their n
    decay: float = pydantic.Field(default=1.2e-6, ge=0)  # times the parameters, added to the clipped gradient
    clip: float | None = pydantic.Field(default=0.25, gt=0)  # global norm of the gradient; None: no clipping
    schedule: ScheduleConfig = LinearConfig(warmup=0, final=1.0)  # a constant rate


OptimizerConfig = Annotated[AdamWConfig | MuonConfig | SgdConfig | NtAsgdConfig, pydantic.Field(discriminator="kind")]


def moving_average(cfg: OptimizerConfig) -> float | None:
    """The decay of the moving average of parameters; None: there is none."""
    return None if isinstance(cfg, NtAsgdConfig) else cfg.average


def averaged(cfg: OptimizerConfig) -> bool:
    """Does an average stand beside the parameters, to be evaluated and used instead of them?"""
    return isinstance(cfg, NtAsgdConfig) or cfg.average is not None


def schedule(cfg: ScheduleConfig, peak: float, steps: int) -> optax.Schedule:
    """Finished steps -> learning rate of the next: the peak at step `warmup`, the end at `steps`."""
    rest = max(1, steps - cfg.warmup)
    if isinstance(cfg, CosineConfig):
        after = optax.cosine_decay_schedule(peak, rest, cfg.final)
    elif isinstance(cfg, LinearConfig):
        after = optax.linear_schedule(peak, cfg.final * peak, rest)
    else:
        decay = min(rest, max(1, round(cfg.decay * steps)))
        after = optax.linear_schedule(peak, cfg.final * peak, decay, transition_begin=rest - decay)
    rise = lambda n: peak * (n + 1) / (cfg.warmup + 1)  # never 0: the first step learns too
    return optax.join_schedules([rise, after], [cfg.warmup])


def build(cfg: OptimizerConfig, steps: int, axes: Any, precision: Precision) -> optax.GradientTransformationExtraArgs:
    """The optimiser of `cfg` for `steps` steps over parameters with logical `axes` (models/build.py).

    `update(grads, state, params, finite=False)` gives zeros, and the state as it was.
    """
    rate = lambda peak: schedule(cfg.schedule, peak, steps)
    clip = clip_by_norm(cfg.clip) if cfg.clip else optax.identity()
    if isinstance(cfg, SgdConfig):
        return optax.chain(clip, skippable(optax.sgd(rate(cfg.peak_rate), cfg.momentum or None)))
    if isinstance(cfg, NtAsgdConfig):
        plain = optax.chain(optax.add_decayed_weights(cfg.decay, decays), optax.sgd(rate(cfg.peak_rate)))
        return optax.chain(clip, skippable(plain))
    if isinstance(cfg, AdamWConfig):
        return optax.chain(clip, adamw(cfg, rate(cfg.peak_rate)))
    hidden = muon(rate(cfg.peak_rate), axes, momentum=cfg.momentum, decay=cfg.decay, precision=precision)
    return optax.chain(
        clip,
        optax.partition(
            {"muon": skippable(hidden), "adamw": adamw(cfg.others, rate(cfg.others.peak_rate))},
            lambda params: jax.tree_util.tree_map_with_path(
                lambda path, _: "muon" if is_hidden_matrix(path) else "adamw", params
            ),
        ),
    )


def clip_by_norm(limit: float) -> optax.GradientTransformationExtraArgs:
    """`optax.clip_by_global_norm` for a caller who knows the `norm` of the updates: no second pass over them."""

    def update(updates, state, params=None, *, norm=None, **_):
        norm = optax.tree.norm(updates) if norm is None else norm
        scale = jnp.where(norm < limit, 1.0, limit / norm)
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def adamw(cfg: AdamConfig, rate: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    return skipping_adamw(rate, cfg.beta1, cfg.beta2, cfg.eps, cfg.decay, decays)


def skippable(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """`optimizer`, leaving its state and the parameters as they are where `finite` is False."""

    inner = optax.with_extra_args_support(optimizer)

    def update(updates, state, params=None, *, finite=True, **extra):
        changes, new = inner.update(updates, state, params, **extra)
        changes = jax.tree.map(lambda c: jnp.where(finite, c, 0.0), changes)
        return changes, jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def decays(params: Any) -> Any:
    """True where weight decay applies: not to biases, not to the scales of norms."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.split("_")[-1] not in ("b", "scale"), params)


def is_hidden_matrix(path: tuple) -> bool:
    """A product's weight inside a block; tables and the head stand at the top."""
    return path[-1].key == "w"
