"""Fields of a corpus' config that several classes have."""

import pytest

from jaxlm.config import Config, dump, parse
from jaxlm.corpus.bigscience import BigScience
from jaxlm.corpus.config import CorpusConfig, LanguagesConfig, QualityConfig, SourceConfig
from jaxlm.corpus.labels.rules import LanguageRule
from jaxlm.corpus.rules import C4Paragraphs, Gopher
from jaxlm.corpus.score_config import PerplexityConfig
from jaxlm.corpus.word_lists import WordList, WordListConfig
from jaxlm.errors import UserError


@pytest.mark.parametrize(
    ("config", "fields", "field"),
    [
        (LanguagesConfig, {}, "keep"),
        (QualityConfig, {}, "languages"),
        (WordListConfig, {"name": "a", "path": "a.txt"}, "languages"),
        (PerplexityConfig, {"name": "a", "run": "runs/a"}, "languages"),
        (LanguageRule, {"name": "a", "vote": "b"}, "languages"),
    ],
)
@pytest.mark.parametrize("told", ["english", "EN", "e", "zh-Hant", "en\n"])
def test_a_language_that_no_text_is_ever_in_is_refused(config: type[Config], fields, field, told):
    assert getattr(parse(fields | {field: ["en", "ceb", "und"]}, config), field) == ("en", "ceb", "und")
    with pytest.raises(UserError, match=rf"{field}.*is no code of a language: ISO 639-1 has two small letters"):
        parse(fields | {field: ["en", told]}, config)


def test_thresholds_are_of_languages_too():
    thresholds = BigScience().bounds("fr", {})
    with pytest.raises(UserError, match="'french' is no code of a language"):
        parse({"thresholds": {"french": {name: {"most": 1} for name in thresholds}}}, BigScience)


def corpus(*quality: QualityConfig) -> CorpusConfig:
    lists = tuple(WordListConfig(name=name, path="x") for name in ("bad", "good"))
    cfg = CorpusConfig(name="a", sources=(SourceConfig(name="a", path="a"),), words=lists)
    return parse(dump(cfg) | {"quality": [dump(one) for one in quality]}, CorpusConfig)


@pytest.mark.parametrize(
    ("quality", "told"),
    [
        ([QualityConfig(rules=(Gopher(), Gopher()))], "'gopher' twice for documents in 'en'"),
        ([QualityConfig(), QualityConfig(languages=(), rules=(Gopher(),))], "'gopher' twice for documents in 'en'"),
        ([QualityConfig(languages=(), rules=(Gopher(), Gopher()))], "'gopher' twice for documents in every language"),
        ([QualityConfig(rules=(WordList(words="bad"), WordList(words="bad")))], "'word_list' on words='bad' twice"),
    ],
)  # fmt: skip
def test_a_rule_that_a_language_would_have_twice_is_refused(quality, told):
    with pytest.raises(UserError, match=rf"quality has rules of kind {told}.*: leave one of them out"):
        corpus(*quality)


def test_other_rules_and_other_languages_may_overlap():
    corpus(
        QualityConfig(languages=("en", "de"), rules=(Gopher(), WordList(words="bad"), WordList(words="good"))),
        QualityConfig(languages=(), rules=(C4Paragraphs(),)),
        QualityConfig(languages=("fr",), rules=(Gopher(),)),
    )
