"""Fused attention on GPUs: cuDNN's kernel, and the Triton one that JAX ships in Pallas.

Both do what FlashAttention does (Dao et al. 2022, arXiv:2205.14135). Left out: cuDNN's layout of packed
rows by offsets, which JAX does not offer in public. Packed rows give cuDNN a mask of B x L x L instead, as
large as the scores of one head; `triton` needs none, so it may suit long packed rows better.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Segments = tuple[Int[Array, "B L"], Int[Array, "B L"]] | None


@functools.cache
def has_cudnn() -> bool:
    """Can the GPU of this process run cuDNN's fused attention? (JAX does not start on CUDA without cuDNN.)"""
    if jax.default_backend() != "gpu":
        return False
    device = jax.local_devices()[0]
    return "cuda" in device.client.platform_version and float(device.compute_capability) >= 8.0


def cudnn_attention(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BLGK: Float[Array, "B L G K"],
    v_BLGK: Float[Array, "B L G K"],
    segments: Segments,
    *,
    causal: bool,
    window: int | None,
    scale: float | None = None,  # None: 1/sqrt(K)
    implementation: Literal["cudnn", "xla"] = "cudnn",  # xla: the same call where there is no cuDNN, for tests
) -> Float[Array, "B L G R K"]:
    B, L, G, R, K = q_BLGRK.shape
    mask_B1LL = None
    if segments is not None:
        mask_B1LL = (segments[0][:, :, None] == segments[1][:, None, :])[:, None]
    o_BLHK = jax.nn.dot_product_attention(
        q_BLGRK.reshape(B, L, G * R, K),
        k_BLGK,
        v_BLGK,
        mask=mask_B1LL,
        scale=scale,
        is_causal=causal,
        local_window_size=None if window is None else (window - 1, 0),  # tokens before, itself not included
        implementation=implementation,
    )
    return o_BLHK.reshape(q_BLGRK.shape)


def triton_attention(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BLGK: Float[Array, "B L G K"],
    v_BLGK: Float[Array, "B L G K"],
    segments: Segments,
    *,
    causal: bool,
    window: None,
    scale: float | None = None,  # None: 1/sqrt(K)
    interpret: bool = False,
) -> Float[Array, "B L G R K"]:
    from jax.experimental.pallas.ops.gpu import attention as pallas_triton  # slow to import: only where it runs

    B, L, G, R, K = q_BLGRK.shape
    for_each_query_head = lambda x_BLGK: jnp.repeat(x_BLGK, R, axis=2)  # the kernel knows no groups
    o_BLHK = pallas_triton.mha(
        q_BLGRK.reshape(B, L, G * R, K),
        for_each_query_head(k_BLGK),
        for_each_query_head(v_BLGK),
        None if segments is None else segments[0],
        sm_scale=K**-0.5 if scale is None else scale,
        causal=causal,
        interpret=interpret,
    )
    return jnp.reshape(o_BLHK, q_BLGRK.shape)  # type: ignore[arg-type]  # its decorator hides that it is an array
