"""The tests of the regularisers see every mutant of mutants.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.mutants import MUTANTS, Mutated

TABLE = Path(__file__).with_name("mutants.py")


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_changes_what_stands_there_once(mutant):
    """So that a source that moves on takes its mutants with it, and not only where the long tests run."""
    mutated = Mutated(mutant)  # LookupError where it stands there not once
    assert mutated.source != mutated.path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_no_mutant_of_the_regularisers_lives():
    """In a process of its own: the package is imported anew for each."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")}
    ran = subprocess.run([sys.executable, TABLE], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2_000:]
    assert "64 of 64 mutants are seen" in ran.stdout
