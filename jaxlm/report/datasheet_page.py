"""A datasheet as a page: one file, no network, no script; it follows the reader's light or dark and any width."""

from importlib.resources import files

from jaxlm.report.sheet import Block, Facts, Figure, Question, Samples, Section, Sheet, Table
from jaxlm.report.tables import table
from jaxlm.report.words import compact, escape, share, size

LONG = 16  # rows: chosen, a longer table folds away


def page(sheet: Sheet) -> str:
    style = "".join(files("jaxlm.report").joinpath(f"{name}.css").read_text("utf-8") for name in ("page", "datasheet"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(sheet.title)}: datasheet</title>
<style>
{style}</style>
</head>
<body>
<main class="datasheet">
{_header(sheet)}
{_stream(sheet)}
{"".join(map(_section, sheet.sections))}
</main>
</body>
</html>
"""


def _header(sheet: Sheet) -> str:
    before, after = sheet.collected, sheet.stay
    facts = (
        ("documents", f"{after['documents']:,}", f"{share(after['documents'], before['documents'])} of collected"),
        ("text", size(after["bytes"]), f"{share(after['bytes'], before['bytes'])} of collected"),
        ("words", compact(after["words"]), ""),
        ("languages", f"{sheet.languages:,}", ""),
        ("sources", f"{sheet.sources:,}", ""),
        ("open questions", f"{sheet.unanswered:,}", f"of {sheet.questions:,}"),
    )
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{value} {f'<small>{more}</small>' if more else ''}</dd></div>"
        for name, value, more in facts
    )
    name = f"{escape(sheet.name)} · " if sheet.name != sheet.title else ""
    return (
        f"<header><h1>{escape(sheet.title)}</h1><p class=status>datasheet of a corpus · {name}"
        f"jaxlm {escape(sheet.jaxlm)} · <code>{escape(sheet.digest)}</code></p>\n"
        f'<dl class="facts">{listed}</dl>{_contents(sheet)}</header>'
    )


def _contents(sheet: Sheet) -> str:
    links = "".join(f'<a href="#{_id(section.title)}">{section.title}</a>' for section in sheet.sections)
    return f'<nav aria-label="Sections">{links}</nav>'


def _stream(sheet: Sheet) -> str:
    documents, bytes_ = sheet.streams
    return (
        f'<section id="flow"><h2>What became of the documents</h2>{documents.html}'
        f"<details><summary>the same by bytes</summary>{bytes_.html}</details></section>"
    )


def _section(section: Section) -> str:
    body = "".join(map(_question, section.questions))
    return f'<section id="{_id(section.title)}"><h2>{section.title}</h2>\n{body}</section>\n'


def _question(question: Question) -> str:
    answer = "".join(map(_block, question.answer))
    if not answer:
        answer = f'<p class="open">Not answered. <code>about.{question.field}</code> in the config does.</p>'
    return f'<div class="question"><h3>{question.text}</h3><div class="answer">{answer}</div></div>\n'


def _block(block: Block) -> str:
    if isinstance(block, Figure):
        return block.html
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Facts):
        rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>" for name, words in block.rows)
        return f'<dl class="steps">{rows}</dl>'
    if isinstance(block, Samples):
        return _samples(block)
    return f"<p>{escape(block)}</p>"


def _table(told: Table) -> str:
    body = table(told.heads, [[escape(cell) for cell in row] for row in told.rows])
    note = f'<p class="note">{escape(told.note)}</p>' if told.note else ""
    if len(told.rows) > LONG:
        return f"<details><summary>{len(told.rows):,} rows</summary>{body}</details>{note}"
    return body + note


def _samples(block: Samples) -> str:
    shown = "".join(
        f'<figure class="sample"><pre>{escape(one.begins)}</pre><figcaption>{escape(one.source)}'
        f"{f' · {escape(one.evidence)}' if one.evidence else ''}</figcaption></figure>"
        for one in block.some
    )
    return f'<details class="removed"><summary>{escape(block.reason)}</summary>{shown}</details>'


def _id(title: str) -> str:
    return title.split()[0].lower()
