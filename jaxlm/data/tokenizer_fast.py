"""gigatoken in the place of the library: byte-level BPE at many times its speed, where it is installed and agrees.

It (Rod 2026, https://github.com/marcelroed/gigatoken) reads the same tokenizer.json and means to give the same ids.
Whoever makes shards may have it or not, and must get the same bytes. So it is compared with the library on the first
text that is encoded, and then on a little of all that follows: `Disagrees` means to start anew without it. It comes
with `jaxlm[fast]`; nothing is asked for where it is not installed.

Left out: its SentencePiece, its reading of files, its threads, since ours encode already.
"""

import json
import logging
import threading
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np

from jaxlm.data import tokenizer_json
from jaxlm.data.sample import cut
from jaxlm.data.tokenizer_base import PART_CHARACTERS, Tokenizer
from jaxlm.data.tokenizer_huggingface import FILE, HuggingFaceTokenizer

log = logging.getLogger("jaxlm")

FIRST_PARTS = 32  # chosen: 2 MB of text at most are compared before anything is written, a second of the library
CHECK_EVERY = 1 << 20  # characters; chosen: the library then takes about a tenth of the time
CHECKED = 4_096  # characters of those that are compared
# Characters after which it begins anew. It remembers every word: measured, nine bytes of memory for each byte of words
# that it has not met (0.10). Chosen: so many are a second's work, and a fresh one knows the common words in a moment.
FORGET_EVERY = 1 << 26
SHOWN = 60  # characters of a text that a warning names


class Disagrees(Exception):
    """gigatoken gave other ids than the library; what it encoded before may be wrong as well."""


def faster(tokenizer: Tokenizer, texts: Iterable[str]) -> Tokenizer | None:
    """`tokenizer` with gigatoken inside, or None where it is of no use: not installed, not made for it, not equal.

    `texts` are those that will be encoded; the first of them are compared.
    """
    module = installed()
    if module is None or not isinstance(tokenizer, HuggingFaceTokenizer) or not is_byte_level(tokenizer):
        return None
    first = list(islice((part for text in texts for part in cut(text, PART_CHARACTERS) if part), FIRST_PARTS))
    try:
        by = ByGigatoken(module, tokenizer)
        by.compare(first)
    except Disagrees as text:
        log.warning("gigatoken %s", text)
        return None
    except (ValueError, RuntimeError) as error:  # a tokenizer.json that it does not read
        log.info("gigatoken is not used: %s", error)
        return None
    log.info("encoding by gigatoken: its ids are the library's for %s characters", f"{sum(map(len, first)):,}")
    return tokenizer.with_ids_of(by.ids)


def installed() -> Any:
    """The module, or None."""
    try:
        import gigatoken  # type: ignore[import-not-found]
    except ImportError:
        return None
    return gigatoken


def is_byte_level(tokenizer: HuggingFaceTokenizer) -> bool:
    """Whether it is what gigatoken is asked for: byte-level BPE, no normaliser, no added tokens but special ones."""
    data = json.loads(tokenizer.files[FILE])
    kinds = {part.get("type") for part in tokenizer_json.flattened(data.get("pre_tokenizer"), "pretokenizers")}
    added = data.get("added_tokens") or []
    return (
        data["model"].get("type") == "BPE"
        and "ByteLevel" in kinds <= {"ByteLevel", "Split", "Digits"}
        and data.get("normalizer") is None
        and all(token.get("special") for token in added)
        and tokenizer.lossless
    )


class ByGigatoken:
    """Ids of texts by gigatoken, some of them compared with the library's."""

    def __init__(self, module: Any, tokenizer: HuggingFaceTokenizer):
        # Without its special tokens, so that a text which spells one is text.
        data = {**json.loads(tokenizer.files[FILE]), "added_tokens": []}
        self._made_of, self._module, self._library = json.dumps(data), module, tokenizer.library_ids
        self._begin()
        self._characters, self._lock = 0, threading.Lock()

    def _begin(self) -> None:
        self._backend = self._module.Tokenizer.from_json(self._made_of)

    def ids(self, texts: Sequence[str]) -> list[np.ndarray]:
        found = self._encoded(texts)
        with self._lock:
            before = self._characters
            self._characters += sum(map(len, texts))
            crossed = lambda every: before // every != self._characters // every
            if crossed(FORGET_EVERY):
                self._begin()
        if crossed(CHECK_EVERY):
            text = texts[len(texts) // 2]
            start = max(0, len(text) - CHECKED) // 2
            self.compare([text[start : start + CHECKED]])
        return found

    def compare(self, texts: Sequence[str]) -> None:
        """Disagrees, with the text that it is about, where the two give other ids."""
        for text, ours, theirs in zip(texts, self._encoded(texts), self._library(texts), strict=True):
            if not np.array_equal(ours, theirs):
                raise Disagrees(f"gives other ids than its library for a text that begins {text[:SHOWN]!r}")

    def _encoded(self, texts: Sequence[str]) -> list[np.ndarray]:
        if not texts:
            return []
        encoded = self._backend.encode_batch(list(texts), parallel=False)
        flat = np.asarray(encoded.layout.content.data).astype(np.int32)
        return [flat[start:end] for start, end in pairwise(encoded.layout.offsets.data)]
