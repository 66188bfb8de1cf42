"""Passages that many documents share: cut out of all but one, told, and no document goes for one of them alone."""

import json
import random
from pathlib import Path

import pytest

from jaxlm.config import override
from jaxlm.corpus import pipeline
from jaxlm.corpus.config import DuplicatesConfig
from jaxlm.corpus.cuts import Cut
from jaxlm.corpus.document import Document
from jaxlm.corpus.duplicates.config import CapConfig, ExactConfig, NearConfig, PassagesConfig
from jaxlm.corpus.finished import Corpus
from jaxlm.corpus.ledger import Ledger, Removal, write
from jaxlm.corpus.pipeline import make
from jaxlm.corpus.story import stories
from jaxlm.errors import UserError
from tests.corpus.test_pipeline import config, rows, text
from tests.corpus.test_pipeline_faults import Recorded

FOOTER = "All rights reserved. " + text(99, 2) + " Write to the editors of this page at ann.smith@realmail.com."
ANY, NONE = CapConfig(share=1), CapConfig(share=0, documents=1)


def planted() -> dict[str, str]:
    near = text(5).split()
    near[7] = "so"
    return {
        "longest": f"{text(1, 40)}\n\n{FOOTER}", "first": f"{FOOTER}\n\n{text(2)}",
        "middle": f"{text(3)}\n\n{FOOTER}\n\nThe end.",
        "twice": f"{text(4)}\n\n{text(98, 3)}\n\n{text(98, 3)}\n\nLast words.", "nothing": f"{FOOTER}\n\nToo little.",
        "long": f"{text(5)} More.", "near": f"{' '.join(near)}\n\n{FOOTER.upper()}",
    }  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("passages")
    (folder / "texts").mkdir()
    for name, value in planted().items():
        (folder / "texts" / f"{name}.txt").write_text(value)
    return make(passages(folder / "texts"), folder / "corpora")


def passages(source: Path, **more):
    duplicates = DuplicatesConfig(passages=PassagesConfig(cap=ANY), near=NearConfig(cap=ANY))
    return config(source, quality=(), duplicates=duplicates, **more)


def of(corpus: Corpus, folder: str, name: str) -> list[dict]:
    return [row for row in rows(corpus, folder) if row["source"] == f"texts/{name}.txt"]


def test_a_repeated_paragraph_is_cut_and_its_documents_stay(corpus):
    texts = {Path(row["source"]).stem: row["text"] for row in rows(corpus, "documents")}
    scrubbed = FOOTER.replace("ann.smith@realmail.com", "<EMAIL>")
    assert texts == {
        "longest": f"{text(1, 40)}\n\n{scrubbed}", "first": text(2), "middle": f"{text(3)}\n\nThe end.",
        "twice": f"{text(4)}\n\n{text(98, 3)}\n\nLast words.", "long": f"{text(5)} More.",
    }  # fmt: skip


def test_a_document_of_which_too_little_is_left_goes_and_says_so(corpus):
    (row,) = of(corpus, "removed", "nothing")
    longest = Document.of(planted()["longest"], "").id
    assert row["reason"] == "under 20 characters left"
    assert row["evidence"].startswith(f"11 of {len(planted()['nothing'])} are left; the first paragraph that goes is")
    assert row["evidence"].endswith(
        f"equal to {longest}, characters {len(text(1, 40)) + 2} to {len(planted()['longest'])}"
    )
    assert not of(corpus, "cut", "nothing")


def test_near_duplicates_are_judged_without_what_was_cut(corpus):
    (row,) = of(corpus, "removed", "near")
    assert row["reason"] == "near duplicate" and row["evidence"].endswith(Document.of(planted()["long"], "").id)
    assert float(row["evidence"].split()[1]) > 0.9  # with its footer it would be 0.8


def test_every_cut_is_told_with_its_place_and_counted(corpus):
    kept = {row["id"]: planted()[Path(row["source"]).stem] for row in rows(corpus, "documents")}
    cuts = rows(corpus, "cut")
    assert [Path(row["source"]).stem for row in cuts] == ["first", "middle", "twice"]
    assert any("<EMAIL>" in row["sample"] for row in cuts)  # people look at samples
    for row in cuts:
        source = planted()[Path(row["source"]).stem]
        shown = source[row["start"] : row["end"]].replace("ann.smith@realmail.com", "<EMAIL>")
        assert row["sample"] == shown[:200]
        id_, start, end = (
            row["evidence"].removeprefix("equal to ").replace(", characters", "").replace(" to ", " ").split()
        )
        assert kept[id_][int(start) : int(end)].casefold() == source[row["start"] : row["end"]].strip().casefold()
    assert corpus.manifest["stages"]["cut"] == {"duplicates": {"repeated paragraph": 3}}
    assert corpus.manifest["stages"]["removed"]["duplicates"] == {"near duplicate": 1, "under 20 characters left": 1}
    assert corpus.manifest["stages"]["write"]["documents"] == 5
    assert sum(name.startswith("cut/") for name in corpus.manifest["files"]) == len(corpus.manifest["inputs"])


def test_a_document_that_lost_a_passage_tells_so(corpus):
    (story,) = stories(corpus, Document.of(planted()["first"], "").id)
    assert story.stays and not story.reasons
    (cut,) = story.cuts
    assert (cut["stage"], cut["reason"], cut["start"]) == ("duplicates", "repeated paragraph", 0)
    assert stories(corpus, Document.of(planted()["long"], "").id)[0].cuts == []


def test_what_is_left_cannot_be_longer_than_what_is_cut(corpus):
    cfg = passages(corpus.folder)
    with pytest.raises(UserError, match=r"left=101 is more than shortest=100.*set left to 100 or less"):
        override(cfg, ["duplicates.passages.left=101"])


def test_with_a_higher_cap_a_search_goes_on_where_the_cap_ended_it(tmp_path, monkeypatch):
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / "texts" / f"{name}.txt").write_text(text(1))
    cfg = config(tmp_path / "texts", quality=(), duplicates=DuplicatesConfig(exact=ExactConfig(cap=NONE), near=None))
    with pytest.raises(
        UserError, match=r"above duplicates\.exact\.cap\.share=0\.0; .*raise duplicates\.exact\.cap\.share"
    ):
        make(cfg, tmp_path / "corpora")
    engine = Recorded()
    monkeypatch.setattr(pipeline, "executor", lambda *_: engine)
    made = make(override(cfg, ["duplicates.exact.cap.share=1"]), tmp_path / "corpora")
    assert {folder.parent.name for folder in engine.folders} == {"told", "write"}
    assert made.manifest["stages"]["removed"]["duplicates"] == {"exact duplicate": 1}
    assert not list(made.folder.glob("work/duplicates/.*"))


def test_a_ledger_gives_back_what_stages_wrote(tmp_path):
    goes = Removal("quality", "short"), Removal("language", "in de")
    cut = [(Cut(3, 9, "<MASK>"), Removal("contamination", "13 words", "of some test"))]
    assert write(tmp_path / "a", {7: goes[:1]}) == {"quality": {"short": 1}}
    assert write(tmp_path / "b", {7: goes[1:], 2: goes[:1]}, {4: cut}) == {
        "quality": {"short": 1},
        "language": {"in de": 1},
    }
    told = Ledger((tmp_path / "a", tmp_path / "b"))
    assert told.gone() == {7: list(goes), 2: [goes[0]]} and told.cuts() == {4: cut}
    assert told.digest() != Ledger((tmp_path / "a",)).digest()


def test_the_main_process_gets_counts_and_no_rows(corpus):
    """What tasks give back is their facts: these are as long for ten times the text, but for longer numbers."""
    for stage in ("select", "duplicates"):
        for facts in (corpus.folder / "work" / stage).glob("*/facts.json"):
            assert json.loads(facts.read_bytes())["facts"].keys() <= {"removed", "jaccard", "sizes", "biggest"}


def test_of_passages_in_many_parts_each_is_left_once(tmp_path):
    rng = random.Random(0)
    shared = [text(1000 + n, 3) for n in range(12)]
    (tmp_path / "texts").mkdir()
    for n in range(25):
        own = [text(n, 3), *rng.choices(shared, k=rng.randint(0, 4))]
        (tmp_path / "texts" / f"{n}.txt").write_text("\n\n".join(rng.sample(own, len(own))))
    made = make(passages(tmp_path / "texts", part_bytes=1 << 12), tmp_path / "corpora")
    assert len(made.manifest["inputs"]) > 3
    left = [paragraph for row in rows(made, "documents") for paragraph in row["text"].split("\n\n")]
    everything_there = {p for file in (tmp_path / "texts").iterdir() for p in file.read_text().split("\n\n")}
    assert sorted(left) == sorted(everything_there)
