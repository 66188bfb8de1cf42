"""A datasheet as Markdown: tables where the page has drawings."""

import re
from collections.abc import Sequence

from jaxlm.report.sheet import Block, Facts, Figure, Question, Samples, Section, Sheet, Table
from jaxlm.report.words import escape, share, size

_SPECIAL = re.compile(r"([\\`*_\[\]|#~])")


def text(sheet: Sheet) -> str:
    before, after = sheet.collected, sheet.stay
    kept = share(after["documents"], before["documents"])
    lead = (
        f"{after['documents']:,} of {before['documents']:,} documents ({kept}) stay, {size(after['bytes'])} of "
        f"{size(before['bytes'])}, in {sheet.languages:,} languages, from {sheet.sources:,} sources. Made by jaxlm "
        f"{plain(sheet.jaxlm)}; digest {sheet.digest}. {sheet.unanswered:,} of {sheet.questions:,} questions are open."
    )
    parts = [f"# {plain(sheet.title)}: datasheet", lead]
    parts += ["## What became of the documents", _block(sheet.streams[0])]
    return "\n\n".join([*parts, *map(_section, sheet.sections)]) + "\n"


def _section(section: Section) -> str:
    return "\n\n".join([f"## {section.title}", *map(_question, section.questions)])


def _question(question: Question) -> str:
    answer = [_block(block) for block in question.answer] or [f"*Not answered: `about.{question.field}`.*"]
    return "\n\n".join([f"### {question.text}", *answer])


def _block(block: Block) -> str:
    if isinstance(block, Figure):
        return _table(block.table)
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Facts):
        return "\n".join(f"- {plain(name)}: {plain(words)}" for name, words in block.rows)
    if isinstance(block, Samples):
        quoted = [f"- {plain(one.begins)} … ({_whence(one.source, one.evidence)})" for one in block.some]
        return "\n".join([f"**{plain(block.reason)}**", "", *quoted])
    return plain(block)


def _whence(source: str, evidence: str) -> str:
    return plain(f"{source}; {evidence}" if evidence else source)


def _table(table: Table) -> str:
    lines: list[Sequence[str]] = [table.heads, ["---", *["---:"] * (len(table.heads) - 1)], *table.rows]
    said = "\n".join(
        f"| {' | '.join(cell if n == 1 else plain(cell) for cell in row)} |" for n, row in enumerate(lines)
    )
    return f"{said}\n\n{plain(table.note)}" if table.note else said


def plain(words: str) -> str:
    """Text in one line that Markdown shows as it is.

    >>> plain("a|b\\n*c*")
    'a\\\\|b \\\\*c\\\\*'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(escape(words).split()))
