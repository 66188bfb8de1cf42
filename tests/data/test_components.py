"""Names of components are numbered as they are met, and there are not too many of them."""

from jaxlm.data import components
from jaxlm.data.components import Names


def test_names_are_numbered_as_they_are_met():
    names = Names()
    assert [names.numbers(one) for one in (("web", "en"), ("books", "en"), ("web", "de"))] == [(0, 0), (1, 0), (0, 1)]
    assert names.facts() == {"source": ["web", "books"], "language": ["en", "de"]}


def test_a_field_that_differs_in_each_record_fills_no_manifest(monkeypatch):
    monkeypatch.setattr(components, "MOST", 3)
    names = Names()
    assert [names.numbers((text, "en"))[0] for text in ("a", "b", "c", "d", "a")] == [0, 1, 2, 2, 0]
    assert names.facts()["source"] == ["a", "b", components.OTHERS]
    names.numbers(("x" * 5_000, "en"))
    assert max(map(len, Names().facts()["source"] + names.facts()["source"])) <= components.LONGEST
