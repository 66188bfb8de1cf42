"""Parts that every family is made of: the one matrix product, weights, norms, dropout.

Precision is one of three words, chosen in one place (`resolve_precision`):

    float32             everything in float32
    bfloat16            activations and operands in bfloat16, parameters in float32 (GPU, TPU)
    bfloat16_operands   activations in float32, operands of matrix products rounded to bfloat16,
                        sums in float32: what CPUs with avx512_bf16 or AMX are fast at
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

# Least rows and least positions, both over a table's columns, where its gradient is made the other way round. On a CPU
# 700 positions x 200 by 33,278 rows take 16 ms instead of 26, 2,048 x 256 by 32,128 48 instead of 65, but 608 x 256 by
# 8,192 5.7 instead of 5.2.
TALL, LONG = 8, 3

# FEW is the most rows whose product is made as XLA's CPU compiler (jax 0.10.2) reads its matrix fastest: with sums
# of at most SUM (8,192 x 2,048 on two cores in 1.5 instead of 2.1 ms, 3,072 x 768 in 0.20 instead of 0.26), and a lone
# row as two, for else the compiler turns the matrix into float32 first.
FEW, SUM = 16, 1024

HIDDEN = -1e30  # a score that no softmax sees; finite, so that a row with all of them hidden stays finite

Precision = Literal["float32", "bfloat16", "bfloat16_operands"]


def resolve_precision(wanted: Precision | Literal["auto"], platform: str) -> Precision:
    """`wanted`, or for "auto" what `platform` ("cpu", "gpu", "tpu") is fast at."""
    if wanted != "auto":
        return wanted
    if platform != "cpu":
        return "bfloat16"
    return "bfloat16_operands" if _cpu_multiplies_bfloat16() else "float32"


@functools.cache
def _cpu_multiplies_bfloat16() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def activation_dtype(precision: Precision) -> jnp.dtype:
    return jnp.dtype(jnp.bfloat16 if precision == "bfloat16" else jnp.float32)


def exact(precision: Precision) -> Precision:
    """`precision` with results that stay float32: for scores and logits, which a softmax reads."""
    return "bfloat16_operands" if precision == "bfloat16" else precision


def einsum(equation: str, a: Array, b: Array, precision: Precision) -> Array:
    """`jnp.einsum` at a precision; every letter of an input must be in the output or the other input."""
    if precision == "float32":
        return jnp.einsum(equation, a, b)
    if precision == "bfloat16":
        return jnp.einsum(equation, a.astype(jnp.bfloat16), b.astype(jnp.bfloat16))
    return _einsum_bfloat16_operands(equation, a, b)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _einsum_bfloat16_operands(equation: str, a: Array, b: Array) -> Array:
    a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    dims_a, dims_b, out = re.split(",|->", equation)
    rows = math.prod(size for d, size in zip(dims_a, a.shape, strict=True) if d not in dims_b)
    if rows > FEW or dims_a[0] != out[0] or dims_a[0] in dims_b:
        return _product(equation, a, b)
    return _few_rows(equation, a, b) if rows > 1 else _few_rows(equation, jnp.concatenate([a, a]), b)[:1]


def _few_rows(equation: str, a: Array, b: Array) -> Array:
    """A product as decoding needs it, from step to step bound by reading b: never of a lone row (see `FEW`)."""
    dims_a, dims_b, _ = re.split(",|->", equation)
    parts = 1 << max(0, math.ceil(math.log2(a.shape[-1] / SUM)))
    if parts == 1 or a.shape[-1] % parts or dims_a[-1] != dims_b[0] or len(dims_b) > 2:
        return _product(equation, a, b)
    a_NSK, b_SKD = a.reshape(-1, parts, a.shape[-1] // parts), b.reshape(parts, -1, b.shape[-1])
    return _product("NSK,SKD->SND", a_NSK, b_SKD).sum(0).reshape(*a.shape[:-1], -1)


def _product(equation: str, a: Array, b: Array) -> Array:
    """`jnp.einsum`; of batches of matrices, as attention has them, so that XLA's CPU need not turn the larger operand.

    Left to itself jnp.einsum also swaps them, and turns scores three times in a step (BERT-mini: 15 of 220 ms).
    """
    dims_a, dims_b, out = re.split(",|->", equation)
    batch = "".join(d for d in dims_a if d in dims_b and d in out)
    if not batch:
        return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)
    summed = {d for d in dims_a if d not in out}
    if set(dims_a[-len(summed) :]) != summed and a.size > b.size:
        a, b, dims_a, dims_b = b, a, dims_b, dims_a
    free = "".join(d for d in dims_a + dims_b if d not in batch and d not in summed)
    y = jnp.einsum(f"{dims_a},{dims_b}->{batch}{free}", a, b, preferred_element_type=jnp.float32)
    return y.transpose([(batch + free).index(d) for d in out])


def _forward(equation: str, a: Array, b: Array):
    operands = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
    # Empty arrays carry the dtypes to the backward pass: a cotangent has the dtype of its input.
    dtypes = jnp.empty(0, a.dtype), jnp.empty(0, b.dtype)
    return _product(equation, *operands), (operands, dtypes)


def _backward(equation: str, saved, cotangent: Array):
    # The cotangent is rounded too, else two of the three products run at float32 speed.
    (a, b), (like_a, like_b) = saved
    cotangent = cotangent.astype(jnp.bfloat16)
    inputs, out = equation.split("->")
    dims_a, dims_b = inputs.split(",")
    grad_a = _product(f"{out},{dims_b}->{dims_a}", cotangent, b)
    multiply = _of_table if _is_table(dims_a, dims_b, out, a, b) else _product
    grad_b = multiply(f"{out},{dims_a}->{dims_b}", cotangent, a)
    return grad_a.astype(like_a.dtype), grad_b.astype(like_b.dtype)


def _is_table(dims_a: str, dims_b: str, out: str, a: Array, b: Array) -> bool:
    """Is b a matrix with far more rows than columns, and a at least as long as it is wide, as at a vocabulary?"""
    if not (len(dims_b) == 2 and dims_b[0] == out[-1] and dims_b[1] == dims_a[-1] and dims_a[:-1] == out[:-1]):
        return False
    rows, columns = b.shape
    return rows >= TALL * columns and math.prod(a.shape[:-1]) >= LONG * columns


def _of_table(equation: str, cotangent: Array, a: Array) -> Array:
    """XLA's CPU turns the operand whose dimension comes first in a product's result: let that be the small one.

    Without the barrier the product is turned back, or fails (jax 0.10.2).
    """
    operands, result = equation.split("->")
    turned = lambda *both: jax.lax.optimization_barrier(_product(f"{operands}->{result[::-1]}", *both)).T
    plain = lambda *both: _product(equation, *both)
    return jax.lax.platform_dependent(cotangent, a, cpu=turned, default=plain)


_einsum_bfloat16_operands.defvjp(_forward, _backward)


def parameter(module: nn.Module, name: str, init: Callable, shape: Sequence[int], axes: Sequence[str]) -> Array:
    """A float32 parameter of `module`; `axes` are the logical names of its dimensions, placed by mesh.py."""
    boxed = nn.with_logical_partitioning(init, tuple(axes))
    return module.param(name, boxed, shape, jnp.float32)  # type: ignore[return-value]  # Flax opens the box


class Einsum(nn.Module):
    """`einsum(equation, x, w)`: the one place where a weight matrix is made.

    The equation says which of w's dimensions are summed over, so it also gives the fan-in.
    """

    equation: str  # "BLD,DF->BLF"
    shape: tuple[int, ...]  # of w
    axes: tuple[str, ...]  # logical name of each dimension of w, placed by mesh.py
    precision: Precision
    std: float | None = None  # of the initial normal; None: 1/sqrt(fan-in); 0: zeros
    bias: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inputs, out = self.equation.split("->")
        x_dims, w_dims = inputs.split(",")
        std = self.std
        if std is None:
            fan_in = 1
            for dimension, size in zip(w_dims, self.shape, strict=True):
                fan_in *= size if dimension in x_dims else 1
            std = fan_in**-0.5
        init = nn.initializers.normal(std) if std else nn.initializers.zeros
        w = parameter(self, "w", init, self.shape, self.axes)
        y = einsum(self.equation, x, w, self.precision)
        if not self.bias:
            return y
        kept = [i for i, d in enumerate(w_dims) if d in out]
        shape, axes = tuple(self.shape[i] for i in kept), tuple(self.axes[i] for i in kept)
        b = parameter(self, "b", nn.initializers.zeros, shape, axes)
        return y + b.astype(y.dtype).reshape((1,) * (y.ndim - len(shape)) + shape)


class Norm(nn.Module):
    """LayerNorm (Ba et al. 2016, arXiv:1607.06450) or RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467).

    Over the last dimension; statistics in float32.
    """

    kind: Literal["layernorm", "rmsnorm"]
    axis: str = "norm"  # logical name of the normalised dimension
    bias: bool = False  # layernorm only
    eps: float = 1e-5  # added to the mean square

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (1,) * (x.ndim - 1) + x.shape[-1:]
        weight = lambda name, init: parameter(self, name, init, x.shape[-1:], (self.axis,)).reshape(shape)
        y = x.astype(jnp.float32)
        if self.kind == "layernorm":
            y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + self.eps)
        y = y * weight("scale", nn.initializers.ones)
        if self.bias:
            y = y + weight("b", nn.initializers.zeros)
        return y.astype(x.dtype)


class Noise(NamedTuple):
    """Keys of a training step's random masks; they depend on (seed, step, row), not on how rows lie on devices."""

    step: Any  # a key, the same for all rows
    rows_B: Any  # a key for each row of the global batch


def dropout(x: Array, rate: float, noise: Noise | None, site: int | Array, over: Sequence[int] = ()) -> Array:
    """Zero a fraction `rate` of x and scale the rest (Srivastava et al. 2014); None: no dropout.

    `site` tells the layers apart. One mask serves all indices of the dimensions `over`: with the positions'
    among them it is variational dropout (Gal & Ghahramani 2016, arXiv:1512.05287).
    """
    if noise is None or rate == 0.0:
        return x
    shape = [1 if dimension in over else size for dimension, size in enumerate(x.shape)][1:]
    keep = lambda key: jax.random.bernoulli(jax.random.fold_in(key, site), 1.0 - rate, shape)
    return jnp.where(jax.vmap(keep)(noise.rows_B), x / (1.0 - rate), jnp.zeros_like(x))
