"""What is predicted from hidden states beside tokens: the class of a text, the tag of each token, a span.

A head of classes is a table as that of the vocabulary is, so the one loss serves it: `Family.head` gives the
table, the targets of the asked positions are classes. A span is two choices among the positions of a row.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlm.batch import Batch
from jaxlm.mesh import constrain
from jaxlm.models.family import Head, asked
from jaxlm.models.layers import HIDDEN, Precision, einsum, exact, parameter

# Top-level parameters that turn hidden states into what is asked, in any family; the others are a model's body.
HEADS = frozenset(
    {"head", "head_b", "transform", "transform_norm", "pooler", "order", "order_b", "classifier", "classifier_b"}
)


def answer(
    module: nn.Module, head: Head, x_BLD: Array, batch: Batch, std: float, precision: Precision
) -> Float[Array, "B _ _"]:
    """What `Hidden.array` holds; the parameters of a head that is not the vocabulary's become `module`'s."""
    if head.kind == "tokens":
        return asked(x_BLD, batch.where)
    rows = 2 if head.kind == "span" else head.classes
    axes = ("class", "width")
    table_CD = parameter(module, "classifier", nn.initializers.normal(std), (rows, x_BLD.shape[-1]), axes)
    bias_C = parameter(module, "classifier_b", nn.initializers.zeros, (rows,), ("class",))
    if head.kind != "span":
        return asked(x_BLD, batch.where)
    # This bias moves all positions alike, so no softmax sees it; BERT's head of spans has it.
    logits_BCL = einsum("BLD,CD->BCL", x_BLD, table_CD, exact(precision)) + bias_C[None, :, None]
    return jnp.where(answers(batch)[:, None, :], logits_BCL, HIDDEN)


def answers(batch: Batch) -> Any:
    """Where a span may begin and end: at real tokens, of part 1 where a row has parts (0 asks, 1 answers).

    The row's first token is where a span is that the row does not hold.
    """
    real_BL = batch.segment > 0
    if batch.kind is None:
        return real_BL
    first_BL = jnp.arange(real_BL.shape[1])[None] == 0
    return real_BL & ((batch.kind == 1) | first_BL)


def weights_of_tokens(head: Head, batch: Batch) -> Any:
    """`batch.weight`; where not all tokens are asked for, each row's weight spread evenly over its real tokens."""
    if head.kind != "span" and batch.where is None:
        return batch.weight
    real_BL = (batch.segment > 0).astype(jnp.float32)
    return real_BL * (batch.weight.sum(1) / jnp.maximum(real_BL.sum(1), 1))[:, None]


def table_of(head: Head, tokens: str) -> Callable[[dict], jax.Array | None]:
    """`Family.head`; `tokens` names the table of the vocabulary."""
    if head.kind == "span":
        return lambda params: None
    if head.kind == "tokens":
        return lambda params: params[tokens]
    return lambda params: constrain(params["classifier"], ("class", "act_width"))  # a few rows: whole on each device


def bias_of(head: Head, tokens: str | None = None) -> Callable[[dict], jax.Array | None]:
    """`Family.bias`; `tokens` names the bias of the vocabulary's logits, None: they have none."""
    name = {"tokens": tokens, "span": None}.get(head.kind, "classifier_b")
    return lambda params: None if name is None else params[name]
