"""What an upgrade of a library would change is made again, and told."""

import functools
from importlib import metadata

import pytest

from jaxlm.corpus import libraries
from jaxlm.corpus.config import SourceConfig
from jaxlm.corpus.normalise import NormaliseConfig
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.score_config import ProbabilityConfig
from jaxlm.report.answers import sections
from tests.corpus.test_pipeline import config, text


@pytest.fixture
def upgrade(monkeypatch):
    """`upgrade("ftfy")`: as if another version of it were installed."""

    def change(name: str) -> None:
        known = metadata.version
        monkeypatch.setattr(metadata, "version", lambda asked: "1000" if asked == name else known(asked))
        monkeypatch.setattr(libraries, "_version", functools.cache(libraries._version.__wrapped__))

    return change


def test_after_an_upgrade_the_stages_that_it_changes_are_made_again(tmp_path, upgrade):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.txt").write_text(text(1))
    cfg, work = config(tmp_path / "texts"), tmp_path / "corpora" / "planted" / "work"
    made = lambda: [len(list((work / stage).iterdir())) for stage in ("collect", "annotate", "write")]
    assert make(cfg, tmp_path / "corpora").manifest["libraries"]["ftfy"] == metadata.version("ftfy")
    for name, expected in {"pyarrow": [1, 1, 2], "py3langid": [1, 2, 3], "ftfy": [2, 3, 4]}.items():
        upgrade(name)
        manifest = make(cfg, tmp_path / "corpora").manifest
        assert made() == expected, name
    assert manifest["libraries"]["ftfy"] == "1000" and "opencc" not in manifest["libraries"]
    (again,) = [one for part in sections(manifest) for one in part.questions if one.text == "Can it be made again?"]
    assert "ftfy 1000" in str(again.answer)


def test_libraries_are_those_that_a_config_asks_for(tmp_path):
    plain = libraries.of(config(tmp_path))
    assert {"python", "ftfy", "rensa", "py3langid", "pyarrow"} <= set(plain)
    more = config(
        tmp_path, sources=(SourceConfig(name="pages", path="x", main_text="trafilatura"),),
        normalise=NormaliseConfig(chinese="simplified"),
        scores=(ProbabilityConfig(name="good", run="runs/good", of="good"),),
    )  # fmt: skip
    assert set(libraries.of(more)) - set(plain) == {"trafilatura", "opencc", "jax"}
    assert libraries.versions("no-such-library") == {"no-such-library": None}
