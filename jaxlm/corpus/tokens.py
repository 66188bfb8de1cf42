"""How many tokens one saved tokenizer makes of what stays, by source and by language: for the datasheet.

A task for each part reads what `write` left, so that another tokenizer writes no text again. Separators between
documents are not counted. Left out: what a tokenizer loses, or spells by bytes (`jaxlm tokenizer`).
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxlm.corpus import stages, table, tasks
from jaxlm.corpus.profile import add
from jaxlm.corpus.tasks import Task
from jaxlm.data.tokenizer_base import Tokenizer
from jaxlm.errors import UserError

VERSION = 1  # of the results of this stage
_TEXTS = 256  # encoded at once: chosen, some MB


def check(what: str | None) -> None:
    """UserError where a folder holds no tokenizer."""
    if what is not None:
        opened(str(Path(what).expanduser().absolute()))


@functools.cache
def opened(what: str) -> Tokenizer:
    from jaxlm.corpus import tokenizer_report  # it loads SentencePiece, which most corpora do not need

    try:
        return tokenizer_report.opened(what)
    except UserError as error:
        raise UserError(f"tokenizer={error}") from None


def found(
    what: str, written: Sequence[Task], run: Callable[[Sequence[Task]], list[dict]], work: Path
) -> dict[str, Any]:
    """The tokenizer, and counts of all parts."""
    at = str(Path(what).expanduser().absolute())  # workers stand in other folders
    tokenizer = opened(at)
    counting = [
        Task("tokens", tasks.key(VERSION, task.key, tokenizer.digest), count, (task.folder(work), at), task.name)
        for task in written
    ]
    total: dict[str, Any] = {}
    for facts in run(counting):
        add(total, facts)
    return {"kind": tokenizer.config.kind, "vocab": tokenizer.vocab, "digest": tokenizer.digest, **total}


def count(folder: Path, written: Path, what: str) -> dict[str, Any]:
    """{"sources" and "languages": {name: {"documents", "bytes", "tokens"}}} of a part; `refused` documents hold what
    the tokenizer does not encode."""
    facts: dict[str, Any] = {"sources": {}, "languages": {}, "refused": 0}
    every = table.read_rows(written / stages.DOCUMENTS)
    for start in range(0, len(every), _TEXTS):
        rows = every[start : start + _TEXTS]
        for row, tokens in zip(rows, _tokens(opened(what), [row["text"] for row in rows]), strict=True):
            if tokens is None:
                facts["refused"] += 1
                continue
            one = {"documents": 1, "bytes": len(row["text"].encode()), "tokens": tokens}
            source = row["source"].partition("/")[0]
            add(facts, {"sources": {source: one}, "languages": {row["language"]: one}})
    return facts


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int | None]:
    try:
        return [ids.size for ids in tokenizer.encode_batch(texts)]
    except UserError:  # one of them, or some
        return [_tokens(tokenizer, [text])[0] for text in texts] if len(texts) > 1 else [None]
