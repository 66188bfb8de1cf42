"""Scores of documents: who goes for one, what is asked again and what is not, and what is told of them."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from jaxlm.corpus import scores, table
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, SourceConfig
from jaxlm.corpus.document import Document
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.rules import Bounds
from jaxlm.corpus.score_config import BitsPerByteConfig, ProbabilityConfig
from jaxlm.corpus.scores import SCORES, note, out_of_bounds, spread
from jaxlm.corpus.stages import DOCUMENTS, NOTES
from jaxlm.corpus.story import stories
from jaxlm.errors import UserError


class Letters(NamedTuple):
    """A model that likes short texts."""

    digest: str = "letters"

    def __call__(self, texts):
        return [1 / len(text) for text in texts]


class Broken(NamedTuple):
    digest: str = "broken"

    def __call__(self, texts):
        return [float("nan") for _ in texts]


class Silent(NamedTuple):
    digest: str = "letters"

    def __call__(self, texts):
        raise AssertionError("what was scored is not scored again")


TEXTS = ["A short text.", "A text that is longer than the other one by far, and goes."]


def config(folder: Path, **bounds) -> CorpusConfig:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text)
    return CorpusConfig(
        name="scored",
        sources=(SourceConfig(name="texts", path=str(folder)),),
        quality=(),
        personal=None,
        duplicates=DuplicatesConfig(exact=None, near=None),
        scores=(ProbabilityConfig(name="short", run="runs/none", of="short", bounds=Bounds(**bounds)),),
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    return make(config(folder / "texts", least=0.05), folder / "corpora", scorers={"short": Letters()})


def removed(corpus) -> list[dict]:
    return [row for path in sorted((corpus.folder / "removed").iterdir()) for row in table.read_rows(path)]


def test_a_document_goes_for_its_score_and_the_score_is_told(corpus):
    (gone,) = removed(corpus)
    wanted = {"stage": "score", "reason": "short below 0.05", "evidence": f"{1 / len(TEXTS[1]):.6g}"}
    assert gone["sample"] == TEXTS[1] and {name: gone[name] for name in wanted} == wanted
    told = corpus.manifest["stages"]["scores"]["short"]
    assert told["documents"] == 2 and told["quantiles"][0] == 1 / len(TEXTS[1]) < told["quantiles"][-1]
    (story,) = stories(corpus, Document.of(TEXTS[0], "").id)
    assert story.stays and story.note["scores"] == {"short": 1 / len(TEXTS[0])}


def test_another_bound_asks_no_model_and_another_model_is_asked(corpus):
    texts, root = corpus.folder.parent.parent / "texts", corpus.folder.parent
    assert removed(make(config(texts), root, scorers={"short": Silent()})) == []
    with pytest.raises(AssertionError, match="scored again"):
        make(config(texts), root, scorers={"short": Silent(digest="another")})
    make(config(texts, least=0.05), root, scorers={"short": Silent()})  # as the other tests found it


def test_documents_of_other_languages_are_not_scored(tmp_path):
    score = BitsPerByteConfig(name="plain", run="", languages=("de",))
    table.write_documents(tmp_path / DOCUMENTS, [Document.of(text, name) for name, text in (("a", "x"), ("b", "yy"))])
    languages = [{"language": "en"}, {"language": "de"}]
    table.write_rows(tmp_path / NOTES, languages, table.schema(language="string"))
    assert note(tmp_path, tmp_path, tmp_path, Letters(), score) == {"scored": 1}
    assert table.column(tmp_path / SCORES, "score") == [None, 0.5]
    assert out_of_bounds(score.model_copy(update={"bounds": Bounds(least=1)}), None) is None


def test_many_documents_are_scored_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "_TEXTS", 3)
    table.write_documents(tmp_path / DOCUMENTS, [Document.of("x" * size, "") for size in range(1, 9)])
    note(tmp_path, tmp_path, tmp_path, Letters(), BitsPerByteConfig(name="plain", run=""))
    assert table.column(tmp_path / SCORES, "score") == [1 / size for size in range(1, 9)]


def test_both_bounds_are_allowed_values():
    score = BitsPerByteConfig(name="plain", run="", bounds=Bounds(least=1, most=2))
    found = [out_of_bounds(score, value) for value in (0.9, 1.0, 2.0, 2.1)]
    assert found == ["plain below 1", None, None, "plain above 2"]


def test_a_score_that_is_no_number_is_told_with_its_document(tmp_path):
    table.write_documents(tmp_path / DOCUMENTS, [Document.of("x", "texts/a.txt")])
    with pytest.raises(UserError, match=r"score 'plain' of texts/a.txt is nan, and must be a finite number"):
        note(tmp_path, tmp_path, tmp_path, Broken(), BitsPerByteConfig(name="plain", run=""))


def test_a_score_without_a_model_or_with_a_name_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"score 'short' has no scorer: `jaxlm prepare` makes those of runs"):
        make(config(tmp_path / "texts"), tmp_path / "corpora")
    assert not (tmp_path / "corpora").exists()
    twice = config(tmp_path / "texts").scores * 2
    with pytest.raises(ValueError, match=r"scores have the name 'short' twice"):
        CorpusConfig(name="x", sources=(SourceConfig(name="a", path=""),), scores=twice)


def test_quantiles_are_values_that_are_there():
    found = spread(np.arange(101.0))
    assert found == {"documents": 101, "mean": 50.0, "quantiles": [5.0 * n for n in range(21)]}
    assert spread(np.zeros(0)) == {"documents": 0, "mean": None, "quantiles": []}
