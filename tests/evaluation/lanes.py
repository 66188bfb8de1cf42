"""Three lanes of a small text in batches of four tokens, and a model to score them: large weights, nothing trained."""

import jax
import numpy as np

from jaxlm.batch import Batch
from jaxlm.evaluation import perplexity
from jaxlm.models.build import build
from jaxlm.models.recurrent import RecurrentConfig

VOCAB, LANES, LENGTH, BATCHES = 13, 3, 4, 5
CONFIG = RecurrentConfig(cell="gru", layers=1, width=6, precision="float32")
FAMILY = build(CONFIG, vocab=VOCAB, length=LENGTH, packed=True, platform="cpu")


def params() -> dict:
    return jax.tree.map(lambda w: 3 * w, jax.jit(FAMILY.init)(jax.random.key(0)))


def text(seed=0, period=None) -> np.ndarray:
    """The tokens of each lane; with a period they repeat themselves."""
    length = LENGTH * BATCHES + 1
    rows = np.random.default_rng(seed).integers(0, VOCAB, (LANES, period or length), dtype=np.int32)
    return np.tile(rows, (1, -(-length // rows.shape[1])))[:, :length]


def batches(text, weighed=lambda number: True) -> list[Batch]:
    """Lane 1 begins a document at token 6, lane 2 ends after token 17; the targets `weighed` says count."""
    number = np.arange(text.shape[1] - 1)
    position = np.tile(number, (LANES, 1)).astype(np.int32)
    position[1, 6:] -= 6
    segment = np.ones_like(position)
    segment[2, 17:] = position[2, 17:] = 0
    weight = (segment * np.vectorize(weighed)(number)[None]).astype(np.float32)
    whole = Batch(text[:, :-1], text[:, 1:], weight, segment, position)
    return [jax.tree.map(lambda x, s=s: x[:, s : s + LENGTH], whole) for s in range(0, number.size, LENGTH)]


def plain(params, given) -> perplexity.Score:
    return perplexity.score(SUMS, params, given, 100, FAMILY.carry(LANES))


SUMS = jax.jit(perplexity.row_sums(FAMILY))
