"""Attention as one function. Who computes it is chosen in `attention_choice.py`.

Each backend builds its own mask from `segments` and `positions`; a dense mask never crosses this seam.
Rows that mesh axis `sequence` splits are for `attention_split.py`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int

from jaxlm.mesh import RULES, mesh_in_scope, row_shards, shards
from jaxlm.models.attention_bias import Bias
from jaxlm.models.attention_choice import Backend, Case, announce, choose
from jaxlm.models.attention_einsum import chunk_length, einsum_attention_in_chunks
from jaxlm.models.attention_gpu import cudnn_attention, has_cudnn, triton_attention
from jaxlm.models.attention_split import Sharing, split_attention
from jaxlm.models.attention_tpu import splash_attention
from jaxlm.models.layers import Precision

KERNELS = {"cudnn": cudnn_attention, "splash": splash_attention, "triton": triton_attention}
PALLAS = ("splash", "triton")  # XLA cannot split these over a mesh by itself; cuDNN's call it can


def attend(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BMGK: Float[Array, "B M G K"],
    v_BMGK: Float[Array, "B M G K"],
    *,
    precision: Precision,
    segments: tuple[Int[Array, "B L"], Int[Array, "B M"]] | None = None,
    positions: tuple[Int[Array, "_ L"], Int[Array, "_ M"]] | None = None,
    causal: bool = True,
    window: int | None = None,
    prefix: Bool[Array, "B M"] | None = None,
    scale: float | None = None,
    bias: Bias | None = None,
    platform: str = "cpu",
    backend: Backend = "auto",
    sharing: Sharing = "gather",
) -> Float[Array, "B L G R K"]:
    """Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), heads grouped.

    A query sees a key of its own segment (`segments`: of queries, of keys; None: all are one) whose
    position is not after its own (`causal`; but for keys of a `prefix`) and less than `window` away. `positions`:
    of queries, of keys, as decoding from a cache needs; None: 0, 1, 2, ..., which is right for packed rows too.
    Scores are products times `scale` (None: 1/sqrt(K)), and what `bias` says of their distance. `sharing` is how
    devices come to each other's keys where mesh axis `sequence` splits rows.
    """
    B, L, G, R, K = q_BLGRK.shape
    M = k_BMGK.shape[1]
    parts = 1 if positions is not None else shards(mesh_in_scope(), "length")
    split = parts > 1 and L % parts == M % parts == 0
    case = Case(
        platform=platform,
        precision=precision,
        head_width=K,
        length=L,
        memory=M,
        causal=causal,
        window=window,
        cached=positions is not None,
        prefix=prefix is not None,
        bias=bias is not None,
        # Told by identity: a mistake costs a fused kernel, and no truth.
        crossed=segments is not None and segments[0] is not segments[1],
        split=split,
        cudnn=platform == "gpu" and has_cudnn(),
    )
    choice = choose(case, backend)
    announce(choice)
    rules: dict[str, Any] = dict(causal=causal, window=window, scale=K**-0.5 if scale is None else scale)
    if split:
        more: dict[str, Any] = dict(precision=precision, segments=segments, prefix=prefix, bias=bias)
        return split_attention(q_BLGRK, k_BMGK, v_BMGK, sharing, **more, **rules)
    if choice.name == "einsum":
        chunk = chunk_length(B * G * R // devices_sharing(), L, M)
        more = dict(precision=precision, segments=segments, positions=positions, prefix=prefix, bias=bias)
        return einsum_attention_in_chunks(q_BLGRK, k_BMGK, v_BMGK, chunk=chunk, **more, **rules)
    kernel = functools.partial(KERNELS[choice.name], **rules)
    if choice.name in PALLAS:
        kernel = on_each_device(kernel)
    return kernel(q_BLGRK, k_BMGK, v_BMGK, segments)


def on_each_device(kernel: Callable) -> Callable:
    """`kernel` on the rows and heads of each device of the mesh in scope, if there is one."""
    if mesh_in_scope() is None:
        return kernel
    rows_heads, rows = P(RULES["batch"], None, RULES["act_kv"]), P(RULES["batch"])
    # check_vma: a Pallas call does not say over which axes its output varies.
    return jax.shard_map(
        kernel, in_specs=(rows_heads, rows_heads, rows_heads, rows), out_specs=rows_heads, check_vma=False
    )


def devices_sharing() -> int:
    """Among how many devices the scores of the whole batch are divided."""
    mesh = mesh_in_scope()
    return 1 if mesh is None else row_shards(mesh) * mesh.shape[RULES["act_kv"]]
