"""Of a corpus of hostile texts: the page runs and loads nothing, says what is known and what is not, and adds up."""

import json
import re
from pathlib import Path

import pytest

from jaxlm.config import parse
from jaxlm.corpus.about import AboutConfig
from jaxlm.corpus.config import CorpusConfig, DuplicatesConfig, SourceConfig
from jaxlm.corpus.contamination.config import ContaminationConfig, EvaluationSet
from jaxlm.corpus.duplicates.config import PassagesConfig
from jaxlm.corpus.finished import Corpus
from jaxlm.corpus.pii import UNTOLD
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.score_config import ProbabilityConfig
from jaxlm.corpus.word_lists import WordListConfig
from jaxlm.data.tokenizer import train
from jaxlm.data.tokenizer_config import BytesConfig
from jaxlm.errors import UserError
from jaxlm.report.answers import sections
from jaxlm.report.datasheet import write
from tests.corpus.test_pipeline import text
from tests.corpus.test_summary import Even
from tests.report.test_page import Page

SHARED = "A paragraph that stands in each of the texts, and that is long enough to be cut out of all of them but one."
HOSTILE = "<script>alert(1)</script> | `code` \u202edesrever\x1b[2J"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("datasheet")
    (folder / "texts").mkdir()
    records = [{"text": f"{HOSTILE} {n}", "licence": HOSTILE, "date": "2020"} for n in range(4)]
    (folder / "texts" / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
    (folder / "texts" / "b.txt").write_text(
        "the and of that " * 5 + "sentences of words to be read with the rest. " * 9
    )
    (folder / "texts" / "c.txt").write_text(text(0))
    about = AboutConfig(title="A <b> corpus", motivation=f"To test. {HOSTILE}", contact="nobody")
    source = SourceConfig(name="texts", path=str(folder / "texts"))
    cfg = CorpusConfig(name="hostile", sources=(source,), about=about)
    cfg = cfg.model_copy(update={"quality": tuple(one.model_copy(update={"languages": ()}) for one in cfg.quality)})
    made = make(cfg, folder / "corpora")
    write(made.folder, made.manifest)
    return made


def text_of(corpus: Corpus, suffix: str) -> str:
    return (corpus.folder / f"datasheet.{suffix}").read_text(encoding="utf-8")


def test_the_page_loads_and_runs_nothing(corpus):
    page = Page(corpus.folder / "datasheet.html")
    assert not page.named("script") and not page.named("img") and not page.named("b title")
    links = [found["href"] for _, found in page.elements if "href" in found]
    assert links and all(link.startswith("#") for link in links)
    assert not re.search(r"https?://|url\(|@import", text_of(corpus, "html"))
    assert "default-src 'none'" in text_of(corpus, "html")
    for suffix in ("html", "md"):
        assert not set(text_of(corpus, suffix)) & {"\u202e", "\x1b"}
        assert "<script" not in text_of(corpus, suffix)


def test_a_link_of_the_page_leads_somewhere(corpus):
    page = Page(corpus.folder / "datasheet.html")
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert {f"#{name}" for name in ids} >= {found["href"] for found in page.named("a")}


def test_every_drawing_says_what_it_shows(corpus):
    html = text_of(corpus, "html")
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) > 5
    assert all('role="img"' in one and "<title" in one for one in drawings)


def test_what_people_said_is_there_and_what_nobody_answered_is_open(corpus):
    told = json.loads(text_of(corpus, "json"))
    asked = {one["field"]: one for section in told["sections"] for one in section["questions"] if one["field"]}
    assert asked["about.contact"]["answer"] == ["nobody"]
    assert not asked["about.funding"]["answered"]
    for suffix in ("html", "md"):
        found = text_of(corpus, suffix)
        assert "about.funding" in found and "about.contact" not in found and "nobody" in found


def test_every_word_that_people_may_say_has_its_question(corpus):
    fields = {one.field for section in sections(corpus.manifest) for one in section.questions if one.field}
    assert fields == AboutConfig.model_fields.keys() - {"title"}


def test_the_three_forms_ask_the_same(corpus):
    told = json.loads(text_of(corpus, "json"))
    assert told["summary"] == corpus.manifest["summary"]
    questions = [one["question"] for section in told["sections"] for one in section["questions"]]
    assert re.findall(r"^### (.*)$", text_of(corpus, "md"), re.MULTILINE) == questions
    assert re.findall(r"<h3>(.*?)</h3>", text_of(corpus, "html")) == questions


def test_the_rows_of_a_markdown_table_have_its_columns(corpus):
    tables = [part.splitlines() for part in text_of(corpus, "md").split("\n\n") if part.startswith("| ")]
    assert len(tables) > 5
    for rows in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, rows[0]


def test_the_same_manifest_makes_the_same_bytes(corpus, tmp_path):
    path = write(tmp_path, Corpus.open(corpus.folder).manifest)
    assert path == tmp_path / "datasheet.html"
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"datasheet.{suffix}" for suffix in ("html", "json", "md")
    ]
    assert all(Path(file).read_bytes() == (corpus.folder / file.name).read_bytes() for file in tmp_path.iterdir())


def test_lists_scores_evaluation_sets_and_passages_that_were_asked_for_are_told(tmp_path):
    (tmp_path / "quiz.txt").write_text("Which of these four kinds of cloud brings the most rain in May?")
    (tmp_path / "list.txt").write_text("word")
    (tmp_path / "texts.jsonl").write_text(
        "\n".join(json.dumps({"text": f"{SHARED}\n\n{n} {text(n)}"}) for n in range(3))
    )
    cfg = CorpusConfig(
        name="told",
        sources=(SourceConfig(name="texts", path=str(tmp_path / "texts.jsonl")),),
        quality=(),
        words=(WordListConfig(name="dirty", path=str(tmp_path / "list.txt")),),
        scores=(ProbabilityConfig(name="sound", run="runs/judge", of="good"),),
        duplicates=DuplicatesConfig(passages=PassagesConfig()),
        contamination=ContaminationConfig(
            sets=(EvaluationSet(name="quiz", path=str(tmp_path / "quiz.txt"), fields=("text",)),)
        ),
    )
    made = make(cfg, tmp_path / "corpora", scorers={"sound": Even()})
    write(made.folder, made.manifest)
    asked = {
        one["question"]: one["answer"]
        for section in json.loads(text_of(made, "json"))["sections"]
        for one in section["questions"]
    }
    done = asked["What was done?"][0]
    assert "name dirty" in done["lists of words"] and "runs/judge" in done["scores by models"]
    assert "name quiz" in done["evaluation sets"] and str(tmp_path) not in json.dumps(done)
    (scores,) = asked["How do the scores of models spread?"]
    assert scores["heads"][:4] == ["score", "documents", "mean", "least"]
    assert scores["rows"] == [["sound", "3", *8 * ["0.5"]]]
    (again,) = asked["Can it be made again?"]
    assert "the same sources, word lists (dirty), models (sound) and evaluation sets (quiz): the result" in again
    (copies, *_) = asked["Are there copies of one text?"]
    assert "cut out of documents that stay: 2; documents that went since under 20 characters were left: 0." in copies


def test_that_it_can_be_made_again_needs_what_the_manifest_does_not_tell(corpus):
    again = lambda manifest: sections(manifest)[-1].questions[3].answer[0]
    assert "the config in manifest.json and the same sources: the result is the same to the byte" in again(
        corpus.manifest
    )
    fake = corpus.manifest["config"] | {"personal": {"kinds": [], "mode": "fake", "salt": UNTOLD}}
    fake["languages"] = {"identify": {"fasttext": "/home/ann/lid.176.ftz"}}
    said = again({**corpus.manifest, "config": fake})
    assert "the same sources, models (lid.176.ftz) and the salt of the fakes, which is not told: the result" in said


def test_the_tokens_of_a_tokenizer_that_is_named_are_counted_by_source_and_language(corpus, tmp_path):
    train(BytesConfig(), [], seed=0).save(tmp_path / "bytes")
    all_stay = {"quality": (), "tokenizer": str(tmp_path / "bytes")}
    cfg = parse(corpus.manifest["config"], CorpusConfig).model_copy(update=all_stay)
    made = make(cfg, tmp_path)
    write(made.folder, made.manifest)
    found, sizes = made.manifest["stages"]["tokens"], made.manifest["summary"]["profiles"]["stay"]["languages"]
    assert {name: one["tokens"] for name, one in found["languages"].items()} == {
        name: one["bytes"] for name, one in sizes.items()
    }
    assert found["sources"]["texts"]["documents"] == made.manifest["stages"]["write"]["documents"] > 0
    assert f"{found['sources']['texts']['tokens']:,} by the tokenizer {found['digest']}" in text_of(made, "md")
    assert "Tokens and bytes a token by language" in text_of(made, "html")
    assert "They were not counted" in text_of(corpus, "md")
    with pytest.raises(UserError, match=r"tokenizer='.*nothing' is no folder: name a run"):
        make(cfg.model_copy(update={"tokenizer": str(tmp_path / "nothing")}), tmp_path)
