"""A search that is broken off goes on where it was: no task that was over runs again, and the bytes are the same."""

import random
from functools import partial

import pytest

from jaxlm import hashing
from jaxlm.corpus import tasks
from jaxlm.corpus.duplicates import exact, near
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, NearConfig, PassagesConfig
from jaxlm.corpus.duplicates.part import Row
from jaxlm.corpus.executor import Here
from tests.corpus.duplicates.near_cases import corpus, cut, silent

ANY = CapConfig(share=1)
LINES = [f"line number {n} that is long enough" for n in range(30)]
ROWS = [Row(str(n), "\n".join(random.Random(n).choices(LINES, k=5)), "s", n % 2) for n in range(12)]


class Killed(Exception):
    """By nobody, but as hard."""


class Mortal(Here):
    """Runs so many tasks, then dies; `names` are of those that it ran."""

    def __init__(self, life: int):
        self._life, self.names = life, []

    def submit(self, function, *arguments):
        return super().submit(self._live, function, *arguments)

    def _live(self, function, work, task):
        if len(self.names) == self._life:
            raise Killed
        self.names.append((task.stage, task.key))
        return function(work, task)


@pytest.mark.parametrize(
    "find, rows, cfg",
    [
        (near.find, corpus(originals=6, copies=2), NearConfig(cap=ANY)),
        (exact.find, ROWS + ROWS[:3], ExactConfig(cap=ANY)),
        (exact.find, ROWS, PassagesConfig(unit="line", shortest=10, left=10, cap=ANY)),
    ],
)
def test_what_was_over_before_a_kill_is_not_done_again(find, rows, cfg, tmp_path):
    # below what a config may ask: many ranges of keys
    parts, small = cut(rows, 5), cfg.model_copy(update={"memory": 9_000})
    whole, ran = Mortal(1_000), []
    find(parts, tmp_path / "whole", small, partial(tasks.run, engine=whole, progress=silent))
    while len(ran) < 1_000:
        engine = Mortal(3)
        try:
            find(parts, tmp_path / "killed", small, partial(tasks.run, engine=engine, progress=silent))
        except Killed:
            pass
        else:
            break
        finally:
            ran += engine.names
    assert sorted(ran) == sorted(whole.names) and len(set(ran)) == len(ran) > 6
    assert hashing.hash_folder(tmp_path / "killed") == hashing.hash_folder(tmp_path / "whole")
