"""What parts found, told together: by document, by item, and which items are no more than common phrases."""

import json
from pathlib import Path

import pytest

from jaxlm.corpus import table
from jaxlm.corpus.contamination import index, judge, report

ITEMS = 15  # of the set "many"; one more is the set "few"


@pytest.fixture
def told(tmp_path) -> Path:
    """Of two parts: each item in a document of both, the last ones first."""
    items = [
        {"set": "many" if n < ITEMS else "few", "place": f"x:{n}", "words": 9, "length": 9, "begins": f"item {n}"}
        for n in range(ITEMS + 1)
    ]
    table.write_rows(tmp_path / index.ITEMS, items, index._ITEM)
    parts = [tmp_path / name for name in ("one", "two")]
    for part in parts:
        part.mkdir()
        leaks = [
            {"row": row, "id": f"{part.name}{row}", "source": part.name, "set": items[n]["set"], "item": n,
             "place": f"x:{n}", "share": 1.0, "spans": "[]", "sample": f"a sample of {n}"}
            for row, some in enumerate(([ITEMS], [13, 14], range(13), [])) for n in some
        ]  # fmt: skip
        table.write_rows(part / judge.FINDINGS, leaks, judge._FINDING)
        table.write_rows(part / judge.PHRASES, [{"item": 3, "documents": 20, "whole": 9}], judge._PHRASE)
        held = {"id": "x", "source": part.name, "set": "many", "place": "x:3", "share": 1.0, "spans": "[]"}
        table.write_rows(part / judge.WHOLE, [held] * 9, judge.HELD)
    report.report(tmp_path, parts, tmp_path, {"many": {"items": ITEMS}, "few": {"items": 1}})
    return tmp_path


def test_a_set_is_told_by_its_items_and_documents_and_its_first_items_are_shown(told):
    found = json.loads((told / report.REPORT).read_bytes())
    counts = {
        name: [one[key] for key in ("items", "found", "documents", "common_phrases")] for name, one in found.items()
    }
    assert counts == {"many": [15, 15, 4, 1], "few": [1, 1, 2, 0]}
    assert [(one["place"], one["id"]) for one in found["many"]["samples"]] == [(f"x:{n}", "one2") for n in range(10)]


def test_leaks_are_in_the_order_of_documents_and_phrases_are_counted_over_all_parts(told):
    leaks = table.read_rows(told / report.LEAKS)
    assert len(leaks) == 2 * (ITEMS + 1) and [row["source"] for row in leaks] == sorted(row["source"] for row in leaks)
    assert [row["begins"] for row in leaks[:4]] == ["item 15", "item 13", "item 14", "item 0"]
    assert table.read_rows(told / report.PHRASES) == [
        {"set": "many", "place": "x:3", "begins": "item 3", "documents": 40, "whole": 18}
    ]
    assert len(table.read_rows(told / report.WHOLE)) == 18


def test_no_more_is_in_memory_than_the_findings_of_a_part(told, tmp_path, monkeypatch):
    held, read = [], table.read_rows
    monkeypatch.setattr(table, "read_rows", lambda path: held.append(path.parent.name) or read(path))
    monkeypatch.setattr(table.Writer, "add", lambda writer, row: held.append(f"row of {row['source']}"))
    report.report(tmp_path, [told / "one", told / "two"], told, {"many": {}, "few": {}})
    assert held.index("two") > held.index("row of one") and "row of one" not in held[held.index("two") :]
