"""Which backend computes attention: a pure function of what is known when a program is traced.

einsum   everywhere: `attention_einsum.py`
cudnn    NVIDIA's fused kernel, through `jax.nn.dot_product_attention`: `attention_gpu.py`
triton   Pallas kernel for GPUs, where cuDNN is missing: `attention_gpu.py`
splash   Pallas kernel for TPUs: `attention_tpu.py`
"""

import functools
import logging
from typing import Literal, NamedTuple

from jaxlm.errors import UserError
from jaxlm.models.layers import Precision

logger = logging.getLogger("jaxlm")

Backend = Literal["auto", "einsum", "cudnn", "splash", "triton"]
PREFERRED = {"gpu": ("cudnn", "triton"), "tpu": ("splash",)}  # on a CPU einsum is the fastest we have
BLOCK = 128  # positions: both Pallas kernels work on tiles of at least this many


class Case(NamedTuple):
    """All that the choice of a backend depends on; known when a program is traced."""

    platform: str  # cpu, gpu, tpu
    precision: Precision
    head_width: int
    length: int  # queries of a row
    memory: int  # keys of a row
    causal: bool = True
    window: int | None = None
    cached: bool = False  # positions are given
    prefix: bool = False  # some keys are seen by queries before them
    bias: bool = False  # something is added to the scores
    crossed: bool = False  # queries and keys have segments of their own
    split: bool = False  # a row lies on several devices, over mesh axis 'sequence'
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
    if case.split:
        return "it wants whole rows, and mesh axis 'sequence' splits them"
    if case.bias:
        return "it adds nothing to scores, as model.position='alibi' and 'buckets' do"
    if case.prefix:
        return "it knows no prefix that is seen from before"
    if name == "cudnn":
        return _refusal_of_cudnn(case)
    if case.length % BLOCK:
        return f"it works on blocks of {BLOCK} positions, and a row has {case.length}"
    if name == "triton" and case.window is not None:
        return f"it has no window, and model.window={case.window}"
    if name == "triton" and case.crossed:
        return "it has one array of segments, and queries and keys have one each"
    if name == "triton" and case.head_width > 128:
        return f"a block of heads wider than 128 does not fit shared memory, and they are {case.head_width} wide"
    return None


def _refusal_of_cudnn(case: Case) -> str | None:
    if not case.cudnn:
        return "there is no NVIDIA GPU of compute capability 8.0 or more with cuDNN here"
    if case.head_width % 8 or case.head_width > 128:  # 256 from capability 9.0 on: not told apart here
        return f"heads must be a multiple of 8 and at most 128 wide, and they are {case.head_width} wide"
    if case.length % 2:  # cuDNN's rule for a bias, but JAX 0.10.2 applies it to every training step
        return f"rows must have an even length, and it is {case.length}"
    if case.window is not None and not case.causal:
        return f"its window looks back only, and attention is not causal with model.window={case.window}"
    return None


@functools.cache
def announce(choice: Choice) -> None:
    """Log a choice, once each in a process: every layer and every program asks again."""
    level = logging.WARNING if choice.reason else logging.DEBUG
    logger.log(level, "attention by %s%s", choice.name, choice.reason and f": {choice.reason}")
