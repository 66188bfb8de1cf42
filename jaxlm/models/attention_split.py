"""Attention over rows that mesh axis `sequence` splits: each device keeps its queries, and keys travel to them.

gather  every device gets all keys and values, as many bytes as a layer's of the whole row, and has the scores of its
        own queries only
ring    keys and values go from neighbour to neighbour, and the softmax is made block by block (Liu et al. 2023,
        arXiv:2310.01889): no device ever has more than two blocks of them. The backward pass goes round once more

Both are exact. Left out: an order of positions that gives each device as much to do in causal rows (zigzag): the
last ones see most keys, and all wait for them; fused kernels for the blocks.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from jaxlm.mesh import RULES
from jaxlm.models.attention_bias import Bias, Buckets, Slopes, of_run
from jaxlm.models.attention_einsum import chunk_length, einsum_attention_in_chunks, products, visible, weighted
from jaxlm.models.layers import HIDDEN, Precision, exact

Sharing = Literal["gather", "ring"]
AXIS = "sequence"


class Rules(NamedTuple):
    """What is known when a program is traced; hashable."""

    precision: Precision
    causal: bool
    window: int | None
    scale: float
    bias: Literal["", "slopes", "buckets"] = ""
    reach: int = 0  # of buckets


class Seen(NamedTuple):
    """What tells which keys a query sees; None: nothing does."""

    of_query: Int[Array, "B L"] | None  # segments
    of_key: Int[Array, "B M"] | None
    prefix: Bool[Array, "B M"] | None


def split_attention(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BMGK: Float[Array, "B M G K"],
    v_BMGK: Float[Array, "B M G K"],
    sharing: Sharing,
    *,
    precision: Precision,
    segments: tuple[Int[Array, "B L"], Int[Array, "B M"]] | None,
    causal: bool,
    window: int | None,
    prefix: Bool[Array, "B M"] | None,
    scale: float,
    bias: Bias | None,
) -> Float[Array, "B L G R K"]:
    """`attend` on a mesh whose axis `sequence` divides queries and keys."""
    rows, length, heads = RULES["batch"], RULES["length"], RULES["act_kv"]
    rules = Rules(precision, causal, window, scale, *_kind(bias))
    array = None if bias is None else jnp.asarray(bias[0])
    of_array = {"": None, "slopes": P(heads), "buckets": P(None, heads)}[rules.bias]
    seen = Seen(*(segments or (None, None)), prefix)
    of_seen = jax.tree.map(lambda _: P(rows, length), seen)
    run = functools.partial(_ring if sharing == "ring" else _gathered, rules)
    split = P(rows, length, heads)
    # check_vma: the ring's own gradient does not say over which axes it varies.
    on_each = jax.shard_map(run, in_specs=(split, split, split, of_array, of_seen), out_specs=split, check_vma=False)
    return on_each(q_BLGRK, k_BMGK, v_BMGK, array, seen)


def _kind(bias: Bias | None) -> tuple[Literal["", "slopes", "buckets"], int]:
    if isinstance(bias, Buckets):
        return "buckets", bias.reach
    return ("" if bias is None else "slopes"), 0


def _bias(rules: Rules, array: Any) -> Bias | None:
    if rules.bias == "buckets":
        return Buckets(array, rules.reach)
    return Slopes(array) if rules.bias else None


def _gathered(rules: Rules, q_BLGRK, k_BMGK, v_BMGK, array, seen: Seen):
    """On one device: all keys to its queries."""
    gather = functools.partial(jax.lax.all_gather, axis_name=AXIS, axis=1, tiled=True)
    k_BMGK, v_BMGK, of_key, prefix = jax.tree.map(gather, (k_BMGK, v_BMGK, seen.of_key, seen.prefix))
    B, L, G, R, _ = q_BLGRK.shape
    M = k_BMGK.shape[1]
    first = jax.lax.axis_index(AXIS) * L
    return einsum_attention_in_chunks(
        q_BLGRK,
        k_BMGK,
        v_BMGK,
        chunk=chunk_length(B * G * R, L, M),
        segments=None if of_key is None else (seen.of_query, of_key),
        positions=((first + jnp.arange(L))[None], jnp.arange(M)[None]),
        run=True,
        prefix=prefix,
        bias=_bias(rules, array),
        precision=rules.precision,
        causal=rules.causal,
        window=rules.window,
        scale=rules.scale,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _ring(rules: Rules, q_BLGRK, k_BMGK, v_BMGK, array, seen: Seen):
    return _forward(rules, q_BLGRK, k_BMGK, v_BMGK, array, seen)[0]


def _forward(rules: Rules, q_BLGRK, k_BMGK, v_BMGK, array, seen: Seen):
    B, L, G, R, _ = q_BLGRK.shape

    def meet(turn, carry):
        (k, v, of_key, prefix), highest_BGRL, sum_BGRL, o_BLGRK = carry
        s_BGRLM = _scores(rules, q_BLGRK, k, array, seen._replace(of_key=of_key, prefix=prefix), _home(turn))
        higher_BGRL = jnp.maximum(highest_BGRL, s_BGRLM.max(-1))
        kept_BGRL = jnp.exp(highest_BGRL - higher_BGRL)
        p_BGRLM = jnp.exp(s_BGRLM - higher_BGRL[..., None])
        o_BLGRK = o_BLGRK * _by_query(kept_BGRL) + _values(rules, p_BGRLM, v)
        return pass_on((k, v, of_key, prefix)), higher_BGRL, kept_BGRL * sum_BGRL + p_BGRLM.sum(-1), o_BLGRK

    none = jnp.full((B, G, R, L), -jnp.inf), jnp.zeros((B, G, R, L)), jnp.zeros(q_BLGRK.shape, jnp.float32)
    keys = k_BMGK, v_BMGK, seen.of_key, seen.prefix
    _, highest_BGRL, sum_BGRL, o_BLGRK = jax.lax.fori_loop(0, _devices(), meet, (keys, *none))
    o_BLGRK = (o_BLGRK / _by_query(sum_BGRL)).astype(v_BMGK.dtype)
    return o_BLGRK, (q_BLGRK, k_BMGK, v_BMGK, array, seen, o_BLGRK, highest_BGRL, sum_BGRL)


def _backward(rules: Rules, saved, of_o_BLGRK):
    """Blocks go round with the gradients of their own keys and values, which are home after the last turn."""
    q_BLGRK, k_BMGK, v_BMGK, array, seen, o_BLGRK, highest_BGRL, sum_BGRL = saved
    both_BLGR = (of_o_BLGRK.astype(jnp.float32) * o_BLGRK.astype(jnp.float32)).sum(-1)
    mean_BGRL1 = jnp.moveaxis(both_BLGR, 1, 3)[..., None]

    def meet(turn, carry):
        (k, v, of_key, prefix), (of_k, of_v), of_q, of_array = carry
        scores = lambda q, k, array: _scores(
            rules, q, k, array, seen._replace(of_key=of_key, prefix=prefix), _home(turn)
        )
        s_BGRLM, back = jax.vjp(scores, q_BLGRK, k, array)
        weight_BGRLM = jnp.exp(s_BGRLM - highest_BGRL[..., None]) / sum_BGRL[..., None]
        _, back_values = jax.vjp(functools.partial(_values, rules), weight_BGRLM, v)
        of_weight_BGRLM, more_v = back_values(of_o_BLGRK.astype(jnp.float32))
        more_q, more_k, more_array = back(weight_BGRLM * (of_weight_BGRLM - mean_BGRL1))
        add = functools.partial(jax.tree.map, lambda total, more: total + more.astype(total.dtype))
        keys, grads = pass_on(((k, v, of_key, prefix), (add(of_k, more_k), add(of_v, more_v))))
        return keys, grads, add(of_q, more_q), add(of_array, more_array)

    zeros = functools.partial(jax.tree.map, lambda x: jnp.zeros(x.shape, jnp.float32))
    start = (k_BMGK, v_BMGK, seen.of_key, seen.prefix), zeros((k_BMGK, v_BMGK)), zeros(q_BLGRK), zeros(array)
    _, (of_k, of_v), of_q, of_array = jax.lax.fori_loop(0, _devices(), meet, start)
    like = lambda x, array: x.astype(array.dtype)
    return like(of_q, q_BLGRK), like(of_k, k_BMGK), like(of_v, v_BMGK), of_array, None


_ring.defvjp(_forward, _backward)


def _scores(rules: Rules, q_BLGRK, k_BMGK, array, seen: Seen, home) -> Array:
    """Scores of a device's queries and the keys that are at home on device `home`; those not seen are HIDDEN."""
    L, M = q_BLGRK.shape[1], k_BMGK.shape[1]
    s_BGRLM = products(q_BLGRK * rules.scale, k_BMGK, exact(rules.precision)).astype(jnp.float32)
    first_query, first_key = jax.lax.axis_index(AXIS) * L, home * M
    if (bias := _bias(rules, array)) is not None:
        # Distances alone count, so positions may be told from the first key on.
        s_BGRLM += of_run(bias, first_query - first_key, L, M, rules.causal)
    positions = (first_query + jnp.arange(L))[None], (first_key + jnp.arange(M))[None]
    segments = None if seen.of_key is None else (seen.of_query, seen.of_key)
    visible_BLM = visible(segments, positions, rules.causal, rules.window, seen.prefix)
    return s_BGRLM if visible_BLM is None else jnp.where(visible_BLM[:, None, None], s_BGRLM, HIDDEN)


def _values(rules: Rules, p_BGRLM, v_BMGK) -> Array:
    """Sums of values in float32, as they are added up over blocks."""
    return weighted(p_BGRLM.astype(v_BMGK.dtype), v_BMGK, exact(rules.precision)).astype(jnp.float32)


def _by_query(x_BGRL: Array) -> Array:
    return jnp.moveaxis(x_BGRL, 3, 1)[..., None]


def pass_on(tree: Any) -> Any:
    """Each device's arrays to the next one of the ring."""
    count = _devices()
    ring = [(device, (device + 1) % count) for device in range(count)]
    return jax.tree.map(lambda x: jax.lax.ppermute(x, AXIS, ring), tree)


def _home(turn) -> Array:
    """The device whose keys are here after `turn` turns."""
    return (jax.lax.axis_index(AXIS) - turn) % _devices()


def _devices() -> int:
    return jax.lax.axis_size(AXIS)
