"""BigScience's measures against their definition, and thresholds by language."""

from collections import Counter

import pytest

from jaxlm.corpus.bigscience import BigScience, measure
from jaxlm.corpus.rules import reasons

TEXT = "The cat sat. The cat sat on the mat, and the cat sat on the mat again; 1 2 3 no more cats sat here."
ZH = "子曰：学而时习之，不亦说乎？有朋自远方来，不亦乐乎？"


def commonest(parts: list[str]) -> float:
    counts = sorted(Counter(parts).values(), reverse=True)
    many = min(int(len(counts) ** 0.5), sum(count > 1 for count in counts))
    return sum(counts[:many]) / sum(counts)


def again(parts: list[str]) -> float:
    counts = Counter(parts).values()
    return sum(count for count in counts if count > 1) / sum(counts)


@pytest.mark.parametrize(
    ("text", "language", "characters", "words"),
    [
        (TEXT, "en", 10, [run.strip(".,;123").lower() for run in TEXT.split() if run.strip(".,;123")]),
        (ZH, "zh", 3, [character for character in ZH if character.isalpha()]),
    ],
)
def test_measures_are_their_definitions(text, language, characters, words):
    found = measure(text, language)
    assert found["plain_words"] == len(words)
    assert found["repeated_characters"] == pytest.approx(
        commonest([text[place : place + characters] for place in range(len(text) - characters + 1)])
    )
    assert found["repeated_words"] == pytest.approx(again([str(words[p : p + 5]) for p in range(len(words) - 4)]))
    assert found["special_characters"] == pytest.approx(sum(not c.isalpha() for c in text) / len(text))


def test_a_text_too_short_for_an_n_gram_repeats_nothing():
    assert measure("a", "en") == {
        "plain_words": 1, "repeated_characters": 0, "repeated_words": 0, "special_characters": 0,
    }  # fmt: skip
    assert measure("", "en")["plain_words"] == 0


def test_each_text_is_judged_by_its_language():
    measures = {"plain_words": 14, "repeated_characters": 0.12, "repeated_words": 0.1, "special_characters": 0.3}
    of = {language: reasons(measures, [BigScience()], language) for language in ("en", "fr", "zh", "ja", "xx")}
    assert of["en"] == ["BigScience.plain_words below 20", "BigScience.repeated_characters above 0.106"]
    assert of["fr"] == of["zh"] == of["ja"] == of["xx"] == []


def test_a_bound_on_a_list_holds_where_there_is_one():
    measures = {**measure(TEXT, "en"), "plain_words": 100, "repeated_characters": 0.0, "repeated_words": 0.0}
    assert reasons(measures, [BigScience()], "en") == []
    broken = reasons(measures | {"stop_share": 0.1, "flagged_share": 0.02}, [BigScience()], "en")
    assert broken == ["BigScience.stop_share below 0.3", "BigScience.flagged_share above 0.01"]


def test_thresholds_of_a_language_can_be_set():
    mine = BigScience().model_copy(update={"thresholds": {}})
    assert reasons(measure("a b", "xx"), [mine], "xx") == ["BigScience.plain_words below 10"]
