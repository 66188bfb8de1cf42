"""Rows of a table that show the same claim again: a few in the short suite, all of them in `make test-slow`."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def short(names: Iterable[str], *fast: str) -> list:
    """The names of all rows; those that are not among `fast` are slow."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def crossed(*axes: Iterable[Any], fast: Callable[..., bool]) -> list:
    """Every value of each axis with every one of the others; those for which `fast` is not true are slow."""
    return [
        pytest.param(*values, marks=() if fast(*values) else pytest.mark.slow) for values in itertools.product(*axes)
    ]
