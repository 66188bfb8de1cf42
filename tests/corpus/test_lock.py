"""A lock keeps others out while its holder lives, and no longer."""

from jaxlm.corpus.lock import locked
from tests.faults import injector

HOLD = """
import sys, time
from pathlib import Path
from jaxlm.corpus.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_it_keeps_others_out_and_lets_go(tmp_path):
    with locked(tmp_path / "lock") as first:
        assert first
        with locked(tmp_path / "lock", wait=False) as second:
            assert not second
    with locked(tmp_path / "lock", wait=False) as again:
        assert again


def test_a_holder_killed_outright_holds_nothing(tmp_path):
    child = injector.start(HOLD, tmp_path / "lock")
    assert child.stdout.readline() == "held\n"
    with locked(tmp_path / "lock", wait=False) as mine:
        assert not mine
    child.kill()
    child.communicate()
    with locked(tmp_path / "lock") as mine:
        assert mine
