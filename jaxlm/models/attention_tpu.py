"""Fused attention on TPUs: the "splash" kernel that JAX ships in Pallas.

Flash attention that skips the blocks no query of a tile may see, so a causal row costs half, a window less.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

BLOCKS = (512, 256, 128)  # positions: MaxText's default of 512 where it divides the row; 128 is the least
TILES = ("block_q", "block_kv", "block_q_dkv", "block_kv_dkv", "block_q_dq", "block_kv_dq")


def splash_attention(
    q_BLGRK: Float[Array, "B L G R K"],
    k_BLGK: Float[Array, "B L G K"],
    v_BLGK: Float[Array, "B L G K"],
    segments: tuple[Int[Array, "B L"], Int[Array, "B L"]] | None,
    *,
    causal: bool,
    window: int | None,
    scale: float | None = None,  # None: 1/sqrt(K)
    interpret: bool = False,
) -> Float[Array, "B L G R K"]:
    # Slow to import: only where it runs.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    B, L, G, R, K = q_BLGRK.shape
    block = next(block for block in BLOCKS if L % block == 0)
    kernel = kernels.make_splash_mha(
        masks.MultiHeadMask([_mask(masks, L, causal, window)] * (G * R)),
        block_sizes=kernels.BlockSizes(**dict.fromkeys(TILES, block)),
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    heads_first = lambda x_BLHK: jnp.swapaxes(x_BLHK, 1, 2)
    q_BHLK = heads_first((q_BLGRK * (K**-0.5 if scale is None else scale)).reshape(B, L, G * R, K))
    ids = None if segments is None else kernels.SegmentIds(*segments)
    o_BHLK = jax.vmap(kernel)(q_BHLK, heads_first(k_BLGK), heads_first(v_BLGK), ids)
    return heads_first(o_BHLK).reshape(q_BLGRK.shape)


def _mask(masks: Any, length: int, causal: bool, window: int | None) -> Any:
    square = (length, length)
    if window is not None:
        return masks.LocalMask(square, (window - 1, 0 if causal else window - 1), offset=0)
    return masks.CausalMask(square) if causal else masks.FullMask(square)
