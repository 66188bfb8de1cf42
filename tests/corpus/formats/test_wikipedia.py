"""Each page of an export is a document or a reason; markup leaves its words."""

import bz2
import gzip
import re

import pytest

from jaxlm.corpus.document import Document, Tally
from jaxlm.corpus.formats import wikipedia
from jaxlm.corpus.formats.wikitext import plain_text
from jaxlm.errors import UserError
from tests.faults import hostile

SITE = """<siteinfo><base>https://de.wikipedia.org/wiki/Hauptseite</base><namespaces><namespace key="0" />
<namespace key="1">Diskussion</namespace><namespace key="6">Datei</namespace></namespaces></siteinfo>"""


def page(title: str, text: str, ns: str = "<ns>0</ns>", more: str = "") -> str:
    revision = f"<revision><timestamp>2016-04-22T10:19:33Z</timestamp>{more}<text>{text}</text></revision>"
    return f"<page><title>{title}</title>{ns}{revision}</page>\n"


def export(*pages: str) -> bytes:
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{SITE}{"".join(pages)}</mediawiki>'.encode()


def read(path, data: bytes) -> tuple[list[Document], Tally]:
    path.write_bytes(data)
    tally = Tally(budget=1.0)
    return list(wikipedia.read(path, path.name, tally)), tally


@pytest.mark.parametrize("name, pack", [("a.xml", bytes), ("a.xml.gz", gzip.compress), ("a.xml.bz2", bz2.compress)])
def test_a_page_comes_with_its_marks_and_others_are_counted(name, pack, tmp_path):
    data = export(
        page("Grüner Tee", "'''Tee''' &amp;lt; [[Datei:a.jpg|thumb|Blatt]]&lt;ref&gt;x&lt;/ref&gt;Kaffee"),
        page("Talk", "words", "<ns>1</ns>"),
        page("Diskussion:Alt", "words", ns=""),
        page("Alt", "#redirect [[Neu]]"),
        page("Modul", "return", more="<model>Scribunto</model>"),
        page("Leer", "{{Vorlage}}"),
        page("Zwei", "old</text></revision><revision><text>new"),
        "<page><title>Weg</title><ns>0</ns><redirect title='Neu' /><revision><text>x</text></revision></page>",
    )
    found, tally = read(tmp_path / name, pack(data))
    assert [d.text for d in found] == ["Tee < Kaffee", "new"]
    assert found[0].marks == {
        "title": "Grüner Tee", "url": "https://de.wikipedia.org/wiki/Gr%C3%BCner_Tee",
        "date": "2016-04-22T10:19:33Z", "offset": data.index(b"<page>"),
    }  # fmt: skip
    assert found[0].source == f"{name}:{data.index(b'<page>')}"
    assert tally.skipped == {
        "a wiki page of another namespace (1)": 2, "a wiki page that redirects": 2,
        "a wiki page in the model Scribunto": 1, "empty": 1,
    }  # fmt: skip


def test_an_entity_bomb_is_refused(tmp_path):
    (tmp_path / "a.xml").write_bytes(hostile.entity_bomb())
    with pytest.raises(UserError, match=r"a\.xml: XML with entities of its own \(&a0;\).*remove its <!DOCTYPE>"):
        list(wikipedia.read(tmp_path / "a.xml", "a.xml", Tally()))


@pytest.mark.parametrize("name, pack", [("a.xml", bytes), ("a.xml.gz", gzip.compress), ("a.xml.bz2", bz2.compress)])
def test_an_export_cut_short_gives_its_whole_pages_and_a_reason(name, pack, tmp_path):
    pages = [page(f"Page {i}", f"Text {i} of a page.") for i in range(500)]
    for cut in hostile.cuts(pack(export(*pages)), seed=0, count=4):
        found, tally = read(tmp_path / name, cut)
        assert [d.text for d in found] == [f"Text {i} of a page." for i in range(len(found))]
        assert tally.bad_records == 1 and next(iter(tally.skipped)) in ("damaged or cut short", "no XML any more")
    assert len(found) > 400


def test_wrong_and_deep_xml_is_told(tmp_path):
    for data in (b"", b"no xml", b"\xff\xfe\0", export(page("a", "\x01")), export(page("a", "&undefined;"))):
        assert "no XML any more" in read(tmp_path / "a.xml", data)[1].skipped
    found, tally = read(
        tmp_path / "a.xml", b"<mediawiki>" + b"<page>" * 100_000 + b"</page>" * 100_000 + b"</mediawiki>"
    )
    assert not found and tally.skipped == {"empty": 1}
    assert read(tmp_path / "a.xml.gz", gzip.compress(b"<html />"))[1].skipped == {"XML without wiki pages": 1}


@pytest.mark.parametrize(
    "wikitext, text",
    [
        ("a {{b|{{c}}|d}} e", "a e"),
        ("{{a}} b }} c {{ d", "b }} c {{ d"),
        ("x\n{| class=a\n| b\n{|\n| c\n|}\n|}\ny", "x\n\ny"),
        ("a<ref name=b>c</ref>d<ref name=b />e<!-- f <ref> -->g", "adeg"),
        ("[[a]] [[a|b]] [[:Category:c]] [[category:d]]", "a b Category:c"),
        ("[[File:a.jpg|thumb|see [[b|c]] and [http://x y] or [1]]] d", "d"),
        ("[[de:Haus]] [http://a.org b c] [http://a.org] http://a.org", "b c http://a.org"),
        ("== A ==\nb\n=== C ===\n== D ==\ne\n== F ==\n", "A\nb\nD\ne"),
        ("* a\n** b\n# c\n: d\n;e\n----\nf", "- a\n- b\n- c\nd\ne\n\nf"),
        ("''a'' '''b''' don't", "a b don't"),
        ("a<br/>b <span class='x'>c</span> 1 &lt; 2 < 3", "a\nb c 1 < 2 < 3"),
        ("<nowiki>[[a]] '''b'''</nowiki> ''c''", "[[a]] '''b''' c"),
        ("__NOTOC__ a\n\n\n\nb", "a\n\nb"),
        ("<math>x^2</math> <gallery>\na.jpg\n</gallery> a", "a"),
    ],
)
def test_markup_leaves_its_words(wikitext, text):
    assert plain_text(wikitext) == text


@pytest.mark.parametrize(
    "unit, end",
    [("{{", ""), ("[[", ""), ("[[a|x", "]]"), ("{|\n", ""), ("<ref>", ""), ("<ref>", "</ref>"), ("<!--", ""), ("'", ""),
     ("<nowiki>", ""), ("[http://a", ""), ("=\n", ""), ("<br ", ""), (" ", ""), ("&", ""), ("<a", ""), ("\n", "")],
)  # fmt: skip
def test_hostile_markup_ends_and_grows_nothing(unit, end):
    """In the square of its length it would take hours."""
    text = unit * 100_000 + end * 100_000
    assert len(plain_text(text)) <= len(text)


def test_every_page_of_a_real_dump_is_a_document_or_a_reason(real_data):
    path = real_data / "enwiki-xml-sample" / "enwiki-pages-articles-shortened.xml.bz2"
    tally = Tally()
    found = list(wikipedia.read(path, path.name, tally))
    assert len(found) == 106 and tally.skipped == {
        "a wiki page that redirects": 99, "a wiki page of another namespace (4)": 1,
    }  # fmt: skip
    assert len(found) + tally.skipped.total() == bz2.decompress(path.read_bytes()).count(b"<page>")
    left = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||'''|<ref|^==|\b(?:File|Image|Category):\S", re.MULTILINE)
    assert [match[0] for document in found for match in left.finditer(document.text)] == []
    assert all(document.marks["url"].startswith("https://en.wikipedia.org/wiki/") for document in found)
