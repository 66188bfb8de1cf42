"""A family of models as the house knows it: pure functions over a plain nested dict of arrays.

The one seam between Flax and the rest of the house: no Flax object leaves this folder.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxlm.batch import Batch
from jaxlm.models.layers import Noise, Precision


class Hidden(NamedTuple):
    """What a model makes of a batch, before the head."""

    array: jax.Array  # "B L D", or "B P D" where the batch asks for P positions of each row
    carry: Any = ()  # recurrent state after the last token
    penalty: jax.Array | float = 0.0  # to be minimised beside the loss: a sum over tokens, in nats; or one of each row


class Family(NamedTuple):
    """What the house knows of a model. `params` is a nested dict of float32 arrays."""

    init: Callable[[jax.Array], dict]  # key -> params
    axes: dict  # logical axis names of each parameter
    apply: Callable[..., Hidden]  # (params, batch, noise=None, carry=()) -> Hidden
    # params -> table_VD, logits are hidden @ table.T + bias; or None: what `apply` returns are logits
    head: Callable[[dict], Any]
    vocab: int
    precision: Precision
    flops_per_token: Callable[[int], float]  # row length -> floating-point operations of one training step
    softcap: float | None = None
    length: int | None = None  # most tokens of context; None: no limit
    source_length: int | None = None  # most tokens that `read` reads; None: no limit
    bias: Callable[[dict], jax.Array | None] = lambda params: None  # params -> bias_V of the logits
    carry: Callable[[int], Any] = lambda rows: ()  # rows -> recurrent state before the first token; (): it has none
    # (rows, slots) -> empty decoding state
    init_state: Callable[[int, int], Any] | None = None
    # (params, token_BL, position_BL, real_BL, state) -> hidden_BLD, state; where `real` is False, nothing happened.
    # None: the family cannot generate
    decode: Callable[..., tuple[jax.Array, Any]] | None = None
    prefix: bool = False  # `decode` lets tokens of one call see each other: a prompt is to come whole
    # (params, source, slots) -> decoding state of an encoder-decoder that has read its source; None: it has none
    read: Callable[..., Any] | None = None
    # (state, row_B) -> state whose row b is what row row_B[b] was; for beams
    reorder: Callable[[Any, jax.Array], Any] = lambda state, row_B: jax.tree.map(lambda x: x[row_B], state)

    def hidden(self, params: dict, batch: Batch, noise: Noise | None = None) -> jax.Array:
        """hidden_BLD of rows that go on from nowhere."""
        return self.apply(params, batch, noise).array


def parameters(module: nn.Module, sample: Batch) -> tuple[Callable[[jax.Array], dict], dict]:
    """(init, axes) of a Family from a Flax module that takes a batch like `sample`."""
    sample = jax.tree.map(jnp.asarray, sample)
    boxed = jax.eval_shape(module.init, jax.random.key(0), sample)["params"]
    is_box = lambda x: isinstance(x, nn.meta.AxisMetadata)
    return (
        lambda key: nn.unbox(module.init(key, sample)["params"]),
        jax.tree.map(lambda box: tuple(box.names), boxed, is_leaf=is_box),
    )


def tokens(token_BL: jax.Array, position_BL: jax.Array, real_BL: jax.Array | None = None) -> Batch:
    """A batch that is only read: nothing is asked of it."""
    segment_BL = jnp.ones_like(token_BL) if real_BL is None else real_BL.astype(jnp.int32)
    return Batch(token_BL, token_BL, segment_BL.astype(jnp.float32), segment_BL, position_BL)


_ONE = np.ones((1, 1), np.int32)  # numpy: importing this must not start jax
SAMPLE = Batch(_ONE, _ONE, _ONE.astype(np.float32), _ONE, _ONE)  # enough to make parameters with


def asked(hidden_BLD: jax.Array, where_BP: jax.Array | None) -> jax.Array:
    """hidden_BPD at the positions a batch asks for; all of them where it does not say which."""
    return hidden_BLD if where_BP is None else jnp.take_along_axis(hidden_BLD, where_BP[..., None], axis=1)


class Head(NamedTuple):
    """What is predicted, and so the table that hidden states meet last."""

    # tokens: of the vocabulary. classes: one of a whole text. tags: one of each token.
    # span: two positions of the row, a first and a last; `apply` then returns logits_BPL, and `head` no table.
    kind: Literal["tokens", "classes", "tags", "span"] = "tokens"
    classes: int = 0  # of classes and tags


TOKENS = Head()


class Setting(NamedTuple):
    """What only a run knows of its model."""

    vocab: int
    length: int  # tokens of a row
    packed: bool  # rows hold several documents, or padding
    platform: str  # cpu, gpu, tpu
    head: Head = TOKENS
    source_length: int | None = None  # tokens that an encoder-decoder reads; None: as many as it writes
    prefix: bool = False  # a decoder's rows begin with tokens that are read from both sides
    ring: bool = False  # where mesh axis `sequence` splits rows, keys go round and are not gathered
