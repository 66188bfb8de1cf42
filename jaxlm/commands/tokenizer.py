"""What tokenizers are, and what they make of a text: bytes and words a token, what they spell by bytes, what they lose.

Each WHAT is a run, a folder of shards, or a folder with a tokenizer of jaxlm's or of Hugging Face's. Several stand side
by side. With --text they are measured on a file or folder of text, or a corpus, for each language and source in it.

Columns: `used`, of the vocabulary what stands in the text at all; `tokens/word`, words being what white space parts,
for languages that write it; `by bytes`, of the tokens those that are a byte or a part of a character; `unknown`, of the
tokens those for what the tokenizer does not know; `own`, of the characters those that, alone, are neither bytes nor
unknown nor dropped; `exact`, of the documents those that come back to the last character. [1], [2] are the tokenizers
of the first table.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jaxlm.commands import terminal


def main(
    what: Annotated[list[str], typer.Argument(metavar="WHAT...", help="Runs, shards or tokenizers: folders.")],
    text: Annotated[str | None, typer.Option(help="File or folder of text to measure them on.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page of it, too.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    from jaxlm.corpus import tokenizer_report
    from jaxlm.report import tokenizers as page

    if html is not None:
        page.require_place(html)
    named = {name: tokenizer_report.opened(name) for name in what}
    with terminal.preparation() as progress:
        found = tokenizer_report.compare(named, text, progress)
    if html is not None:
        page.write(html, found, text)
    if json_:
        terminal.print_json({"text": text, "tokenizers": found})
    else:
        _show(found)


def _show(found: list[dict[str, Any]]) -> None:
    from jaxlm.report import tokenizers as page

    print(*terminal.table(*page.summary(found)), sep="\n")
    if "whole" in found[0]:
        for group in ("languages", "sources"):
            print("", *terminal.table(*page.groups(found, group)), sep="\n")
    for one in found:
        print(f"\n{one['name']}\n  longest: {_tokens(one['longest'])}")
        if "unused" in one:
            first = f", such as {_tokens(one['unused_first'])}" if one["unused_first"] else ""
            print(f"  never used: {one['unused']:,} of {one['vocab']:,}{first}")
        if change := one.get("first_change"):
            print(f"  does not come back: {change['source']}: {change['text']!r} is {change['back']!r}")


def _tokens(tokens: list[dict[str, Any]]) -> str:
    return " ".join(repr(token["text"]) for token in tokens[:10]) or "none"
