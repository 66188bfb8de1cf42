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
