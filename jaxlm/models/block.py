"""The block that Transformers of every kind are stacks of: attention, cross-attention, feed-forward, norms."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from jaxlm.mesh import constrain
from jaxlm.models.attention import attend
from jaxlm.models.attention_bias import Bias, Buckets, Slopes
from jaxlm.models.attention_split import Sharing
from jaxlm.models.layers import Einsum, Noise, Norm, Precision, activation_dtype, dropout
from jaxlm.models.positions import Turns, rotate, slopes
from jaxlm.models.stack_config import GATED, StackConfig

gelu_by_tanh = functools.partial(jax.nn.gelu, approximate=True)


def gelu_exact(x: Array) -> Array:
    """By erf, as PyTorch: jax.nn.gelu's erfc knows more digits of what is 0 anyway, and costs BERT 5 % of its step."""
    return 0.5 * x * (1.0 + jax.lax.erf(x * 0.5**0.5))


# GELU (Hendrycks & Gimpel 2016), SwiGLU and GeGLU (Shazeer 2020, arXiv:2002.05202), squared ReLU (So et al. 2021).
ACTIVATIONS = {
    "gelu": gelu_by_tanh,
    "gelu_exact": gelu_exact,
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "swiglu": jax.nn.silu,
    "geglu": gelu_by_tanh,
    "geglu_exact": gelu_exact,
}


class Spec(NamedTuple):
    """A stack's config and what only a run knows, hashable."""

    cfg: StackConfig
    layers: int
    causal: bool
    vocab: int
    length: int  # rows of learned positions
    packed: bool  # rows hold several documents, or padding
    precision: Precision
    scan: bool
    platform: str  # cpu, gpu, tpu
    crosses: bool = False  # each block also reads what an encoder made
    sharing: Sharing = "gather"  # of keys, where mesh axis `sequence` splits rows

    @property
    def parts(self) -> int:
        """Residual parts of a block."""
        return 3 if self.crosses else 2


class Memory(NamedTuple):
    """What cross-attention reads."""

    array_BMD: Array | None  # None: its keys and values are in the cache
    segment_BM: Array


class Seen(NamedTuple):
    """What a block needs beside activations: where tokens stand, and what dropout draws from."""

    position_BL: Array
    segment_BL: Array
    noise: Noise | None = None  # None: no dropout
    prefix_BL: Array | None = None  # tokens that all of their segment see; None: none
    memory: Memory | None = None
    turns: Turns | None = None  # None: positions are not rotary
    local_turns: Turns | None = None  # of layers with a window; None: `turns`
    bucket_b_TGR: Array | None = None


class Attention(nn.Module):
    spec: Spec
    local: bool  # the window holds

    @nn.compact
    def __call__(self, x_BLD, seen: Seen, cache=None):
        s, c = self.spec, self.spec.cfg
        _, _, G, R, K, _ = c.dims
        q_BLGRK = queries(s)(x_BLD)
        k_BMGK = keys_or_values(s, "k")(x_BLD)
        v_BMGK = keys_or_values(s, "v")(x_BLD)
        q_BLHK = q_BLGRK.reshape(*q_BLGRK.shape[:2], G * R, K)  # XLA is slow at sums over five dimensions on CPU
        if c.qk_norm:
            q_BLHK = Norm("rmsnorm", axis="head", eps=c.norm_eps, name="q_norm")(q_BLHK)
            k_BMGK = Norm("rmsnorm", axis="head", eps=c.norm_eps, name="k_norm")(k_BMGK)
        turns = seen.local_turns if self.local and seen.local_turns is not None else seen.turns
        if turns is not None:
            q_BLHK, k_BMGK = rotate(q_BLHK, turns), rotate(k_BMGK, turns)
        q_BLGRK = q_BLHK.reshape(q_BLGRK.shape)
        segments = positions = None
        prefix_BM = seen.prefix_BL
        precision = s.precision if cache is None else of_cache(s.precision)
        if cache is not None:
            cache, positions = remember(cache, k_BMGK, v_BMGK, seen.position_BL)
            k_BMGK, v_BMGK = as_attended(cache["k"]), as_attended(cache["v"])
            prefix_BM = None if prefix_BM is None else by_slot(prefix_BM, seen.position_BL, k_BMGK.shape[1])
        elif s.packed:
            segments = seen.segment_BL, seen.segment_BL  # positions: in a segment, as in the row
        o_BLGRK = attend(
            q_BLGRK,
            k_BMGK,
            v_BMGK,
            precision=precision,
            segments=segments,
            positions=positions,
            causal=s.causal,
            window=c.window if self.local else None,
            prefix=prefix_BM,
            scale=score_scale(c),
            bias=self.bias(seen),
            platform=s.platform,
            backend=c.attention,
            sharing=s.sharing,
        )
        return back_to_width(s)(o_BLGRK), cache

    def bias(self, seen: Seen) -> Bias | None:
        c = self.spec.cfg
        if c.position == "alibi":
            return Slopes(slopes(c.dims.G * c.dims.R).reshape(c.dims.G, c.dims.R))
        return None if seen.bucket_b_TGR is None else Buckets(seen.bucket_b_TGR, c.bucket_reach)


class CrossAttention(nn.Module):
    """A token of segment s reads all of the memory's segment s; no positions, no window."""

    spec: Spec

    @nn.compact
    def __call__(self, x_BLD, seen: Seen, cache=None):
        s, memory = self.spec, seen.memory
        assert memory is not None
        if cache is None:
            assert memory.array_BMD is not None
            k_BMGK, v_BMGK = (keys_or_values(s, name)(memory.array_BMD) for name in "kv")
        else:
            k_BMGK, v_BMGK = as_attended(cache["cross_k"]), as_attended(cache["cross_v"])
        o_BLGRK = attend(
            queries(s)(x_BLD),
            k_BMGK,
            v_BMGK,
            precision=s.precision if cache is None else of_cache(s.precision),
            segments=(seen.segment_BL, memory.segment_BM),
            causal=False,
            scale=score_scale(s.cfg),
            platform=s.platform,
            backend=s.cfg.attention,
            sharing=s.sharing,
        )
        return back_to_width(s)(o_BLGRK)


def queries(s: Spec) -> Einsum:
    """Equation, weights and first values of the products to queries; the next two of the others in attention."""
    _, D, G, R, K, _ = s.cfg.dims
    std = s.cfg.std
    if not s.cfg.scale_scores:
        std = (D**-0.5 if std is None else std) * K**-0.5
    axes = ("width", "kv", "group", "head")
    return Einsum("BLD,DGRK->BLGRK", (D, G, R, K), axes, s.precision, std, s.cfg.bias, name="q")


def keys_or_values(s: Spec, name: str) -> Einsum:
    _, D, G, _, K, _ = s.cfg.dims
    return Einsum("BMD,DGK->BMGK", (D, G, K), ("width", "kv", "head"), s.precision, s.cfg.std, s.cfg.bias, name=name)


def back_to_width(s: Spec) -> Einsum:
    _, D, G, R, K, _ = s.cfg.dims
    axes = ("kv", "group", "head", "width")
    return Einsum("BLGRK,GRKD->BLD", (G, R, K, D), axes, s.precision, into_residual(s), s.cfg.bias, name="o")


def score_scale(c: StackConfig) -> float:
    return c.dims.K**-0.5 if c.scale_scores else 1.0


class Mlp(nn.Module):
    spec: Spec

    @nn.compact
    def __call__(self, x_BLD):
        c, p = self.spec.cfg, self.spec.precision
        D, F = c.dims.D, c.dims.F
        up = lambda name: Einsum("BLD,DF->BLF", (D, F), ("width", "ff"), p, c.std, c.bias, name=name)(x_BLD)
        activate = ACTIVATIONS[c.activation]
        h_BLF = activate(up("gate")) * up("up") if c.activation in GATED else activate(up("up"))
        h_BLF = constrain(h_BLF, ("batch", "length", "act_ff"))
        down = Einsum("BLF,FD->BLD", (F, D), ("ff", "width"), p, into_residual(self.spec), c.bias, name="down")
        return down(h_BLF)


def into_residual(s: Spec) -> float | None:
    """Initial std of the products that write into the residual stream (GPT-2 scales by 1/sqrt(2 N))."""
    c = s.cfg
    if c.residual == "zero":
        return 0.0
    if c.residual == "plain" or c.std is None:
        return c.std
    return c.std * (s.parts * s.layers) ** -0.5


class Block(nn.Module):
    """Residual block; `site` numbers its dropouts."""

    spec: Spec
    local: bool  # its window holds
    normed: bool = True  # False: its attention reads what is normed already

    @nn.compact
    def __call__(self, x_BLD, seen: Seen, site, cache=None):
        s, c = self.spec, self.spec.cfg
        norm = lambda part: Norm(c.norm, bias=c.bias, eps=c.norm_eps, name=f"{part}_norm")
        bare = lambda part: c.post_norm or (part == "attention" and not self.normed)
        before = lambda part, x_BLD: x_BLD if bare(part) else norm(part)(x_BLD)

        def add(part, x_BLD, y_BLD, n):
            x_BLD = x_BLD + dropout(y_BLD, c.dropout, seen.noise, site + n)
            return norm(part)(x_BLD) if c.post_norm else x_BLD

        y_BLD, cache = Attention(s, self.local, name="attention")(before("attention", x_BLD), seen, cache)
        x_BLD = add("attention", x_BLD, y_BLD, 0)
        if s.crosses:
            y_BLD = CrossAttention(s, name="cross")(before("cross", x_BLD), seen, cache)
            x_BLD = add("cross", x_BLD, y_BLD, 2)
        x_BLD = add("mlp", x_BLD, Mlp(s, name="mlp")(before("mlp", x_BLD)), 1)
        return constrain(x_BLD, ("batch", "length", "act_width")), cache


def remember(cache: dict, k_BLGK: Array, v_BLGK: Array, position_BL: Int[Array, "B L"]):
    """Write keys and values at the slots of their positions; also what `attend` needs to mask the rest."""
    rows_B1 = jnp.arange(k_BLGK.shape[0])[:, None]
    put = lambda old_BGMK, new_BLGK: old_BGMK.at[rows_B1, :, position_BL].set(new_BLGK.astype(old_BGMK.dtype))
    cache = cache | {"k": put(cache["k"], k_BLGK), "v": put(cache["v"], v_BLGK)}
    slots_1M = jnp.arange(cache["k"].shape[2])[None]
    return cache, (position_BL, slots_1M)


def by_slot(prefix_BL: Bool[Array, "B L"], position_BL: Int[Array, "B L"], slots: int) -> Bool[Array, "B M"]:
    """Which slots of a cache hold tokens of a prefix."""
    B = prefix_BL.shape[0]
    return jnp.zeros((B, slots), bool).at[jnp.arange(B)[:, None], position_BL].set(prefix_BL)


def to_cache(k_BMGK: Array) -> Array:
    """Keys or values as a cache holds them, "B G M K": in another order XLA's CPU compiler copies all at each step."""
    return jnp.swapaxes(k_BMGK, 1, 2)


def as_attended(k_BGMK: Array) -> Array:
    """The inverse of `to_cache`."""
    return jnp.swapaxes(k_BGMK, 1, 2)


def of_cache(precision: Precision) -> Precision:
    """The precision of products with a cache: XLA's CPU compiler has none of one bfloat16 row, and converts all keys.

    (jax 0.10.2 even fails at some of several rows: "Unsupported element type for DotThunk".)
    """
    return "float32" if precision == "bfloat16_operands" else precision


def empty_cache(s: Spec, rows: int, slots: int) -> dict:
    """Keys and values of no tokens yet; slot m will hold the token at position m."""
    _, _, G, _, K, _ = s.cfg.dims
    stack = (s.layers,) if s.scan else ()
    zeros = lambda: jnp.zeros((*stack, rows, G, slots, K), activation_dtype(s.precision))
    layer = lambda: {"k": zeros(), "v": zeros()}
    return {"blocks": layer()} if s.scan else {f"block_{n}": layer() for n in range(s.layers)}
