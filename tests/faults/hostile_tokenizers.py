"""Tokenizers that somebody made to harm: SentencePiece's protocol buffers, and tokenizer.json.

sentencepiece #1263: a piece of 100 KB and more overflows the stack; #1269: a table of characters leads out of memory.
"""

import base64
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxlm.config import dump
from jaxlm.data.tokenizer_base import digest
from jaxlm.data.tokenizer_config import SentencePieceConfig
from jaxlm.hashing import seal
from tests.faults.hostile_case import Case, Good, copied, deep, many, sealed, sparse

# --- protocol buffers


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def sized(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def piece(name: bytes, score: float = 0.0, kind: int = 1) -> bytes:
    return sized(1, sized(1, name) + varint(2 << 3 | 5) + struct.pack("<f", score) + whole(3, kind))


SPECIALS = piece(b"<unk>", kind=2) + piece(b"<separator>", kind=3)
BYTES = b"".join(piece(b"<0x%02X>" % byte, kind=6) for byte in range(256))
TRAINER = whole(3, 2) + whole(4, 300) + whole(35, 1)  # BPE, with bytes to fall back on


def model(*pieces: bytes, trainer: bytes = TRAINER, normalizer: bytes = b"", more: bytes = b"") -> bytes:
    return SPECIALS + BYTES + b"".join(pieces) + sized(2, trainer) + sized(3, normalizer) + more


def charsmap(units: bytes, texts: bytes = b"a\0", size: int | None = None) -> bytes:
    return struct.pack("<I", len(units) if size is None else size) + units + texts


def far_trie() -> bytes:
    """Its root leads 2 GB beyond the end: what #1269 is about."""
    return struct.pack("<256I", 0x1FFFFF << 10 | 0x200, *[0] * 255)


def far_text() -> bytes:
    """Its one leaf points beyond the texts."""
    units = [0] * 512
    units[0] = 256 << 10  # children from 256 on
    units[256 ^ ord("a")] = ord("a") | 0x100  # a leaf, whose value is at the same place
    units[256 ^ ord("a") ^ 0] |= 0
    return struct.pack("<512I", *units[:256], *[unit or 0x8FFFFFFF for unit in units[256:]])


def saved(content: bytes | Callable[[], bytes]) -> Callable[[Path, Good], Any]:
    """A folder of jaxlm's that holds this model, its digest and seal right."""

    def make(folder: Path, good: Good) -> None:
        data = content() if callable(content) else content
        cfg = SentencePieceConfig()
        facts = {"format_version": 1, "config": dump(cfg), "digest": digest(cfg, data)}
        (folder / "tokenizer.json").write_bytes(seal(facts))
        (folder / "sentencepiece.model").write_bytes(data)

    return make


def told(change: Callable[[dict], Any]) -> Callable[[Path, Good], Any]:
    """A good tokenizer of ours whose facts are others."""
    return copied(lambda good: good.tokenizer, lambda folder: sealed(folder / "tokenizer.json", change))


def _giant(folder: Path, good: Good) -> None:
    saved(model())(folder, good)
    sparse(folder / "sentencepiece.model", 4 << 30)


def _linked(folder: Path, good: Good) -> None:
    saved(model())(folder, good)
    (folder / "sentencepiece.model").unlink()
    (folder / "sentencepiece.model").symlink_to(good.tokenizer / "sentencepiece.model")


SENTENCEPIECE = {
    **{f"a piece of {size:,} bytes": saved(lambda size=size: model(piece(b"a" * size, -1)))
       for size in (2_000, 9_000, 100_000, 1_000_000, 4_000_000)},
    "many pieces of 5,000 bytes": saved(lambda: model(*(piece(b"%05d" % i * 1_000, -i) for i in range(100)))),
    "a piece with NUL": saved(model(piece(b"a\0b"))),
    "an empty piece": saved(model(piece(b""))),
    "a piece that is no UTF-8": saved(model(piece(b"\xff\xfe"))),
    "half a surrogate pair": saved(model(piece(b"\xed\xa0\x80"))),
    "a piece twice": saved(model(piece(b"a"), piece(b"a"))),
    "two unknown pieces": saved(model(piece(b"b", kind=2))),
    "no unknown piece": saved(sized(2, TRAINER)),
    "a piece of a type of tomorrow": saved(model(piece(b"b", kind=2**31 - 1))),
    "a byte that is none": saved(model(piece(b"<0xZZ>", kind=6))),
    "a score that is not finite": saved(model(piece(b"b", math.nan))),
    "an infinite score": saved(model(piece(b"b", math.inf))),
    "2**31 pieces, it says": saved(model(trainer=whole(3, 2) + whole(4, 2**31))),
    "2**63 pieces, it says": saved(model(trainer=whole(3, 2) + whole(4, 2**63))),
    "a model of no type": saved(model(trainer=whole(3, 77))),
    "a length beyond the end": saved(SPECIALS + b"\x0a\xff\xff\xff\xff\x0f"),
    "a length of 2**63": saved(SPECIALS + b"\x0a" + varint(2**63)),
    "a number that does not end": saved(SPECIALS + b"\x0a" + b"\xff" * 40),
    "groups in groups": saved(SPECIALS + b"\x0b" * 100_000),
    "a text to test itself on": saved(model(more=sized(4, sized(1, sized(1, b"a") + sized(2, b"b"))))),
    "a field of nobody's": saved(model(more=sized(200, b"x" * 100))),
    "a table whose trie is all ones": saved(model(normalizer=sized(2, charsmap(b"\xff" * 1024)))),
    "a table that leads 2 GB away": saved(model(normalizer=sized(2, charsmap(far_trie())))),
    "a table that points beyond its texts": saved(model(normalizer=sized(2, charsmap(far_text())))),
    "a table longer than it is": saved(model(normalizer=sized(2, charsmap(b"\0" * 8, size=2**32 - 4)))),
    "a table of three bytes": saved(model(normalizer=sized(2, b"abc"))),
    "a table whose texts do not end": saved(model(normalizer=sized(2, charsmap(b"\0" * 1024, b"abc")))),
    "a table of another normalizer": saved(model(more=sized(5, sized(2, charsmap(far_trie()))))),
    "settings of 2 MB": saved(lambda: model(trainer=TRAINER + sized(1, b"x" * 2_000_000))),
    "no model at all": saved(b"\x80\x04\x95pickle"),
    "4 GB of zeros": _giant,
    "a link to a file elsewhere": _linked,
    "a digest of another": told(lambda facts: facts.update(digest="0" * 32)),
    "no digest": told(lambda facts: facts.pop("digest")),
    "no config": told(lambda facts: facts.pop("config")),
    "a config that is a list": told(lambda facts: facts.update(config=[1])),
    "a config that names another folder": told(lambda facts: facts.update(config={"kind": "saved", "path": "/etc"})),
    "a config with 2**70 pieces": told(lambda facts: facts.update(config=facts["config"] | {"vocab": 2**70})),
    "files in the folder above": told(lambda facts: facts.update(
        config={"kind": "byte_bpe"}, specials={}, files={"../../secret": [1, "0" * 32]})),
    "absolute files": told(lambda facts: facts.update(
        config={"kind": "huggingface"}, specials={}, files={"/etc/passwd": [1, "0" * 32]})),
    "files that are no files": told(lambda facts: facts.update(config={"kind": "byte_bpe"}, specials={}, files=3)),
    "facts of a version of tomorrow": told(lambda facts: facts.update(format_version=2**80)),
}  # fmt: skip


# --- tokenizer.json


def library(**changes: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    vocab = {"<s>": 0, "a": 1, "b": 2, "ab": 3}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": None,
        "added_tokens": [{"id": 0, "content": "<s>", "special": True, **flags}],
        "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"]]},
    } | changes  # fmt: skip


def put(made: Any) -> Callable[[Path, Good], Any]:
    def make(folder: Path, good: Good) -> None:
        told = made() if callable(made) else made
        (folder / "tokenizer.json").write_text(told if isinstance(told, str) else json.dumps(told))

    return make


def split(pattern: str) -> dict[str, Any]:
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return library(pre_tokenizer=cut)


def bpe(**changes: Any) -> dict[str, Any]:
    return library(model=library()["model"] | changes)


def doubling(times: int, step: dict[str, Any]) -> dict[str, Any]:
    return library(normalizer={"type": "Sequence", "normalizers": [step] * times})


def nested(depth: int, kind: str, inside: str) -> str:
    begin, end = f'{{"type": "Sequence", "{inside}": [', "]}"
    return json.dumps(library())[:-1] + f', "{kind}": ' + begin * depth + end * depth + "}"


def precompiled(table: bytes) -> dict[str, Any]:
    text = base64.b64encode(table).decode()
    return library(normalizer={"type": "Precompiled", "precompiled_charsmap": text})


def _twice() -> str:
    return json.dumps(library()).replace('"a": 1', '"a": 1, "a": 2')


def _sparse(folder: Path, good: Good) -> None:
    sparse(folder / "tokenizer.json", 4 << 30, b"{")


def parts(**made: Callable[[], str]) -> Callable[[Path, Good], Any]:
    """Files of an older model, which has no tokenizer.json."""

    def make(folder: Path, good: Good) -> None:
        for name, text in made.items():
            (folder / name.replace("_", ".")).write_text(text())

    return make


def _large(folder: Path, good: Good) -> None:
    put(library())(folder, good)
    for name in ("tokenizer.model", "vocab.txt", "merges.txt"):
        sparse(folder / name, 90_000_000)


LIBRARY = {
    "a list of 40 million words": parts(vocab_txt=lambda: "a\n" * 40_000_000),
    "a list of 40 million words, by other ends of lines": parts(vocab_txt=lambda: "\r" * 40_000_000),
    "40 million merges": parts(vocab_json=lambda: '{"a": 0, "b": 1}', merges_txt=lambda: "a b\n" * 20_000_000),
    "a merge of nobody, of an older model": parts(
        vocab_json=lambda: '{"a": 0, "<|endoftext|>": 1}', merges_txt=lambda: "a zzz\n"),
    "ids that are words, of an older model": parts(vocab_json=lambda: '{"a": "x"}', merges_txt=lambda: ""),
    "files of 90 MB each": _large,
    "a pattern of exponential time": put(split(r"(a+)+$")),
    "one of alternatives": put(split(r"(a|a)*$")),
    "three stars": put(split(r"((a*)*)*$")),
    "back references": put(split(r"(.*)\1\1\1$")),
    "3,000 brackets": put(split("(" * 3_000 + "a" + ")" * 3_000)),
    "repeats of repeats": put(split("((((a{1,99}){1,99}){1,99}){1,99}){1,99}b")),
    "a pattern of 4 MB": put(lambda: split("a?" * 2_000_000)),
    "looks behind without end": put(split("(?<=a+)b")),
    "a pattern to replace by": put(doubling(1, {"type": "Replace", "pattern": {"Regex": "(x+x+)+y"}, "content": ""})),
    "text that grows hundredfold, five times": put(
        doubling(5, {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100})),
    "text that is put before text": put(lambda: doubling(30, {"type": "Prepend", "prepend": "a" * 1_000_000})),
    "a character that becomes a million": put(
        lambda: doubling(1, {"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 1_000_000})),
    "normalizers, 100,000 deep": put(lambda: nested(100_000, "normalizer", "normalizers")),
    "pre-tokenizers, 500 deep": put(lambda: nested(500, "pre_tokenizer", "pretokenizers")),
    "a trie that leads away": put(precompiled(charsmap(far_trie()))),
    "a trie that points beyond": put(precompiled(charsmap(far_text()))),
    "a trie longer than it is": put(precompiled(charsmap(b"\0" * 8, size=2**32 - 4))),
    "no base64": put(library(normalizer={"type": "Precompiled", "precompiled_charsmap": "!!!"})),
    "an id of 2**31": put(bpe(vocab={"<s>": 0, "a": 2**31})),
    "an id of 2**32 - 1": put(bpe(vocab={"<s>": 0, "a": 2**32 - 1})),
    "an id of 2**64": put(bpe(vocab={"<s>": 0, "a": 2**64})),
    "a negative id": put(bpe(vocab={"<s>": 0, "a": -1})),
    "an id of a thousand digits": put(lambda: json.dumps(bpe()).replace('"a": 1', '"a": 1' + "0" * 1_000)),
    "an id of 5,000 digits": put(lambda: json.dumps(bpe()).replace('"a": 1', '"a": 1' + "0" * 5_000)),
    "an added token of 2**32 - 1": put(
        library(added_tokens=[library()["added_tokens"][0] | {"id": 2**32 - 1, "content": "x"}])),
    "a name twice": put(_twice),
    "a merge of nobody": put(bpe(merges=[["a", "zzz"]])),
    "a merge of three": put(bpe(merges=[["a", "b", "c"]])),
    "merges that are a number": put(bpe(merges=7)),
    "an unknown piece that is none": put(
        library(model={"type": "Unigram", "unk_id": 10**9, "vocab": [["a", 0.0]], "byte_fallback": False})),
    "a score that is a word": put(library(model={"type": "Unigram", "unk_id": 0, "vocab": [["a", "x"]]})),
    "a model of no type": put(library(model={"type": "Pickle", "vocab": {}})),
    "no model": put({"version": "1.0"}),
    "100,000 deep": put(lambda: deep(100_000)),
    "not finite": put('{"model": {"type": "BPE", "vocab": {"a": NaN}, "merges": []}}'),
    "not closed": put('{"model": {'),
    "8 million lists": put(lambda: '{"a": [' + "[]," * 8_000_000 + "[]]}"),
    "4 GB": _sparse,
}  # fmt: skip

HEAVY = {
    "a list of 40 million words",
    "a list of 40 million words, by other ends of lines",
    "40 million merges",
    "4 GB of zeros",
    "8 million lists",
    "back references",
    "a pattern of 4 MB",
}
CASES = [
    case._replace(heavy=case.name in HEAVY)
    for case in [*many("tokenizer", SENTENCEPIECE), *many("foreign_tokenizer", LIBRARY)]
]
HARMLESS = {  # by the library's own bounds
    "one of alternatives", "three stars", "looks behind without end", "repeats of repeats", "a pattern to replace by",
    "a merge of three", "an added token of 2**32 - 1", "pre-tokenizers, 500 deep",
}  # fmt: skip
CASES = [case._replace(ends=("refused", "opened")) if case.name in HARMLESS else case for case in CASES]
assert all(isinstance(case, Case) for case in CASES)
