"""What every tokenizer is: a table from ids to bytes, and a way from text to ids.

We decode by our own table, so decode_bytes(a) + decode_bytes(b) = decode_bytes(a + b). What an id is, and how text
becomes ids, is said by those who inherit: tokenizer.py and tokenizer_huggingface.py.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from jaxlm.config import dump
from jaxlm.data.tokenizer_config import TokenizerConfig
from jaxlm.errors import UserError
from jaxlm.hashing import seal

FORMAT_VERSION = 1
FACTS, MODEL = "tokenizer.json", "sentencepiece.model"
PART_CHARACTERS = 1 << 16  # text is encoded in parts of this size, so a huge line needs little memory


class Tokenizer:
    """An id stands for a few bytes of text; the separator, and other specials, for none."""

    lossless = True  # `decode(encode(text))` is `text`, whatever it is
    specials: Mapping[str, int] = MappingProxyType({})  # ids by what they are for (tokenizer_json.ROLES)
    sentinels: Sequence[int] = ()  # ids that stand for a hidden span each, where the tokenizer has some
    part_characters = PART_CHARACTERS  # a text may be cut into parts of this size (sample.cut) and keeps its ids

    def __init__(self, config: TokenizerConfig, pieces: list[bytes], separator: int, model: bytes = b""):
        self.config, self.separator, self.vocab = config, separator, len(pieces)
        # What ends a document: the separator, but for models made elsewhere that open with one token and close with
        # another. The stream holds the separator alone; read as a target it is `closing`.
        self.closing = separator
        self._pieces, self._model = pieces, model
        # 32 hex digits that tell two tokenizers apart
        self.digest = digest(config, model)

    def encode(self, text: str) -> np.ndarray:
        """int32 ids of `text`; never the separator, even where the text spells it.

        >>> from jaxlm.data.tokenizer import BytesConfig, train
        >>> tokenizer = train(BytesConfig(), [], seed=0)
        >>> tokenizer.encode("hé").tolist(), tokenizer.decode([104, 195, 169])
        ([104, 195, 169], 'hé')
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` of each text, faster."""
        return [np.frombuffer(utf8(text), np.uint8).astype(np.int32) for text in texts]

    def decode(self, ids: Any) -> str:
        """The text of `ids` (any sequence of integers); bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Any) -> bytes:
        """The UTF-8 of `ids`; a character may be spread over several, so stream these and not `decode`."""
        ids = np.asarray(ids).reshape(-1).tolist()
        if ids and not 0 <= min(ids) <= max(ids) < self.vocab:
            wrong = min(ids) if min(ids) < 0 else max(ids)
            raise UserError(f"token {wrong} is not in this tokenizer: its ids are 0 to {self.vocab - 1}")
        return b"".join([self._pieces[i] for i in ids])

    def begins_word(self) -> np.ndarray:
        """bool "V": does a word begin with this id? White space, punctuation and characters of unspaced scripts do."""
        return np.array([_begins_word(piece) for piece in self._pieces])

    def starts(self, ids: Any) -> np.ndarray:
        """The byte of the text at which each of `ids` begins; UserError where the tokenizer does not keep all of it."""
        if not self.lossless:
            raise UserError(
                f"the tokenizer {self.config.kind!r} does not keep all of a text, so nobody knows at which token a "
                f"labelled character is: use data.tokenizer.kind='sentencepiece' or 'bytes'"
            )
        sizes = np.array([len(self._pieces[i]) for i in np.asarray(ids).tolist()], np.int64)
        return np.cumsum(sizes) - sizes

    @property
    def mask(self) -> int | None:
        """The id that stands for what is hidden, where the tokenizer has one of its own."""
        return self.specials.get("mask")

    @property
    def unknown(self) -> int | None:
        """The id that stands for text which the tokenizer cannot spell, where it has one."""
        return self.specials.get("unk")

    def spells_bytes(self) -> np.ndarray:
        """bool "V": is this id bytes in the place of a character, or a part of one? Such text is not its own."""
        return np.array([not is_utf8(piece) for piece in self._pieces])

    @property
    def start(self) -> int:
        """The id that an encoder-decoder begins to write with: the separator, but for models made elsewhere.

        Where it is another, no separator opens a source either; it only closes it, as T5 has it.
        """
        return self.specials.get("start", self.separator)

    def facts(self) -> dict[str, Any]:
        """What shards say of the tokenizer they were made with."""
        facts: dict[str, Any] = {"vocab": self.vocab, "separator": self.separator}
        facts |= {} if self.closing == self.separator else {"closing": self.closing}
        facts |= {} if self.start == self.separator else {"start": self.start}
        facts |= {"sentinels": list(self.sentinels)} if self.sentinels else {}
        return facts if self.mask is None else facts | {"mask": self.mask}

    def save(self, folder: str | Path) -> None:
        """Write what `load` reads; the folder is made if it is not there."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"format_version": FORMAT_VERSION, "config": dump(self.config), "digest": self.digest}
        (folder / FACTS).write_bytes(seal(facts))
        if self._model:
            (folder / MODEL).write_bytes(self._model)


def digest(config: TokenizerConfig, model: bytes) -> str:
    """Of a tokenizer that `config` and `model` make: known before the model is loaded."""
    facts = json.dumps(dump(config), sort_keys=True).encode()
    return hashlib.blake2b(facts + b"\0" + model, digest_size=16).hexdigest()


def _begins_word(piece: bytes) -> bool:
    first = piece.decode("utf-8", errors="ignore")[:1]  # bytes inside a character are none
    return bool(first) and (not first.isalnum() or ord(first) >= 0x2E80)  # from there on: Chinese, Japanese, Korean


def is_utf8(piece: bytes) -> bool:
    try:
        piece.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def utf8(text: str) -> bytes:
    """UTF-8 of `text`; UserError where it holds half of a surrogate pair."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"U+{ord(text[error.start]):04X} at character {error.start:,} is half of a surrogate pair, which "
            f"is no character and has no UTF-8: replace it (`jaxlm prepare` writes U+FFFD)"
        ) from None
