"""Peers begin from the same random weights each time, so that what fails once fails again."""

import pytest


@pytest.fixture(autouse=True)
def seeded():
    pytest.importorskip("torch").manual_seed(0)
