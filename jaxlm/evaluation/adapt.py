"""Evaluation that adapts to its text: a continuous cache, dynamic evaluation, or both, around the plain score."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from jaxlm.batch import Batch
from jaxlm.config import Config, dump, parse, parse_options
from jaxlm.data.dataset import DataConfig
from jaxlm.errors import Diverged, UserError
from jaxlm.evaluation.cache import CacheConfig, empty, with_cache
from jaxlm.evaluation.dynamic import DynamicConfig, DynamicRmsConfig, adapting, root_mean_square
from jaxlm.evaluation.perplexity import Sums
from jaxlm.models.family import Family

# Field -> the option that sets it.
CACHE = {"window": "--cache", "weight": "--cache-weight", "theta": "--cache-theta"}
DYNAMIC = {"dynamic.kind": "--dynamic", "dynamic.rate": "--dynamic-rate", "dynamic.decay": "--dynamic-decay"}


def adapted(
    sums: Sums,
    state: Any,
    family: Family,
    params: Any,
    batch: Batch,
    cache: CacheConfig | None,
    dynamic: DynamicConfig | None,
    *,
    training: Callable[[], AbstractContextManager[Iterator[Batch]]],
    jit: Callable,
) -> tuple[Sums, Any]:
    """(sums, carry before the first batch) for `perplexity.score`, from the plain ones; `state` is the plain carry.

    `batch` may be abstract; `training` gives batches of the training split, which one rule of learning asks for.
    With both, the cache remembers what the parameters of each moment made of the text.
    """
    carry = state
    if cache is not None:
        sums = with_cache(sums, family, cache, jit)
        carry = carry, state, empty(cache, family, params, batch, state)
    if dynamic is not None:
        rms = None
        if isinstance(dynamic, DynamicRmsConfig):
            with training() as batches:
                rms = root_mean_square(family, params, itertools.islice(batches, dynamic.batches), state, jit)
        sums = adapting(sums, family, dynamic, rms, jit)
        carry = carry, state, params
    return sums, carry


def cache_of(**options: Any) -> CacheConfig | None:
    """The cache that `--cache` options ask for; None: none is asked."""
    found = _asked("cache", "window", options)
    return None if found is None else parse_options(found, CacheConfig, CACHE)


def dynamic_of(**options: Any) -> DynamicConfig | None:
    """The dynamic evaluation that `--dynamic` options ask for; None: none is asked."""
    found = _asked("dynamic", "kind", options)
    return None if found is None else parse_options({"dynamic": found}, Options, DYNAMIC).dynamic


class Options(Config):
    """What gives the choice of a rule a name in errors."""

    dynamic: DynamicConfig


def _asked(name: str, first: str, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The options that were given; UserError where the first is missing beside others."""
    given = {option: value for option, value in options.items() if value is not None}
    if given and first not in given:
        option, value = next(iter(given.items()))
        raise UserError(f"--{name}-{option} {value} says how, but not that there is one: give --{name} too")
    return given or None


def recut(data: DataConfig, batch: int | None, length: int | None, cache: CacheConfig | None) -> DataConfig:
    """`data` of `batch` lanes, read `length` tokens at once; None: as it is. UserError where there are no lanes."""
    if cache is not None and data.rows != "lanes":
        raise UserError(
            f"--cache {cache.window} remembers what a row read in the batches before, but the rows of this run are "
            f"data.rows={data.rows!r}, which begin from nowhere: leave it out; recurrent models that were trained "
            f"with data.rows='lanes' can have one"
        )
    asked = {name: value for name, value in (("batch", batch), ("length", length)) if value is not None}
    if asked and data.rows != "lanes":
        options = " ".join(f"--{name} {value}" for name, value in asked.items())
        raise UserError(
            f"{options} cuts lanes anew, but the rows of this run are data.rows={data.rows!r}, which begin from "
            f"nowhere: leave it out"
        )
    return parse({"data": dump(data) | asked}, Recut, origin="--batch and --length").data if asked else data


class Recut(Config):
    """What gives the fields a name in errors."""

    data: DataConfig


def require_finite(loss: float, dynamic: DynamicConfig | None, origin: str) -> None:
    """Diverged where the parameters predict nothing; UserError where they came to it by learning too fast here."""
    if math.isfinite(loss):
        return
    if dynamic is not None:
        raise UserError(f"--dynamic-rate {dynamic.rate} makes the loss not finite: lower it")
    raise Diverged(f"{origin}: the loss is {loss}, as training diverged: score an earlier step with --step")


def told(batch: int | None, length: int | None, cache: CacheConfig | None, dynamic: DynamicConfig | None) -> str:
    """What a score is to be called after the name of its text, so that nobody takes it for the plain one."""
    lanes = [f"batch {batch}"] * (batch is not None) + [f"length {length}"] * (length is not None)
    adapts = ["a cache"] * (cache is not None) + ["dynamic evaluation"] * (dynamic is not None)
    return (f", {', '.join(lanes)}" if lanes else "") + (f", with {' and '.join(adapts)}" if adapts else "")


def settings(
    batch: int | None, length: int | None, cache: CacheConfig | None, dynamic: DynamicConfig | None
) -> dict[str, Any]:
    """How a score came about that is not the plain one: what `--json` says beside the numbers."""
    asked = {"batch": batch, "length": length, "cache": cache and dump(cache), "dynamic": dynamic and dump(dynamic)}
    return {name: value for name, value in asked.items() if value is not None}
