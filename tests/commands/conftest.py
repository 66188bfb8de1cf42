"""The command line inside this process, and one small finished run that every verb may look at."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxlm import cli
from jaxlm.config import dump
from jaxlm.run import train
from tests import tiny_run


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        """The one object that stdout holds, and nothing else."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        return json.loads(lines[0])


@pytest.fixture
def jaxlm(monkeypatch, capfd, tmp_path):
    """`jaxlm("train", "config.json")` as a shell would see it; relative paths are below `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXLM_ALLOCATOR", "off")  # else the command would start this process anew

    def call(*arguments):
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["jaxlm", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as exit:
            code = exit.code or 0
        return Answer(code, *capfd.readouterr())

    return call


class Trained(NamedTuple):
    path: Path
    config: Path  # as JSON
    shards: Path
    source: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    cfg = tiny_run.config(tiny_run.write_text(folder))
    (folder / "tiny.json").write_text(json.dumps(dump(cfg)))
    train(cfg, folder / "run", shards_dir=folder / "shards")
    return Trained(folder / "run", folder / "tiny.json", folder / "shards", folder / "text.txt")
