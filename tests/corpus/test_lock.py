"""A lock keeps others out while its holder lives, and no longer."""

import errno
import fcntl

import pytest

from jaxlm.corpus.labels.config import LabelConfig
from jaxlm.corpus.labels.make import make as make_labels
from jaxlm.corpus.labels.rules import PatternRule
from jaxlm.corpus.lock import locked
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.prepare import prepare
from jaxlm.data.dataset import DataConfig
from jaxlm.errors import UserError
from jaxlm.run_folder import RunFolder
from tests.corpus.test_pipeline import config
from tests.faults import injector

HOLD = """
import sys, time
from pathlib import Path
from jaxlm.corpus.lock import locked
with locked(Path(sys.argv[1]), "--dir"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_it_keeps_others_out_and_lets_go(tmp_path):
    with locked(tmp_path / "lock", "--dir") as first:
        assert first
        with locked(tmp_path / "lock", "--dir", wait=False) as second:
            assert not second
    with locked(tmp_path / "lock", "--dir", wait=False) as again:
        assert again


def test_a_holder_killed_outright_holds_nothing(tmp_path):
    child = injector.start(HOLD, tmp_path / "lock")
    assert child.stdout.readline() == "held\n"
    with locked(tmp_path / "lock", "--dir", wait=False) as mine:
        assert not mine
    child.kill()
    child.communicate()
    with locked(tmp_path / "lock", "--dir") as mine:
        assert mine


def train(text, root):
    with RunFolder(root).locked():
        pass


RULE = PatternRule(name="x", vote="a", pattern=".")
LOCKS = {
    "--corpora-dir": lambda text, root: make(config(text), root),
    "--shards-dir": lambda text, root: prepare(DataConfig(source=str(text), length=8, batch=1), root),
    "--labels-dir": lambda text, root: make_labels(
        LabelConfig(name="x", classes=("a", "b"), source=str(text), rules=(RULE,)), root
    ),
    "--run-dir": train,
}


@pytest.mark.parametrize("option", LOCKS)
def test_a_file_system_without_locks_is_told_with_the_option_for_another(option, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / "text.txt").write_text("Tea.")
    with pytest.raises(UserError, match=rf"lock: this file system has no locks .*name another {option}$"):
        LOCKS[option](tmp_path / "text.txt", tmp_path / "made")
