"""Fields of a corpus' config that several classes have."""

import pytest

from jaxlm.config import Config, parse
from jaxlm.corpus.bigscience import BigScience
from jaxlm.corpus.config import LanguagesConfig, QualityConfig
from jaxlm.corpus.labels.rules import LanguageRule
from jaxlm.corpus.score_config import PerplexityConfig
from jaxlm.corpus.word_lists import WordListConfig
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
