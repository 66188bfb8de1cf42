"""Attention as one function, and the choice of who computes it.

Each backend builds its own mask from `segments` and `positions`; a dense mask never crosses this seam:

    einsum   everywhere: `attention_einsum.py`
    cudnn    NVIDIA's fused kernel, through `jax.nn.dot_product_attention`: `attention_gpu.py`
    triton   Pallas kernel for GPUs, where cuDNN is missing: `attention_gpu.py`
    splash   Pallas kernel for TPUs: `attention_tpu.py`

Left out: attention over a row that is split over the mesh axis `sequence` (it is gathered first).
"""

import functools
import logging
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from jaxlm.errors import UserError
from jaxlm.mesh import RULES
from jaxlm.models.attention_einsum import chunk_length, einsum_attention, einsum_attention_in_chunks
from jaxlm.models.attention_gpu import cudnn_attention, has_cudnn, triton_attention
from jaxlm.models.attention_tpu import splash_attention
from jaxlm.models.layers import Precision

logger = logging.getLogger("jaxlm")

Backend = Literal["auto", "einsum", "cudnn", "splash", "triton"]
PREFERRED = {"gpu": ("cudnn", "triton"), "tpu": ("splash",)}  # on a CPU einsum is the fastest we have
KERNELS = {"cudnn": cudnn_attention, "splash": splash_attention, "triton": triton_attention}
PALLAS = ("splash", "triton")  # XLA cannot split these over a mesh by itself; cuDNN's call it can
BLOCK = 128  # positions: both Pallas kernels work on tiles of at least this many


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
    platform: str = "cpu",
    backend: Backend = "auto",
) -> Float[Array, "B L G R K"]:
    """Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), heads grouped.

    A query sees a key of its own segment (`segments`: of queries, of keys; None: all are one) whose
    position is not after its own (`causal`) and less than `window` before it. `positions`: of queries,
    of keys, as decoding from a cache needs; None: 0, 1, 2, ..., which is right for packed rows too.
    """
    B, L, G, R, K = q_BLGRK.shape
    M = k_BMGK.shape[1]
    case = Case(
        platform=platform,
        precision=precision,
        head_width=K,
        length=L,
        memory=M,
        causal=causal,
        window=window,
        packed=segments is not None,
        cached=positions is not None,
        cudnn=platform == "gpu" and has_cudnn(),
    )
    choice = choose(case, backend)
    announce(choice)
    if choice.name == "einsum":
        rest = dict(precision=precision, segments=segments, positions=positions, causal=causal, window=window)
        chunk = chunk_length(B * G * R // devices_sharing(), L, M)
        if chunk < L:
            return einsum_attention_in_chunks(q_BLGRK, k_BMGK, v_BMGK, chunk=chunk, **rest)
        return einsum_attention(q_BLGRK, k_BMGK, v_BMGK, **rest)
    kernel = functools.partial(KERNELS[choice.name], causal=causal, window=window)
    if choice.name in PALLAS:
        kernel = on_each_device(kernel)
    return kernel(q_BLGRK, k_BMGK, v_BMGK, segments)


class Case(NamedTuple):
    """All that the choice of a backend depends on; known when a program is traced."""

    platform: str  # cpu, gpu, tpu
    precision: Precision
    head_width: int
    length: int  # queries of a row
    memory: int  # keys of a row
    causal: bool = True
    window: int | None = None
    packed: bool = False  # several segments in a row
    cached: bool = False  # positions are given
    cudnn: bool = False  # there is one, and a GPU it has kernels for


class Choice(NamedTuple):
    name: str
    reason: str = ""  # why not what `platform` prefers; "": it is what it prefers


def choose(case: Case, wanted: Backend = "auto") -> Choice:
    """The backend for `case`; UserError where `wanted` names one that cannot run it."""
    if wanted == "einsum" or case.cached or case.length == 1:
        return Choice("einsum")  # a few queries against a cache gain nothing from a fused kernel
    if wanted != "auto":
        why = refusal(wanted, case)
        if why:
            raise UserError(f"model.attention={wanted!r} cannot run here: {why}. Mend that, or use 'auto'")
        return Choice(wanted)
    reasons = []
    for name in PREFERRED.get(case.platform, ()):
        why = refusal(name, case)
        if not why:
            return Choice(name, "; ".join(reasons))
        reasons.append(f"not {name}, because {why}")
    return Choice("einsum", "; ".join(reasons))


def refusal(name: str, case: Case) -> str | None:
    """Why the fused kernel `name` cannot compute `case`; None: it can."""
    home = "tpu" if name == "splash" else "gpu"
    if case.platform != home:
        return f"it runs on a {home.upper()}, and the platform is {case.platform!r}"
    if case.precision != "bfloat16":
        return f"it multiplies in bfloat16, and model.precision is {case.precision!r}"
    if case.length != case.memory:
        return f"it wants as many keys as queries, and there are {case.memory} and {case.length}"
    if name == "cudnn":
        return _refusal_of_cudnn(case)
    if case.length % BLOCK:
        return f"it works on blocks of {BLOCK} positions, and a row has {case.length}"
    if name == "triton" and case.window is not None:
        return f"it has no window, and model.window={case.window}"
    if name == "triton" and case.head_width > 128:
        return (
            f"a block of heads wider than 128 does not fit shared memory, and they are {case.head_width} wide"
        )
    return None


def _refusal_of_cudnn(case: Case) -> str | None:
    if not case.cudnn:
        return "there is no NVIDIA GPU of compute capability 8.0 or more with cuDNN here"
    if (
        case.head_width % 8 or case.head_width > 128
    ):  # 256 from compute capability 9.0 on: not told apart here
        return f"heads must be a multiple of 8 and at most 128 wide, and they are {case.head_width} wide"
    if case.packed and case.length % 2:
        return (
            f"packed rows must have an even length, and it is {case.length}"  # a rule for its bias, our mask
        )
    if case.window is not None and not case.causal:
        return f"its window looks back only, and attention is not causal with model.window={case.window}"
    return None


@functools.cache
def announce(choice: Choice) -> None:
    """Log a choice, once each in a process: every layer and every program asks again."""
    level = logging.WARNING if choice.reason else logging.DEBUG
    logger.log(level, "attention by %s%s", choice.name, choice.reason and f": {choice.reason}")


def on_each_device(kernel: Callable) -> Callable:
    """`kernel` on the rows and heads of each device of the mesh in scope, if there is one."""
    if not _automatic_mesh():
        return kernel
    rows_heads, rows = P(RULES["batch"], None, RULES["act_kv"]), P(RULES["batch"])
    # check_vma: a Pallas call does not say over which axes its output varies.
    return jax.shard_map(
        kernel, in_specs=(rows_heads, rows_heads, rows_heads, rows), out_specs=rows_heads, check_vma=False
    )


def devices_sharing() -> int:
    """Among how many devices the scores of the whole batch are divided."""
    shape = _automatic_mesh()
    return math.prod(shape[axis] for axis in (*RULES["batch"], RULES["act_kv"])) if shape else 1


def _automatic_mesh() -> dict[str, int]:
    """Sizes of the axes of the mesh in scope; none without a mesh, or inside shard_map."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or any(kind == AxisType.Manual for kind in mesh.axis_types):
        return {}
    return dict(mesh.shape)
