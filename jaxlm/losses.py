"""Weighted cross-entropy, computed in chunks so that the logits of a whole batch never exist.

Sums, not means: whoever adds up microbatches or devices divides once, by the weight of all.
"""

import functools
import math

import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float, Int

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.mesh import RULES, constrain, mesh_in_scope, row_shards, shards, whole_rows
from jaxlm.models.family import Family
from jaxlm.models.layers import Precision, einsum, exact

# Of logits. Chosen: smaller chunks add to the table's gradient more often, larger ones save less memory.
CHUNK_BYTES = 2**27


class LossConfig(Config):
    z_loss: float = pydantic.Field(default=0.0, ge=0)  # times log(Z)^2 (PaLM, arXiv:2204.02311, section 5: 1e-4)
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)  # share of the target spread over all tokens
    chunk: int | None = pydantic.Field(default=None, gt=0)  # tokens of each row at once; None: what fits 128 MiB


PLAIN = LossConfig()  # cross-entropy and nothing else


def cross_entropy(
    hidden_BLD: Float[Array, "B L D"],
    table_VD: Float[Array, "V D"] | None,
    target_BL: Int[Array, "B L"],
    weight_BL: Float[Array, "B L"],
    *,
    precision: Precision,
    cfg: LossConfig = PLAIN,
    softcap: float | None = None,
    bias_V: Float[Array, " V"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(sum to minimise, sum of plain cross-entropy), both weighted and in nats; differentiate the first.

    Without a table `hidden_BLD` are the logits: a head that chooses among positions has none.
    The gradients of a chunk are made with its logits, in the forward pass, so no product runs twice: temporary
    memory is that of one chunk, the gradients and nothing else.
    """
    chunk = cfg.chunk or chunk_length(hidden_BLD.shape[0], hidden_BLD.shape[1], outputs(hidden_BLD, table_VD))

    groups = row_shards(mesh_in_scope())  # of rows, those of a device each
    groups = groups if hidden_BLD.shape[0] % groups == 0 else 1

    def of_chunk(head, *xs: Array) -> tuple[Array, Array]:
        rows = "batch" if groups == 1 else "norm"  # those of a group are together
        objective_B, nats_B, _ = of_rows(head, *xs, precision=precision, cfg=cfg, softcap=softcap, rows=rows)
        return objective_B.sum(), nats_B.sum()

    head = table_VD, bias_V
    if chunk >= hidden_BLD.shape[1]:
        return of_chunk(read_whole(head), hidden_BLD, target_BL, weight_BL)

    @jax.custom_vjp
    def chunked(head, hidden_BLD, target_BL, weight_BL):
        xs = in_chunks(chunk, hidden_BLD, target_BL, weight_BL)
        whole = read_whole(head)
        add = lambda sums, x: (jax.tree.map(jnp.add, sums, of_chunk(whole, *x)), None)
        return jax.lax.scan(add, (jnp.zeros(()), jnp.zeros(())), xs)[0]

    def forward(head, hidden_BLD, target_BL, weight_BL):
        with_gradients = on_each_group(jax.value_and_grad(of_chunk, argnums=(0, 1), has_aux=True), groups)
        whole = gathered(head, precision)

        def add(carry, x):
            of_this, (head_grad, hidden_grad) = with_gradients(jax.tree.map(as_held, head, whole), *x)
            return jax.tree.map(jnp.add, carry, (of_this, head_grad)), hidden_grad

        nothing = jnp.zeros(() if groups == 1 else groups)
        start = (nothing, nothing), jax.tree.map(functools.partial(no_gradient, groups), head)
        (sums, head_grad), hidden_grads = jax.lax.scan(add, start, in_chunks(chunk, hidden_BLD, target_BL, weight_BL))
        if groups > 1:
            sums, head_grad = jax.tree.map(jnp.sum, sums), summed(head_grad, precision)
        return sums, (head_grad, out_of_chunks(hidden_grads, hidden_BLD.shape[1]))

    def backward(gradients, cotangents):
        of_objective, _ = cotangents
        scale = lambda gradient: (of_objective * gradient).astype(gradient.dtype)
        return *jax.tree.map(scale, gradients), None, None

    chunked.defvjp(forward, backward)
    return chunked(head, hidden_BLD, target_BL, weight_BL)


def read_whole(head):
    """`head` with all columns of its table on each device, once for all chunks."""
    table_VD, bias_V = head
    return None if table_VD is None else whole_rows(table_VD), bias_V


def on_each_group(with_gradients, groups: int):
    """`with_gradients` of the rows of each group by themselves: sums and the head's gradient come for each of them.

    Left to itself the compiler sums that gradient over the devices, and gathers the table, for each chunk anew.
    """
    if groups == 1:
        return with_gradients

    def of_all(head, *xs: Array):
        cut = lambda x: constrain(
            x.reshape(groups, -1, *x.shape[1:]), ("batch", "norm", "length", *("norm",) * (x.ndim - 2))
        )
        of_each = jax.vmap(with_gradients, in_axes=(None, 0, 0, 0), spmd_axis_name=RULES["batch"])
        sums, (head_grad, hidden_grad) = of_each(head, *map(cut, xs))
        return sums, (head_grad, hidden_grad.reshape(xs[0].shape))

    return of_all


def gathered(head, precision: Precision):
    """`head` with all columns of its table on each device, in the dtype that its products take it in."""
    table_VD, bias_V = head
    if table_VD is None or mesh_in_scope() is None:
        return head
    held_VD = table_VD if precision == "float32" else table_VD.astype(jnp.bfloat16)
    return constrain(held_VD, ("act_vocab", "act_width")), bias_V


def as_held(x: Array, held: Array) -> Array:
    """`held` in the dtype of `x`, which its gradient is to have; a product rounds it back, so nothing is made wider."""
    return held.astype(x.dtype)


def no_gradient(groups: int, x: Array) -> Array:
    """Zeros to add the gradient of x to; for each group its own."""
    if groups == 1:
        return jnp.zeros_like(x)
    names = ("act_vocab", "act_width")[: x.ndim]
    return constrain(jnp.zeros((groups, *x.shape), x.dtype), ("batch", *names))


def summed(head_grad, precision: Precision):
    """The head's gradient over all groups, cut as the table is; it travels in the dtype of other weights' gradients."""

    def over_groups(x: Array, names: tuple[str, ...]) -> Array:
        travels = x.astype(jnp.bfloat16) if precision == "bfloat16" else x
        return constrain(jax.lax.reduce_sum(travels, axes=(0,)), names).astype(x.dtype)

    table_SVD, bias_SV = head_grad
    return (
        None if table_SVD is None else over_groups(table_SVD, ("vocab", "width")),
        None if bias_SV is None else over_groups(bias_SV, ("vocab",)),
    )


def row_scores(
    hidden_BLD: Float[Array, "B L D"],
    table_VD: Float[Array, "V D"] | None,
    target_BL: Int[Array, "B L"],
    weight_BL: Float[Array, "B L"],
    *,
    precision: Precision,
    softcap: float | None = None,
    bias_V: Float[Array, " V"] | None = None,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The weighted sums, for each row, of plain cross-entropy in nats and of hits: targets that no logit exceeds.

    For evaluation, not to be differentiated.
    """
    chunk = chunk_length(hidden_BLD.shape[0], hidden_BLD.shape[1], outputs(hidden_BLD, table_VD))
    of_row = functools.partial(of_rows, precision=precision, cfg=PLAIN, softcap=softcap)
    head = read_whole((table_VD, bias_V))
    add = lambda sums, x: (jax.tree.map(jnp.add, sums, of_row(head, *x)[1:]), None)
    xs = in_chunks(chunk, hidden_BLD, target_BL, weight_BL)
    zeros = jnp.zeros(len(hidden_BLD))
    return jax.lax.scan(add, (zeros, zeros), xs)[0]


def of_rows(
    head, hidden_BLD, target_BL, weight_BL, precision: Precision, cfg: LossConfig, softcap: float | None, rows="batch"
):
    """`weighted_sums` with all logits at once; `head` is (table_VD, bias_V or None), `rows` its axis in mesh.py."""
    logits_BLV = constrain(logits_of(head, hidden_BLD, precision, softcap), (rows, "length", "act_vocab"))
    return weighted_sums(logits_BLV, target_BL, weight_BL, cfg)


def logits(model: Family, params: dict, batch: Batch) -> Float[Array, "B L V"]:
    """What a model says of each token of `batch`, whose rows carry no state in; float32, bias and cap included.

    Where the batch asks for P positions of each row, of those; a head of classes has logits of classes, one of spans
    those of positions. All at once: V logits a token.
    """
    head = model.head(params), model.bias(params)
    return logits_of(head, model.hidden(params, batch), model.precision, model.softcap)


def logits_of(head, hidden_BLD: Array, precision: Precision, softcap: float | None) -> Array:
    """The logits in float32; `head` is (table_VD, bias_V or None)."""
    table_VD, bias_V = head
    if table_VD is not None and bias_V is not None and precision != "bfloat16":
        hidden_BLD, table_VD, bias_V = *biased(hidden_BLD, table_VD, bias_V), None
    logits_BLV = hidden_BLD if table_VD is None else einsum("BLD,VD->BLV", hidden_BLD, table_VD, exact(precision))
    logits_BLV = logits_BLV if bias_V is None else logits_BLV + bias_V[None, None]
    return soft_cap(logits_BLV, softcap)


def biased(hidden_BLD: Array, table_VD: Array, bias_V: Array) -> tuple[Array, Array]:
    """Both with columns more, so that their product adds the bias: on CPU that costs nothing, while a sum and a
    gradient of their own take 16 of an LSTM's 95 ms, and XLA's sum over all rows takes 70.

    Three columns of eight bits hold the bias to its last bit where a product rounds to bfloat16.
    """
    columns, rest = [], jax.lax.stop_gradient(bias_V)
    for _ in range(3):
        columns.append(jax.lax.reduce_precision(rest, exponent_bits=8, mantissa_bits=7))  # bfloat16's
        rest = rest - columns[-1]
    columns[0] += bias_V - jax.lax.stop_gradient(bias_V)  # 0, whose gradient is the bias's
    ones = jnp.ones((*hidden_BLD.shape[:2], 3), hidden_BLD.dtype)
    table_VD = jnp.concatenate([table_VD, jnp.stack(columns, axis=1).astype(table_VD.dtype)], axis=1)
    return jnp.concatenate([hidden_BLD, ones], axis=-1), table_VD


def outputs(hidden_BLD: Array, table_VD: Array | None) -> int:
    """Among how many the loss's softmax chooses."""
    return hidden_BLD.shape[-1] if table_VD is None else table_VD.shape[0]


def in_chunks(chunk: int, *arrays: Array) -> tuple[Array, ...]:
    """Each (B, L, ...) as (chunks, B, chunk, ...); what is missing is filled up with zeros, so with weight 0.

    Where mesh axis `sequence` splits rows, a chunk has as many positions of each device: none travels.
    """
    parts = parts_of_row(arrays[0].shape[1])
    of_part = -(-chunk // parts)

    def cut(x: Array) -> Array:
        x = x.reshape(len(x), parts, -1, *x.shape[2:])
        x = jnp.pad(x, ((0, 0), (0, 0), (0, -x.shape[2] % of_part)) + ((0, 0),) * (x.ndim - 3))
        x = jnp.moveaxis(x.reshape(*x.shape[:2], -1, of_part, *x.shape[3:]), 2, 0)
        return x.reshape(*x.shape[:2], -1, *x.shape[4:])

    return tuple(map(cut, arrays))


def out_of_chunks(x: Array, length: int) -> Array:
    """The inverse of `in_chunks` for rows of `length`."""
    parts = parts_of_row(length)
    x = jnp.moveaxis(x.reshape(*x.shape[:2], parts, -1, *x.shape[3:]), 0, 2)
    x = x.reshape(*x.shape[:2], -1, *x.shape[4:])[:, :, : length // parts]
    return x.reshape(len(x), length, *x.shape[3:])


def parts_of_row(length: int) -> int:
    """Into how many parts mesh axis `sequence` splits rows; where it does not divide them they are whole."""
    parts = shards(mesh_in_scope(), "length")
    return parts if length % parts == 0 else 1


def chunk_length(rows: int, length: int, vocab: int) -> int:
    """Tokens of each row whose float32 logits on one device fit CHUNK_BYTES; `length` evenly divided."""
    shares = row_shards(mesh_in_scope()) * parts_of_row(length)
    fits = max(1, CHUNK_BYTES // (4 * vocab * -(-rows // shares)))
    return math.ceil(length / math.ceil(length / fits))


def soft_cap(logits: Array, cap: float | None) -> Array:
    return logits if cap is None else cap * jnp.tanh(logits / cap)


def weighted_sums(logits_BLV: Array, target_BL: Array, weight_BL: Array, cfg: LossConfig) -> tuple[Array, Array, Array]:
    """(to minimise, nats of plain cross-entropy, targets that no logit exceeds): weighted sums over each row."""
    objective_BL, nats_BL = of_each(logits_BLV, target_BL, cfg)  # type: ignore[misc]  # a decorator hides the type
    hits_BL = of_target(logits_BLV, target_BL) >= logits_BLV.max(-1)
    total = lambda x_BL: (x_BL * weight_BL).sum(1)
    return total(objective_BL), total(nats_BL), total(hits_BL)


def of_target(logits_BLV: Array, target_BL: Array) -> Array:
    return jnp.take_along_axis(logits_BLV, target_BL[..., None], axis=-1)[..., 0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def of_each(logits_BLV: Array, target_BL: Array, cfg: LossConfig) -> tuple[Array, Array]:
    """(to minimise, nats of plain cross-entropy) of each position; only the first has a gradient.

    The gradient is written out: one pass over the logits, where plain differentiation takes four on CPU.
    """
    return _of_each(logits_BLV, target_BL, cfg)[0]


def _of_each(logits_BLV: Array, target_BL: Array, cfg: LossConfig):
    highest_BL = logits_BLV.max(-1)
    highest_BL = jnp.where(jnp.isfinite(highest_BL), highest_BL, 0.0)
    exponential_BLV = jnp.exp(logits_BLV - highest_BL[..., None])
    sum_BL = exponential_BLV.sum(-1)
    normaliser_BL = highest_BL + jnp.log(sum_BL)
    nats_BL = normaliser_BL - of_target(logits_BLV, target_BL)
    objective_BL = nats_BL
    if cfg.label_smoothing:
        spread_BL = normaliser_BL - logits_BLV.mean(-1)
        objective_BL = (1 - cfg.label_smoothing) * nats_BL + cfg.label_smoothing * spread_BL
    if cfg.z_loss:
        objective_BL = objective_BL + cfg.z_loss * normaliser_BL**2
    return (objective_BL, nats_BL), (exponential_BLV, sum_BL, normaliser_BL, target_BL)


def _of_each_backward(cfg: LossConfig, saved, cotangents):
    """p (1 + 2 z log Z) - (1 - s) [target] - s / V, times the cotangent of each position."""
    exponential_BLV, sum_BL, normaliser_BL, target_BL = saved
    of_objective_BL, _ = cotangents
    V, s = exponential_BLV.shape[-1], cfg.label_smoothing
    wide = lambda x_BL: x_BL[..., None]
    of_exponential_BL = of_objective_BL * (1 + 2 * cfg.z_loss * normaliser_BL) / sum_BL
    hot_BLV = jnp.arange(V)[None, None] == wide(target_BL)
    grad_BLV = exponential_BLV * wide(of_exponential_BL) - jnp.where(hot_BLV, wide((1 - s) * of_objective_BL), 0.0)
    return grad_BLV - wide(of_objective_BL * (s / V)) if s else grad_BLV, None


of_each.defvjp(_of_each, _of_each_backward)
