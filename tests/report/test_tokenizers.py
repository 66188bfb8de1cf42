"""The page and the tables of tokenizers: every number stands there, and no text of theirs is markup."""

import re

import pytest

from jaxlm.corpus.tokenizer_report import compare
from jaxlm.errors import UserError
from jaxlm.report import tokenizers as page
from tests.data.test_tokenizer import trained


@pytest.fixture
def text(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "<b>.txt").write_text("def f1(a, b): that is what the old king wrote to his son of the north")
    return folder


def test_a_page_has_every_language_source_and_tokenizer(text):
    found = compare({"one": trained("bpe"), "<two>": trained("unigram")}, text)
    html = page.page(found, "<text>")
    for name in ("one", "&lt;two&gt;", "&lt;b&gt;.txt", "Tokenizers on &lt;text&gt;", ">en [1]<", "tokens/word [2]"):
        assert name in html
    assert "<b>.txt" not in html and "<two>" not in html and "<script" not in html
    assert html.count('class="bar ours"') >= 1 and len(re.findall('class="bar', html)) == 3  # .bars and one for each
    assert f"{found[0]['whole']['bytes_per_token']:.3f}" in html


def test_tokens_that_are_markup_are_text():
    found = compare({"it": trained("bpe")}, None)
    found[0]["longest"][0]["text"] = "<script>"
    html = page.page(found, None)
    assert "&lt;script&gt;" in html and "<script" not in html


def test_rows_have_a_cell_for_each_head(text):
    found = compare({"one": trained("bpe"), "two": trained("char")}, text)
    for some in (found, found[:1]):
        for heads, rows in (page.summary(some), page.groups(some, "languages"), page.groups(some, "sources")):
            assert all(len(row) == len(heads) for row in rows) and rows
    heads, rows = page.summary(compare({"one": trained("bpe")}, None))
    assert dict(zip(heads, rows[0], strict=True)) == {
        "tokenizer": "one", "kind": "sentencepiece", "vocab": "400", "bytes": "256", "lossless": "yes",
    }  # fmt: skip


def test_what_is_not_all_never_reads_all():
    assert [page._share(value) for value in (1, 0.999999, 0.5, 1e-9, 0, None)] == [
        "100 %", "99.99 %", "50.00 %", "0.01 %", "0 %", "–",
    ]  # fmt: skip


def test_a_place_where_no_page_can_be_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"--html .* is a folder: name a file"):
        page.require_place(tmp_path)
    with pytest.raises(UserError, match=r"which is no folder: name a file in a folder that is there"):
        page.require_place(tmp_path / "nowhere" / "page.html")


def test_a_page_is_written_whole(tmp_path):
    page.write(tmp_path / "page.html", compare({"it": trained("bpe")}, None), None)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
