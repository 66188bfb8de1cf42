"""What generation hands back: completions, and their text piece by piece while they grow."""

import codecs
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxlm.errors import Diverged


@runtime_checkable
class Tokenizer(Protocol):
    """What generation asks of a tokenizer (data/tokenizer.py has them)."""

    @property
    def vocab(self) -> int: ...

    @property
    def separator(self) -> int: ...  # the id that opens every document, and ends one

    @property
    def closing(self) -> int: ...  # an id that ends one too; the separator, but for models made elsewhere

    @property
    def start(self) -> int: ...  # the id that an encoder-decoder begins with; the separator, but for the same

    def encode(self, text: str) -> Any: ...

    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...


class Completion(NamedTuple):
    prompt: str
    text: str  # without the prompt; bytes that are no UTF-8 read U+FFFD
    tokens: list[int]  # of `text`; without the separator that ended it
    stopped: bool  # the model closed the document; False: it used up its tokens
    log_probability: float  # mean over tokens and separator, in nats, of the model's own before any filter
    score: float | None = None  # that beams are ranked by, larger is better; None: found without beams


class Text:
    """One completion as it grows."""

    def __init__(self, tokenizer: Tokenizer, show: Callable[[str], Any]):
        self.tokenizer, self.show = tokenizer, show
        self.tokens: list[int] = []
        self.nats: list[float] = []
        self.stopped = False
        self.pieces: list[str] = []
        self.utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, tokens: list[int], nats: list[float]) -> None:
        """Take tokens up to the separator; whatever comes after it is padding."""
        if self.stopped:
            return
        self.stopped = self.tokenizer.separator in tokens
        new = tokens[: tokens.index(self.tokenizer.separator)] if self.stopped else tokens
        self.tokens += new
        self.nats += nats[: len(new) + self.stopped]
        self.write(self.utf8.decode(self.tokenizer.decode_bytes(new)))

    def write(self, piece: str) -> None:
        if piece:  # nothing yet where a character goes on in the next token
            self.pieces.append(piece)
            self.show(piece)

    def completion(self, prompt: str) -> Completion:
        self.write(self.utf8.decode(b"", final=True))
        mean = sum(self.nats) / len(self.nats)
        require_finite(mean, prompt)
        return Completion(prompt, "".join(self.pieces), self.tokens, self.stopped, mean)


def require_finite(nats: float, prompt: str) -> None:
    """Raise Diverged where a log-probability after `prompt` is none."""
    if not math.isfinite(nats):
        raise Diverged(f"the model's logits after {prompt!r} are not finite: training diverged, use an earlier step")
