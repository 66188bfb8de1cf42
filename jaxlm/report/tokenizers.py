"""Tokenizers side by side: tables of what corpus/tokenizer_report.py measured, and a page of them with bars.

The page is one file that needs no network and runs no script. Left out: charts of words against frequency.
"""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jaxlm import redact
from jaxlm.errors import UserError
from jaxlm.report.tables import table
from jaxlm.report.words import NONE, compact, escape, figure

Found = Sequence[dict[str, Any]]  # of tokenizer_report.compare

MEASURES = {  # what a column is called -> the measure of a row
    "bytes/token": "bytes_per_token",
    "characters/token": "characters_per_token",
    "tokens/word": "tokens_per_word",
    "by bytes": "by_bytes",
    "unknown": "unknown",
    "own": "own",
    "exact": "exact",
}
SHARES = {"by_bytes", "unknown", "own", "exact"}
SIDE_BY_SIDE = ("bytes/token", "tokens/word", "own")  # of several tokenizers, so that a row fits
LEGEND = (
    "used: of the vocabulary, what stands in the text at all. bytes/token, characters/token: of the text. tokens/word: "
    "words are what white space parts, for languages that write it. by bytes: tokens that are a byte or a part of a "
    "character. unknown: tokens for what the tokenizer does not know. own: characters that, when they stand alone, are "
    "neither bytes nor unknown nor dropped. exact: documents that come back to the last character; where they do not, "
    "bytes/token counts what is lost as well."
)


def summary(found: Found) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a tokenizer in each."""
    measured = "whole" in found[0]
    heads = ["tokenizer", "kind", "vocab", *(["used", *MEASURES] if measured else ["bytes", "lossless"])]
    rows = []
    for number, one in enumerate(found, start=1):
        row = [one["name"] + _mark(found, number), one["kind"], f"{one['vocab']:,}"]
        if measured:
            row += [_share(one["used"] / one["vocab"]), *_cells(one["whole"], MEASURES)]
        else:
            row += [f"{one['byte_tokens']:,}", "yes" if one["lossless"] else "no"]
        rows.append(row)
    return heads, rows


def groups(found: Found, kind: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: a language or source in each, and in its columns what each tokenizer makes of it."""
    chosen = tuple(MEASURES) if len(found) == 1 else SIDE_BY_SIDE
    heads = [kind.removesuffix("s"), "documents", "bytes"]
    heads += [name + _mark(found, n) for n in range(1, len(found) + 1) for name in chosen]
    rows = []
    for name, first in found[0][kind].items():
        cells = [cell for one in found for cell in _cells(one[kind][name], chosen)]
        rows.append([name, f"{first['documents']:,}", compact(first["bytes"]), *cells])
    return heads, rows


def _mark(found: Found, number: int) -> str:
    """What a tokenizer is called in the heads of tables, where there are several."""
    return f" [{number}]" if len(found) > 1 else ""


def _cells(row: dict[str, Any], chosen: Sequence[str] | dict[str, str]) -> list[str]:
    return [_share(row[key]) if key in SHARES else _figure(row[key]) for key in (MEASURES[name] for name in chosen)]


def _figure(value: int | float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _share(value: int | float | None) -> str:
    """A part of all in percent; what is not all of it never reads 100 %, nor what is not nothing 0 %."""
    if value is None:
        return NONE
    return f"{100 * value:.0f} %" if value in (0, 1) else f"{min(99.99, max(0.01, 100 * value)):.2f} %"


def require_place(path: Path) -> None:
    """UserError where no page can be written, before much is read."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "is a folder" if path.is_dir() else f"lies in {str(path.parent)!r}, which is no folder"
        raise UserError(f"--html {str(path)!r} {why}: name a file in a folder that is there")


def write(path: Path, found: Found, text: str | None) -> None:
    """Whole or not at all."""
    building = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        building.write_text(redact.text(page(found, text)), encoding="utf-8")
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def page(found: Found, text: str | None) -> str:
    style = files("jaxlm.report").joinpath("page.css").read_text(encoding="utf-8")
    on = f"on {text}" if text is not None else "without a text"
    sections = [_section("Tokenizers", _table(*summary(found)))]
    if "whole" in found[0]:
        sections[0] = _section("Tokenizers", _table(*summary(found)) + f'<p class="note">{LEGEND}</p>')
        numbers = "".join(f"[{n}] {escape(one['name'])}<br>" for n, one in enumerate(found, start=1))
        for kind in ("languages", "sources"):
            body = f'<p class="note">{numbers}</p>' if len(found) > 1 else ""
            body += _bars(found) if kind == "languages" else ""
            sections.append(_section(kind.capitalize(), body + _table(*groups(found, kind))))
    sections += [_section(f"Tokens of {one['name']}", _tokens(one)) for one in found]
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tokenizers {escape(on)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header><h1>Tokenizers {escape(on)}</h1></header>
{body}
</main>
</body>
</html>
"""


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    return table(heads, [[escape(cell) for cell in row] for row in rows])


def _bars(found: Found) -> str:
    """How many bytes of each language a token holds: a bar of each tokenizer, the longest one dark."""
    sizes = {name: [one["languages"][name]["bytes_per_token"] or 0 for one in found] for name in found[0]["languages"]}
    longest = max(map(max, sizes.values())) or 1
    bars = [
        f'<span class="name">{escape(name) if not n else ""}{f" [{n + 1}]" if len(found) > 1 else ""}</span>'
        f'<span class="bar{" ours" if size == max(of_language) else ""}" style="width:{100 * size / longest:.2f}%">'
        f"</span><b>{figure(size)}</b>"
        for name, of_language in sizes.items()
        for n, size in enumerate(of_language)
    ]
    return f'<div class="race"><p>Bytes of text that a token holds</p><div class="bars">{"".join(bars)}</div></div>'


def _tokens(one: dict[str, Any]) -> str:
    quoted = lambda token: f"<code>{escape(repr(token['text']))}</code>"
    heads = ["longest", "id", *(["uses"] if "unused" in one else [])]
    rows = [
        [quoted(token), f"{token['id']:,}", *([f"{token['count']:,}"] if "count" in token else [])]
        for token in one["longest"]
    ]
    body = table(heads, rows)
    if "unused" in one:
        first = f", such as {' '.join(map(quoted, one['unused_first']))}" if one["unused_first"] else ""
        body += f'<p class="note">{one["unused"]:,} of {one["vocab"]:,} tokens are never used here{first}</p>'
    if change := one.get("first_change"):
        body += (
            f'<p class="note">The first text that does not come back is of {escape(change["source"])}: '
            f"<code>{escape(repr(change['text']))}</code> is <code>{escape(repr(change['back']))}</code></p>"
        )
    return body
