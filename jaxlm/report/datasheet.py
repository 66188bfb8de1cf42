"""datasheet.html, datasheet.md and datasheet.json of a corpus, from its manifest alone.

The same manifest gives the same bytes. In the style of Datasheets for Datasets (Gebru et al. 2018, arXiv:1803.09010):
see answers.py. Left out: comparing corpora.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxlm.corpus.summary import warnings
from jaxlm.hashing import write_atomically
from jaxlm.report import datasheet_markdown, datasheet_page
from jaxlm.report.answers import sections
from jaxlm.report.sheet import Block, Facts, Figure, Samples, Section, Sheet, Table
from jaxlm.report.took import streams

NAME = "datasheet"


def write(folder: Path, manifest: Mapping[str, Any]) -> Path:
    """Write the three into the `folder` of a corpus; returns the path of the page."""
    manifest = json.loads(json.dumps(manifest, sort_keys=True))  # in the order in which it is read again
    made = sheet(manifest)
    forms = {"json": as_json(made, manifest), "md": datasheet_markdown.text(made), "html": datasheet_page.page(made)}
    for suffix, content in forms.items():
        write_atomically(folder / f"{NAME}.{suffix}", content.encode())
    return folder / f"{NAME}.html"


def sheet(manifest: Mapping[str, Any]) -> Sheet:
    found, config = manifest["summary"], manifest["config"]
    before, after = (found["profiles"][name] for name in ("collected", "stay"))
    return Sheet(
        title=config["about"]["title"] or config["name"],
        name=config["name"],
        jaxlm=manifest["jaxlm"],
        digest=manifest["digest"],
        collected=before["totals"],
        stay=after["totals"],
        languages=len(after["languages"]),
        sources=len(found["sources"]),
        streams=streams(manifest),
        sections=sections(manifest),
    )


def as_json(made: Sheet, manifest: Mapping[str, Any]) -> str:
    """Questions with their answers, and the numbers of the summary behind them."""
    told = {
        "format_version": 1, "corpus": made.name, "title": made.title, "jaxlm": made.jaxlm, "digest": made.digest,
        "collected": made.collected, "stay": made.stay, "warnings": warnings(manifest),
        "sections": [_section(section) for section in made.sections], "summary": manifest["summary"],
    }  # fmt: skip
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _section(section: Section) -> dict[str, Any]:
    questions = [
        {
            "question": one.text,
            "answered": bool(one.answer),
            "field": f"about.{one.field}" if one.field else None,
            "answer": _blocks(one.answer),
        }
        for one in section.questions
    ]
    return {"title": section.title, "questions": questions}


def _blocks(blocks: Sequence[Block]) -> list[Any]:
    told = []
    for block in blocks:
        if isinstance(block, Figure):
            block = block.table
        if isinstance(block, Table):
            told.append({"heads": list(block.heads), "rows": [list(row) for row in block.rows], "note": block.note})
        elif isinstance(block, Facts):
            told.append(dict(block.rows))
        elif isinstance(block, Samples):
            told.append({"reason": block.reason, "samples": [one._asdict() for one in block.some]})
        else:
            told.append(block)
    return told
