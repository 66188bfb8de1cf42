"""A sample, of which all was shown, says where a run would have ended."""

import json

import pytest

from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, SourceConfig
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, NearConfig, PassagesConfig
from jaxlm.corpus.forecast import would_end
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.sample import lenient
from jaxlm.errors import UserError
from tests.corpus.test_pipeline import text


def config(source, lines: list[str], **duplicates) -> CorpusConfig:
    source.mkdir()
    (source / "a.jsonl").write_text("\n".join(lines))
    kinds = DuplicatesConfig(**{"exact": None, "near": None, **duplicates})
    return CorpusConfig(name="x", sources=(SourceConfig(name="a", path=str(source)),), quality=(), duplicates=kinds)


def forecast(cfg: CorpusConfig, folder) -> list[str]:
    return would_end(cfg, make(lenient(cfg), folder / "sample", sample_of=folder / "corpora" / "x"))


def records(texts: list[str]) -> list[str]:
    return [json.dumps({"text": one}) for one in texts]


def near(number: int) -> str:
    words = text(0, 9).split()
    words[number % len(words)] = f"changed{number}"
    return " ".join(words)


PASSAGE = "A passage that is in many of the texts, and is long enough to be looked for by whoever cuts passages. " * 9
CAP = CapConfig(documents=20)


@pytest.mark.parametrize(
    "kind, how, copy",
    [
        ("exact", ExactConfig(cap=CAP), lambda n: text(0, 9)),
        ("near", NearConfig(cap=CAP), near),
        ("passages", PassagesConfig(cap=CAP), lambda n: f"{PASSAGE}\n\nNumber {n} is said."),
    ],
)
def test_a_source_of_which_duplicates_take_too_much_is_told_as_a_run_tells_it(kind, how, copy, tmp_path):
    texts = [*(text(n, 9) for n in range(1, 10)), *map(copy, range(16))]
    cfg = config(tmp_path / "texts", records(texts), **{kind: how})
    (said,) = forecast(cfg, tmp_path)
    assert said.startswith(f"source 'a': of the 25 documents that duplicates.{kind} looked at, a share of ")
    assert f"above duplicates.{kind}.cap.share=0.5, which ends a run that finds 20 documents or more" in said
    with pytest.raises(UserError, match="of 25 documents would be removed") as error:
        make(cfg, tmp_path / "run")
    assert share(said) == pytest.approx(share(str(error.value)), abs=0.02)  # a passage is cut with the gap after it


def share(message: str) -> float:
    return float(message.partition("a share of ")[2][:4])


def test_bad_records_are_told_and_what_a_run_bears_is_not(tmp_path):
    cfg = config(tmp_path / "texts", [*records([text(n, 9) for n in range(30)]), "no json"], exact=ExactConfig())
    assert forecast(cfg, tmp_path) == [
        "1 of 31 records (3.23%) are bad, more than bad_records=0.001 bears: mend or remove them, or raise it"
    ]
    assert forecast(cfg.model_copy(update={"bad_records": 0.1}), tmp_path) == []
