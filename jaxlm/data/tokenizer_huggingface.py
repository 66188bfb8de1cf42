"""Tokenizers of Hugging Face's library `tokenizers`, made elsewhere or here: its ids, our table from ids to bytes.

The files stay as they are (`huggingface/` inside the tokenizer's folder) and go out again as they came. Ids are those
the library gives without its frame of special tokens: what opens and closes a document is the stream's affair. Text
that spells a special token is text, never the token. Truncation and padding, which some files ask for, are left off.

Byte-level BPE loses nothing. Others may lower the case, fold characters or drop white space; whether a tokenizer does
is found by trying it on PROBE, and said in `lossless`.
"""

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from jaxlm.config import dump
from jaxlm.data import tokenizer_json, tried
from jaxlm.data.foreign import LIMIT, parse_object, read_bytes, read_object
from jaxlm.data.tokenizer_base import FACTS, FORMAT_VERSION, MODEL, PART_CHARACTERS, Tokenizer, utf8
from jaxlm.data.tokenizer_config import ByteBpeConfig, HuggingFaceConfig, WordPieceConfig
from jaxlm.errors import Damaged, UserError
from jaxlm.hashing import folder_problems, hash_folder, seal, told

LibraryConfig = HuggingFaceConfig | ByteBpeConfig | WordPieceConfig  # kinds that are such tokenizers
FOLDER, FILE = "huggingface", "tokenizer.json"
KEPT = (  # what is carried along where it is there
    FILE, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "vocab.txt", "tokenizer.model", "chat_template.jinja",
)  # fmt: skip
MOST_LINES = 2_000_000  # of vocab.txt and merges.txt; chosen: four times those of Gemma 3's merges
_ENDS = tuple(end.encode() for end in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")  # of lines, for Python
SOME_WORDS = 8  # chosen: of the vocabulary, to see how a text begins
PARTS_AT_ONCE = 64  # chosen: the library needs some 100 bytes a token until its ids are copied

# What tokenizers have been known to lose: case, accents, compatibility forms, white space, controls, rare characters.
PROBE = (
    "  Hello, HELLO  wörld\t\tdon't stop.\r\n\n   e\u0301 ﬁ Ａ ½ ẞ İ 漢字 ภาษา 👩‍👩‍👧 "
    "\u00a0|\u200b|\ufeff|\u2028|\u2581|\u00ad|"
    "\0|\x07|\x85|\ue000|\U0010ffff|\ufdd0|\ufffd <unk> <0x41> </s> ##ing Ġ a  b !  "
)


class HuggingFaceTokenizer(Tokenizer):
    part_characters = 2**62  # cut here, where it is known whether a text gets a space before it

    def __init__(self, config: LibraryConfig, files: Mapping[str, bytes], model_config: Mapping[str, Any]):
        """`files` are those of KEPT; `model_config` is the model's config.json, which may name special ids."""
        self.files = dict(files)
        theirs = isinstance(config, HuggingFaceConfig)
        origin = f"{config.path}/{FILE}" if theirs and config.path else FILE
        data = parse_object(files[FILE], origin)
        tokenizer_json.check(data, origin)
        tried.require("tokenizers", files[FILE], origin)
        settings = [
            _settings(files, "tokenizer_config.json"),
            _settings(files, "special_tokens_map.json"),
            model_config,
        ]
        backend = _backend(json.dumps(data), origin)
        ids, added = backend.get_vocab(), backend.get_added_tokens_decoder()
        if (most := max(ids.values(), default=-1)) >= tokenizer_json.MOST_IDS or most < 0:
            raise UserError(f"{origin} has ids up to {most}: jaxlm reads 1 to {tokenizer_json.MOST_IDS:,} ids")
        special = {i for i, token in added.items() if token.special}
        self.specials = tokenizer_json.special_tokens(settings, ids, special)
        frame = tokenizer_json.around(self.specials)
        if frame is None:
            raise UserError(f"{origin} has no token that could end a text: name its eos_token in tokenizer_config.json")
        hidden = special | {*self.specials.values()}
        pieces = _pieces(data, ids, added, hidden, self.specials.get("unk"), origin)
        super().__init__(HuggingFaceConfig() if theirs else config, pieces, frame[0])
        self.sentinels = tokenizer_json.sentinels(ids)
        self.closing, self._names = frame[1], {i: name for name, i in ids.items()}
        facts = json.dumps([frame, self.specials], sort_keys=True).encode()
        self.digest = hashlib.blake2b(facts + b"\0" + files[FILE], digest_size=16).hexdigest()
        guarded = tokenizer_json.with_hidden(data, [self._names[i] for i in hidden])
        self._backend = backend if guarded is None else _backend(guarded, origin)
        self.ids_of: Callable[[Sequence[str]], list[np.ndarray]] = self.library_ids
        self._spaced, self._drops = self._space_before(pieces)
        self.lossless = self._keeps(PROBE)

    def _space_before(self, pieces: list[bytes]) -> tuple[bool, bool]:
        """(whether a text that is decoded begins with a space that was not there, whether it got one when encoded)."""
        words = [piece[1:].decode() for piece in pieces if re.fullmatch(b" [A-Za-z]+", piece)][:SOME_WORDS]
        bare, spaced = self.ids_of(words), self.ids_of([f" {word}" for word in words])
        begins = any(Tokenizer.decode(self, ids) == f" {word}" for ids, word in zip(bare, words, strict=True))
        return begins, begins and any(a.tolist() != b.tolist() for a, b in zip(bare, spaced, strict=True))

    def _keeps(self, text: str) -> bool:
        try:
            return self.decode(self.encode(text)) == text
        except UserError:
            return False

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        for text in texts:
            utf8(text)  # half a surrogate pair would be an error of the library's own
        parts, of = [], []
        for number, text in enumerate(texts):
            for later, part in enumerate(_cut(text)):
                # A tokenizer that puts a space before any text gets back, by dropping one, the space it was cut at.
                parts.append(part[1:] if later and self._drops and part.startswith(" ") else part)
                of.append(number)
        found: list[list[np.ndarray]] = [[] for _ in texts]
        for start in range(0, len(parts), PARTS_AT_ONCE):
            for offset, ids in enumerate(self.ids_of(parts[start : start + PARTS_AT_ONCE])):
                found[of[start + offset]].append(ids)
        return [self._checked(np.concatenate(ids), text) for ids, text in zip(found, texts, strict=True)]

    def library_ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of texts that are not cut."""
        with _told("the tokenizer cannot encode this text"):
            encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def with_ids_of(self, ids_of: Callable[[Sequence[str]], list[np.ndarray]]) -> "HuggingFaceTokenizer":
        """The same tokenizer where another program finds the ids (tokenizer_fast.py)."""
        other = copy.copy(self)
        other.ids_of = ids_of
        return other

    def _checked(self, ids: np.ndarray, text: str) -> np.ndarray:
        if (ids == self.separator).any():
            name = self._names[self.separator]
            raise UserError(
                f"a text spells {name!r}, which its tokenizer reads as the token that separates documents "
                f"({text[:40]!r}...): take it out of the text"
            )
        return ids

    def decode(self, ids: Any) -> str:
        """The text of `ids` as a whole document: without the space that some tokenizers put before it."""
        text = super().decode(ids)
        return text.removeprefix(" ") if self._spaced else text

    def save(self, folder: str | Path) -> None:
        inside = Path(folder) / FOLDER
        inside.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (inside / name).write_bytes(content)
        facts = {"format_version": FORMAT_VERSION, "config": dump(self.config), "digest": self.digest}
        facts |= {"specials": dict(self.specials), "files": hash_folder(inside)}
        (Path(folder) / FACTS).write_bytes(seal(facts))


def open_folder(folder: str | Path, model_config: Mapping[str, Any] | None = None) -> HuggingFaceTokenizer:
    """The tokenizer in a folder of Hugging Face's; UserError where there is none that jaxlm reads."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder: name the one that holds {FILE}")
    there = [name for name in KEPT if (folder / name).is_file()]
    if (size := sum((folder / name).stat().st_size for name in there)) > LIMIT:
        raise UserError(f"{folder}: {', '.join(there)} have {size:,} bytes, more than the {LIMIT:,} of a tokenizer")
    files = {name: read_bytes(folder / name) for name in there}
    if FILE not in files:
        files[FILE] = _from_parts(folder, files)
    elif (folder / FOLDER).is_dir() or (folder / MODEL).is_file():
        raise UserError(f"{folder} is a tokenizer of jaxlm: name it with data.tokenizer.kind=saved")
    return HuggingFaceTokenizer(HuggingFaceConfig(path=str(folder)), files, model_config or {})


def is_theirs(folder: Path) -> bool:
    """Whether the tokenizer.json in `folder` is one of the library's; ours has the same name."""
    try:
        return "model" in read_object(folder / FILE)
    except UserError:
        return False


def load(folder: Path, cfg: LibraryConfig, facts: Mapping[str, Any]) -> HuggingFaceTokenizer:
    """What `save` wrote; `facts` are those of the folder, unsealed, and `cfg` the config among them."""
    told(facts, {"files": dict, "specials": dict}, str(folder / FACTS))
    if strange := facts["files"].keys() - {*KEPT} | facts["specials"].keys() - tokenizer_json.ROLES.keys():
        raise Damaged(f"{folder / FACTS} tells of {min(strange)!r:.80}: jaxlm did not write it so")
    problems = folder_problems(folder / FOLDER, facts["files"])
    if problems:
        raise Damaged(f"{folder / FOLDER}: {'; '.join(problems)}: copy the whole folder, or import the model again")
    files = {name: read_bytes(folder / FOLDER / name) for name in facts["files"]}
    if FILE not in files:
        raise Damaged(f"{folder / FACTS} tells of no {FILE}: jaxlm did not write it so")
    named = {f"{tokenizer_json.ROLES[role][0]}_id": i for role, i in facts["specials"].items()}
    tokenizer = HuggingFaceTokenizer(cfg, files, named)
    if tokenizer.digest != facts["digest"]:
        raise Damaged(
            f"{folder / FOLDER} is not what {FACTS} belongs to, or this version of `tokenizers` reads it anew"
        )
    return tokenizer


def _cut(text: str) -> Iterator[str]:
    """Parts of at most PART_CHARACTERS, each but the first from a space on that follows no other white space.

    Byte-level BPE and its kin read such a space with the word after it. Where there is none, tokens may differ.
    """
    start = 0
    while len(text) - start > PART_CHARACTERS:
        end = text.rfind(" ", start + 1, start + PART_CHARACTERS + 1)
        while end > start and text[end - 1].isspace():
            end = text.rfind(" ", start + 1, end)
        end = end if end > start else start + PART_CHARACTERS
        yield text[start:end]
        start = end
    yield text[start:]


def _settings(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    return parse_object(files[name], name) if name in files else {}


def _from_parts(folder: Path, files: Mapping[str, bytes]) -> bytes:
    """A tokenizer.json from the files of an older model."""
    settings = [_settings(files, name) for name in ("tokenizer_config.json", "special_tokens_map.json")]
    lines = lambda name: _lines(files[name], folder / name)
    if {"vocab.json", "merges.txt"} <= files.keys():
        vocab = parse_object(files["vocab.json"], str(folder / "vocab.json"))
        made = tokenizer_json.from_parts(vocab, lines("merges.txt"), settings)
    elif "vocab.txt" in files:
        made = tokenizer_json.from_parts({name: i for i, name in enumerate(lines("vocab.txt"))}, None, settings)
    else:
        has = "only tokenizer.model" if "tokenizer.model" in files else "none of its parts either"
        raise UserError(
            f"{folder} has no {FILE} ({has}): in Python, transformers.AutoTokenizer.from_pretrained({str(folder)!r})"
            f".save_pretrained({str(folder)!r}) writes one; or name a folder that has it"
        )
    return json.dumps(made, ensure_ascii=False).encode()


def _lines(content: bytes, path: Path) -> list[str]:
    if sum(map(content.count, _ENDS)) > MOST_LINES:
        raise UserError(f"{path} has more than the {MOST_LINES:,} lines that such a file may have: is it one?")
    return content.decode("utf-8", errors="replace").splitlines()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What the library cannot do is one line: it raises plain Exceptions, or panics, which are not even those."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}") from None


def _backend(text: str, origin: str) -> tokenizers.Tokenizer:
    with _told(f"{origin} is no tokenizer that `tokenizers` {tokenizers.__version__} reads"):
        backend = tokenizers.Tokenizer.from_str(text)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True  # as text, that is
    return backend


def _pieces(data, ids: Mapping[str, int], added, hidden: set[int], unknown: int | None, origin: str) -> list[bytes]:
    """What each id spells: nothing for specials and for numbers that stand for no token."""
    spell = tokenizer_json.spelling(data.get("decoder"), origin)
    pieces = [b""] * (max(ids.values()) + 1)
    for token, i in ids.items():
        if i not in hidden:
            pieces[i] = spell.of_added(token) if i in added else spell.of_token(token)
    if unknown is not None:
        pieces[unknown] = "\ufffd".encode()
    return pieces
