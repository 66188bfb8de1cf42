"""The cases of train_step.py: sizes that ours and the peer's model share. Imports no jax, no torch."""

from typing import NamedTuple


class Case(NamedTuple):
    batch: int  # rows
    length: int  # tokens a row
    layers: int
    heads: int
    width: int
    vocab: int  # not padded: on neither side
    steps: int  # timed ones, after WARM_UP


CASES = {
    "nanogpt": Case(batch=12, length=64, layers=4, heads=4, width=128, vocab=65, steps=150),
    "124m": Case(batch=4, length=64, layers=12, heads=12, width=768, vocab=50_257, steps=15),
}
WARM_UP = 8  # steps; the peer has as many


class Writing(NamedTuple):
    """A case of generate.py: a GPT-2 that writes."""

    batch: int  # prompts
    prompt: int  # tokens of each, the separator before it included
    new: int  # tokens after it; none of them ends the text
    layers: int
    heads: int
    width: int
    vocab: int
    length: int  # rows of learned positions
    calls: int  # timed ones, after one that compiles


_GPT2 = {"layers": 12, "heads": 12, "width": 768, "vocab": 50_257, "length": 1_024}
WRITING = {
    "124m_1": Writing(batch=1, prompt=64, new=128, calls=3, **_GPT2),
    "124m_8": Writing(batch=8, prompt=64, new=128, calls=3, **_GPT2),
}
