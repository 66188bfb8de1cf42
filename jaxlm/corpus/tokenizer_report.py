"""What a tokenizer makes of a text: how much a token holds, what is its own and what it spells by bytes, what it loses.

For all of a text, for each language in it (of documents, as language.py has it) and for each of its sources:

    bytes_per_token, characters_per_token
    tokens_per_word     words are what white space parts; None for languages that write none. It is the "fertility" of
                        Rust et al. 2021 (arXiv:2012.15613, section 4.1), but that theirs are the words of treebanks
    by_bytes            of the tokens: bytes in the place of a character, or a part of one
    unknown             of the tokens: those that stand for what the tokenizer does not know
    own                 of the characters but white space: those that, alone, are neither bytes nor unknown nor dropped
    exact               of the documents: those that decoding gives back to the last character

Tokens that no text uses were seen in training and seldom since: a model learns little of them (Land and Bartolo 2024,
arXiv:2405.05417). Left out: the time it takes (benchmarks/tokenizer.py), words that are cut in two.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxlm.corpus.characters import UNSPACED_LANGUAGES
from jaxlm.corpus.collect import Progress, documents
from jaxlm.corpus.document import Document, Tally, component
from jaxlm.corpus.finished import corpus_of
from jaxlm.corpus.language import Identifier
from jaxlm.data import tokenizer as tokenizers
from jaxlm.data import tokenizer_huggingface
from jaxlm.data.dataset import DataConfig
from jaxlm.data.tokenizer_base import FACTS, Tokenizer
from jaxlm.errors import UserError

MOST_SOURCES = 50  # chosen: what a table can show; those met later are counted together
OTHERS = "others"
SHOWN = 20  # tokens of a kind
BATCH_CHARACTERS = 1 << 20  # of the text, encoded at once


def opened(what: str) -> Tokenizer:
    """The tokenizer of a run, of shards, or in a folder of its own, jaxlm's or Hugging Face's."""
    path = Path(what).expanduser()
    if (path / "tokenizer" / FACTS).is_file():
        return tokenizers.load(path / "tokenizer")
    if (path / FACTS).is_file() and not tokenizer_huggingface.is_theirs(path):
        return tokenizers.load(path)
    if any((path / name).is_file() for name in tokenizer_huggingface.KEPT):
        return tokenizer_huggingface.open_folder(path)
    raise UserError(
        f"{what!r} {'holds no tokenizer' if path.is_dir() else 'is no folder'}: name a run, a folder of shards, or one "
        f"with a {FACTS}, of jaxlm or of Hugging Face"
    )


@dataclass
class Group:
    """Sums over some documents; `row` is what they say."""

    documents: int = 0
    characters: int = 0
    bytes: int = 0
    words: int = 0  # of languages that write them
    tokens: int = 0
    tokens_of_words: int = 0
    by_bytes: int = 0
    unknown: int = 0
    exact: int = 0
    refused: int = 0  # documents that hold what the tokenizer does not encode; no token of them is counted
    alphabet: Counter[str] = field(default_factory=Counter)

    def row(self, own: set[str]) -> dict[str, Any]:
        share = lambda part, whole: part / whole if whole else None
        visible = {c: n for c, n in self.alphabet.items() if not c.isspace()}
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "bytes_per_token": share(self.bytes, self.tokens),
            "characters_per_token": share(self.characters, self.tokens),
            "tokens_per_word": share(self.tokens_of_words, self.words),
            "by_bytes": share(self.by_bytes, self.tokens),
            "unknown": share(self.unknown, self.tokens),
            "own": share(sum(n for c, n in visible.items() if c in own), sum(visible.values())),
            "exact": share(self.exact, self.documents),
            "refused": self.refused,
        }


class Reading:
    """One tokenizer, and what it made of the documents so far."""

    def __init__(self, name: str, tokenizer: Tokenizer):
        self.name, self.tokenizer = name, tokenizer
        self.whole, self.languages, self.sources = Group(), {}, {}
        self.first_change: dict[str, str] | None = None
        self._used = np.zeros(tokenizer.vocab, np.int64)
        self._bytes = tokenizer.spells_bytes()

    def read(self, batch: list[tuple[Document, str]]) -> None:
        """Count documents, each with its language."""
        for (document, language), ids in zip(batch, self._encoded([d.text for d, _ in batch]), strict=True):
            source = _source(document)
            if source not in self.sources and len(self.sources) >= MOST_SOURCES:
                source = OTHERS
            groups = (
                self.whole,
                self.languages.setdefault(language, Group()),
                self.sources.setdefault(source, Group()),
            )
            self._count(groups, document, language, ids)

    def _count(self, groups: Iterable[Group], document: Document, language: str, ids: np.ndarray | None) -> None:
        text, alphabet = document.text, Counter(document.text)
        back = None if ids is None else self.tokenizer.decode(ids)
        if ids is not None:
            self._used += np.bincount(ids, minlength=self.tokenizer.vocab)
            if back != text and self.first_change is None:
                self.first_change = {"source": document.source, **_change(text, back or "")}
        for group in groups:
            group.documents += 1
            group.exact += back == text
            group.alphabet.update(alphabet)
            if ids is None:
                group.refused += 1
                continue
            group.characters += len(text)
            group.bytes += len(text.encode("utf-8"))
            group.tokens += ids.size
            group.by_bytes += int(self._bytes[ids].sum())
            group.unknown += int((ids == self.tokenizer.unknown).sum()) if self.tokenizer.unknown is not None else 0
            if language not in UNSPACED_LANGUAGES:
                group.words += len(text.split())
                group.tokens_of_words += ids.size

    def _encoded(self, texts: list[str]) -> list[np.ndarray] | list[np.ndarray | None]:
        try:
            return self.tokenizer.encode_batch(texts)
        except UserError:  # one of them, or some
            return [self._one(text) for text in texts]

    def _one(self, text: str) -> np.ndarray | None:
        try:
            return self.tokenizer.encode(text)
        except UserError:
            return None

    def told(self) -> dict[str, Any]:
        """Everything, as JSON holds it; the largest language and source first."""
        facts = about(self.name, self.tokenizer)
        own = self._own()
        rows = lambda groups: {
            name: group.row(own) for name, group in sorted(groups.items(), key=lambda g: (-g[1].bytes, g[0]))
        }
        sizes = _sizes(self.tokenizer)
        idle = np.flatnonzero((self._used == 0) & (sizes > 0) & (np.arange(sizes.size) != self.tokenizer.unknown))
        learned = idle[(sizes[idle] > 1) & ~self._bytes[idle]]
        for token in facts["longest"]:
            token["count"] = int(self._used[token["id"]])
        return facts | {
            "used": int((self._used > 0).sum()),
            "unused": int(idle.size),
            "unused_first": [_token(self.tokenizer, int(i)) for i in learned[:SHOWN]],
            "first_change": self.first_change,
            "whole": self.whole.row(own),
            "languages": rows(self.languages),
            "sources": rows(self.sources),
        }

    def _own(self) -> set[str]:
        """The characters of the text that are tokens of their own when they stand alone."""
        letters = sorted(self.whole.alphabet)
        found = zip(letters, self._encoded(letters), strict=True)
        strange = lambda ids: self._bytes[ids].any() or (ids == self.tokenizer.unknown).any()
        return {letter for letter, ids in found if ids is not None and ids.size and not strange(ids)}


def about(name: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a tokenizer is, without a text."""
    longest = np.argsort(-_sizes(tokenizer), kind="stable")[:SHOWN]
    return {
        "name": name,
        "kind": tokenizer.config.kind,
        "vocab": tokenizer.vocab,
        "lossless": tokenizer.lossless,
        "byte_tokens": int(tokenizer.spells_bytes().sum()),
        "specials": dict(tokenizer.specials) or {"separator": tokenizer.separator},
        "digest": tokenizer.digest,
        "longest": [_token(tokenizer, int(i)) for i in longest],
    }


def compare(
    named: Mapping[str, Tokenizer], text: str | Path | None, progress: Progress = lambda *_: None
) -> list[dict[str, Any]]:
    """What each tokenizer is and, with a file or folder of text, what it makes of it; UserError where it has none."""
    if text is None:
        return [about(name, tokenizer) for name, tokenizer in named.items()]
    if not str(text) or not Path(text).expanduser().exists():
        raise UserError(f"--text {str(text)!r} does not exist: name a file or folder of text")
    folder = corpus_of(Path(text).expanduser())
    source = str(text if folder is None else folder / "documents")
    tally, readings = Tally(), [Reading(name, tokenizer) for name, tokenizer in named.items()]
    identify, done = Identifier().identify, 0
    for batch in _batches(documents(DataConfig(source=source, length=1, batch=1), tally)):
        with_language = [(document, identify(document.text)[0]) for document in batch]
        for reading in readings:
            reading.read(with_language)
        done += sum(len(document.text) for document in batch)
        progress(done, None, "reading characters")
    if not done:
        why = f": left out were {tally}" if str(tally) else ""
        raise UserError(f"--text {str(text)!r} holds no text{why}; name another file or folder")
    return [reading.told() for reading in readings]


def _batches(found: Iterable[Document]) -> Iterator[list[Document]]:
    batch, characters = [], 0
    for document in found:
        batch.append(document)
        characters += len(document.text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _sizes(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of each id; specials have none."""
    return np.array([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.vocab)])


def _source(document: Document) -> str:
    """The source that a document names, as those of a corpus do; else the file or folder right below the text."""
    if "source" in document.marks:
        return component(document)[0]
    return re.sub(r":\d+$", "", document.source.split("/")[0]) or document.source


def _token(tokenizer: Tokenizer, i: int) -> dict[str, Any]:
    return {"id": i, "text": tokenizer.decode_bytes([i]).decode("utf-8", errors="replace")}


def _change(text: str, back: str) -> dict[str, str]:
    """Where `back` first differs from `text`, and what is there."""
    place = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
    return {"text": text[place : place + SHOWN], "back": back[place : place + SHOWN]}
