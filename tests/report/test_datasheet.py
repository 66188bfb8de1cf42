"""Of a corpus of hostile texts: the page runs and loads nothing, says what is known and what is not, and adds up."""

import json
import re
from pathlib import Path

import pytest

from jaxlm.corpus.about import AboutConfig
from jaxlm.corpus.config import CorpusConfig, SourceConfig
from jaxlm.corpus.finished import Corpus
from jaxlm.corpus.pipeline import make
from jaxlm.report.answers import sections
from jaxlm.report.datasheet import write
from tests.report.test_page import Page

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
    assert told["ledger"] == corpus.manifest["ledger"]
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
