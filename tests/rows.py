"""Rows of a table that show the same claim again: a few in the short suite, all of them in `make test-slow`."""

from collections.abc import Iterable

import pytest


def short(names: Iterable[str], *fast: str) -> list:
    """The names of all rows; those that are not among `fast` are slow."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]
