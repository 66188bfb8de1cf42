"""Decoder Transformer, from GPT-2 (Radford et al. 2019) to Llama (Touvron et al. 2023, arXiv:2302.13971).

One set of switches spans both: learned or rotary positions, LayerNorm or RMSNorm, GELU, SwiGLU or squared
ReLU, multi-head to multi-query attention, tied or separate head. Encoders are left out.
"""

import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Int

from jaxlm.batch import Batch
from jaxlm.config import Config
from jaxlm.mesh import constrain
from jaxlm.models.attention import Backend, attend
from jaxlm.models.family import SAMPLE, Family, Hidden, Setting, parameters, tokens
from jaxlm.models.layers import Einsum, Noise, Norm, Precision, activation_dtype, dropout, parameter, resolve_precision
from jaxlm.models.positions import Turns, rotate, turns

# size -> layers, heads, width: GPT-2 (Radford et al. 2019, table 2); the small ones are ours.
SIZES = {
    "1m": (4, 4, 128),
    "10m": (6, 6, 384),  # nanoGPT's shakespeare_char for GPUs
    "124m": (12, 12, 768),
    "355m": (24, 16, 1024),
    "774m": (36, 20, 1280),
    "1558m": (48, 25, 1600),
}


class Dims(NamedTuple):
    """The letters of jaxlm.batch, as numbers."""

    N: int
    D: int
    G: int
    R: int
    K: int
    F: int


class TransformerConfig(Config):
    kind: Literal["decoder"] = "decoder"
    # One dial for layers, heads and width; the fields below win.
    size: Literal[tuple(SIZES)] | None = None  # type: ignore[valid-type]
    layers: int | None = pydantic.Field(default=None, gt=0)
    heads: int | None = pydantic.Field(default=None, gt=0)
    width: int | None = pydantic.Field(default=None, gt=0)
    vocab: int | None = pydantic.Field(default=None, gt=0)  # None: the tokenizer's
    kv_heads: int | None = pydantic.Field(default=None, gt=0)  # None: heads; 1 is multi-query attention
    head_width: int | None = pydantic.Field(default=None, gt=0)  # None: width / heads
    ff_width: int | None = pydantic.Field(default=None, gt=0)  # None: 4 width; swiglu 8/3 width up to a multiple of 64
    max_length: int | None = pydantic.Field(default=None, gt=0)  # rows of learned positions; None: data.length
    position: Literal["learned", "rotary"] = "learned"
    rope_base: float = pydantic.Field(default=10_000.0, gt=1)  # larger reaches further (Su et al. 2021, section 3.3)
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_eps: float = pydantic.Field(default=1e-5, gt=0)  # added to the mean square; Llama 3 has 1e-5, Llama 1 1e-6
    activation: Literal["gelu", "swiglu", "relu2"] = "gelu"
    bias: bool = False  # in every product and norm, as GPT-2 has
    tied: bool = True  # the head is the embedding (Press & Wolf 2017, arXiv:1608.05859)
    qk_norm: bool = False  # RMSNorm of queries and keys (Henry et al. 2020, arXiv:2010.04245)
    window: int | None = pydantic.Field(default=None, gt=0)  # tokens a query looks back, itself included; None: all
    # Logits become c tanh(logits / c) (Gemma 2, arXiv:2408.00118).
    softcap: float | None = pydantic.Field(default=None, gt=0)
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    std: float | None = pydantic.Field(default=0.02, gt=0)  # of initial weights; None: 1/sqrt(fan-in)
    residual: Literal["scaled", "zero", "plain"] = "scaled"  # what enters the residual: std/sqrt(2 layers), 0, std
    precision: Literal["auto", "float32", "bfloat16", "bfloat16_operands"] = "auto"
    attention: Backend = "auto"  # auto: cuDNN or Triton on GPU, splash on TPU, where they can; else einsum
    remat: Literal["none", "dots", "full"] = "none"  # keep all activations, matrix products, or block inputs only
    scan_layers: bool | None = None  # one compiled block for all layers; None: yes, but not on CPU

    @pydantic.model_validator(mode="after")
    def _shapes_agree(self):
        missing = [name for name in ("layers", "heads", "width") if getattr(self, name) is None]
        if self.size is None and missing:
            raise ValueError(f"give model.size (one of {', '.join(SIZES)}) or model.{', model.'.join(missing)}")
        heads, width = self._dial("heads"), self._dial("width")
        if self.head_width is None and width % heads:
            raise ValueError(
                f"model.width={width} is not a multiple of model.heads={heads}: change one, or set model.head_width"
            )
        if heads % (self.kv_heads or heads):
            raise ValueError(f"model.heads={heads} is not a multiple of model.kv_heads={self.kv_heads}")
        if self.position == "rotary" and self.dims.K % 2:
            raise ValueError(f"model.position='rotary' turns pairs, but a head has width {self.dims.K}: make it even")
        return self

    @property
    def noisy(self) -> bool:
        """Does a training step draw random masks?"""
        return self.dropout > 0

    def _dial(self, name: Literal["layers", "heads", "width"]) -> int:
        dial = dict(zip(("layers", "heads", "width"), SIZES.get(self.size or "", (0, 0, 0)), strict=True))
        return getattr(self, name) or dial[name]

    @property
    def dims(self) -> Dims:
        N, H, D = self._dial("layers"), self._dial("heads"), self._dial("width")
        G = self.kv_heads or H
        gated = -(-8 * D // 3 // 64) * 64
        F = self.ff_width or (gated if self.activation == "swiglu" else 4 * D)
        return Dims(N=N, D=D, G=G, R=H // G, K=self.head_width or D // H, F=F)


class Spec(NamedTuple):
    """A config and what only a run knows, hashable."""

    cfg: TransformerConfig
    vocab: int
    length: int  # rows of learned positions
    packed: bool  # rows hold several documents, or padding
    precision: Precision
    scan: bool
    platform: str  # cpu, gpu, tpu


class Seen(NamedTuple):
    """What a block needs beside activations: where tokens stand, and what dropout draws from."""

    position_BL: Array
    segment_BL: Array | None  # None: each row is one document
    turns: Turns | None  # None: positions are not rotary
    noise: Noise | None  # None: no dropout


class Attention(nn.Module):
    spec: Spec

    @nn.compact
    def __call__(self, x_BLD, seen: Seen, cache=None):
        c, p = self.spec.cfg, self.spec.precision
        _, D, G, R, K, _ = c.dims
        project = functools.partial(Einsum, precision=p, std=c.std, bias=c.bias)
        q_BLGRK = project("BLD,DGRK->BLGRK", (D, G, R, K), ("width", "kv", "group", "head"), name="q")(x_BLD)
        k_BMGK = project("BMD,DGK->BMGK", (D, G, K), ("width", "kv", "head"), name="k")(x_BLD)
        v_BMGK = project("BMD,DGK->BMGK", (D, G, K), ("width", "kv", "head"), name="v")(x_BLD)
        q_BLHK = q_BLGRK.reshape(*q_BLGRK.shape[:2], G * R, K)  # XLA is slow at sums over five dimensions on CPU
        if c.qk_norm:
            q_BLHK = Norm("rmsnorm", axis="head", eps=c.norm_eps, name="q_norm")(q_BLHK)
            k_BMGK = Norm("rmsnorm", axis="head", eps=c.norm_eps, name="k_norm")(k_BMGK)
        if seen.turns is not None:
            q_BLHK, k_BMGK = rotate(q_BLHK, seen.turns), rotate(k_BMGK, seen.turns)
        q_BLGRK = q_BLHK.reshape(q_BLGRK.shape)
        segments = positions = None
        if cache is not None:
            cache, positions = remember(cache, k_BMGK, v_BMGK, seen.position_BL)
            k_BMGK, v_BMGK = cache["k"], cache["v"]
        elif seen.segment_BL is not None:
            segments = seen.segment_BL, seen.segment_BL  # positions: in a segment, as in the row
        o_BLGRK = attend(
            q_BLGRK,
            k_BMGK,
            v_BMGK,
            precision=p,
            segments=segments,
            positions=positions,
            window=c.window,
            platform=self.spec.platform,
            backend=c.attention,
        )
        out = Einsum(
            "BLGRK,GRKD->BLD", (G, R, K, D), ("kv", "group", "head", "width"), p, into_residual(c), c.bias, name="o"
        )
        return out(o_BLGRK), cache


class Mlp(nn.Module):
    """GELU (Hendrycks & Gimpel 2016), SwiGLU (Shazeer 2020, arXiv:2002.05202), squared ReLU (So et al. 2021)."""

    spec: Spec

    @nn.compact
    def __call__(self, x_BLD):
        c, p = self.spec.cfg, self.spec.precision
        D, F = c.dims.D, c.dims.F
        up = lambda name: Einsum("BLD,DF->BLF", (D, F), ("width", "ff"), p, c.std, c.bias, name=name)(x_BLD)
        if c.activation == "swiglu":
            h_BLF = jax.nn.silu(up("gate")) * up("up")
        elif c.activation == "relu2":
            h_BLF = jnp.square(jax.nn.relu(up("up")))
        else:
            h_BLF = jax.nn.gelu(up("up"), approximate=True)  # tanh, as GPT-2
        h_BLF = constrain(h_BLF, ("batch", "length", "act_ff"))
        return Einsum("BLF,FD->BLD", (F, D), ("ff", "width"), p, into_residual(c), c.bias, name="down")(h_BLF)


def into_residual(c: TransformerConfig) -> float | None:
    """Initial std of the products that write into the residual stream (GPT-2 scales by 1/sqrt(2 N))."""
    if c.residual == "zero":
        return 0.0
    if c.residual == "plain" or c.std is None:
        return c.std
    return c.std * (2 * c.dims.N) ** -0.5


class Block(nn.Module):
    """Pre-norm residual block; `site` numbers its dropouts."""

    spec: Spec

    @nn.compact
    def __call__(self, x_BLD, seen: Seen, site, cache=None):
        c = self.spec.cfg
        norm = functools.partial(Norm, c.norm, bias=c.bias, eps=c.norm_eps)
        drop = lambda y_BLD, n: dropout(y_BLD, c.dropout, seen.noise, site + n)
        y_BLD, cache = Attention(self.spec, name="attention")(norm(name="attention_norm")(x_BLD), seen, cache)
        x_BLD += drop(y_BLD, 0)
        x_BLD += drop(Mlp(self.spec, name="mlp")(norm(name="mlp_norm")(x_BLD)), 1)
        return constrain(x_BLD, ("batch", "length", "act_width")), cache


REMAT = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}


class Decoder(nn.Module):
    """Tokens -> hidden states; `head` gives the table that turns those into logits."""

    spec: Spec

    @nn.compact
    def __call__(self, batch: Batch, noise: Noise | None = None, cache=None):
        """(hidden_BLD, cache). With a cache, a token is written at the slot of its position."""
        s, c = self.spec, self.spec.cfg
        D, V = c.dims.D, s.vocab
        std = c.std or D**-0.5
        table = lambda name, rows, axis, std: parameter(
            self, name, nn.initializers.normal(std), (rows, D), (axis, "width")
        )
        x_BLD = table("embedding", V, "vocab", std)[batch.token]
        if not c.tied:
            table("head", V, "vocab", into_head(c))
        if c.position == "learned":
            x_BLD += table("position", s.length, "position", std)[batch.position]
        x_BLD = constrain(x_BLD.astype(activation_dtype(s.precision)), ("batch", "length", "act_width"))
        x_BLD = dropout(x_BLD, c.dropout, noise, 2 * c.dims.N)
        by = turns(batch.position, c.dims.K, c.rope_base) if c.position == "rotary" else None
        seen = Seen(batch.position, batch.segment if s.packed else None, by, noise)
        x_BLD, cache = self.blocks(x_BLD, seen, cache)
        return Norm(c.norm, bias=c.bias, eps=c.norm_eps, name="final_norm")(x_BLD), cache

    def blocks(self, x_BLD, seen: Seen, cache):
        s, c = self.spec, self.spec.cfg
        kind = Block
        if c.remat != "none" and cache is None:
            kind = nn.remat(Block, prevent_cse=not s.scan, policy=REMAT[c.remat])
        if not s.scan:
            for n in range(c.dims.N):
                layer = None if cache is None else cache[f"block_{n}"]
                x_BLD, layer = kind(s, name=f"block_{n}")(x_BLD, seen, 2 * n, layer)
                if cache is not None:
                    cache = {**cache, f"block_{n}": layer}
            return x_BLD, cache
        body = lambda block, x_BLD, site_cache: block(x_BLD, seen, *site_cache)
        scan = nn.scan(
            body,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=c.dims.N,
            metadata_params={nn.PARTITION_NAME: "layers"},
        )
        sites = 2 * jnp.arange(c.dims.N)
        x_BLD, layers = scan(kind(s, name="blocks"), x_BLD, (sites, cache and cache["blocks"]))
        return x_BLD, cache and {"blocks": layers}


def into_head(c: TransformerConfig) -> float:
    """Initial std of a separate head: none with `residual="zero"`, so that the first loss is log V."""
    return 0.0 if c.residual == "zero" else (c.std or c.dims.D**-0.5)


def empty_cache(spec: Spec, rows: int, slots: int) -> dict:
    """Keys and values of no tokens yet; slot m will hold the token at position m."""
    N, _, G, _, K, _ = spec.cfg.dims
    stack = (N,) if spec.scan else ()
    zeros = lambda: jnp.zeros((*stack, rows, slots, G, K), activation_dtype(spec.precision))
    layer = lambda: {"k": zeros(), "v": zeros()}
    return {"blocks": layer()} if spec.scan else {f"block_{n}": layer() for n in range(N)}


def remember(cache: dict, k_BLGK: Array, v_BLGK: Array, position_BL: Int[Array, "B L"]):
    """Write keys and values at the slots of their positions; also what `attend` needs to mask the rest."""
    rows_B1 = jnp.arange(k_BLGK.shape[0])[:, None]
    cache = {
        "k": cache["k"].at[rows_B1, position_BL].set(k_BLGK.astype(cache["k"].dtype)),
        "v": cache["v"].at[rows_B1, position_BL].set(v_BLGK.astype(cache["v"].dtype)),
    }
    slots_1M = jnp.arange(cache["k"].shape[1])[None]
    return cache, (position_BL, slots_1M)


def flops_per_token(spec: Spec, length: int) -> float:
    """Floating-point operations of a training step for each token of a row.

    Forward and backward are 6 for each weight in a matrix product, the output head included, and
    12 N H K length / 2 for the two products of causal attention (Chowdhery et al. 2022, arXiv:2204.02311,
    appendix B, with the masked half left out). Look-ups and recomputation do not count.
    """
    N, D, G, R, K, F = spec.cfg.dims
    gates = 3 if spec.cfg.activation == "swiglu" else 2
    weights = N * (D * G * K * (2 * R + 2) + gates * D * F) + spec.vocab * D
    seen = min(length, 2 * spec.cfg.window) if spec.cfg.window else length
    return 6.0 * weights + 6.0 * N * G * R * K * seen


def family(cfg: TransformerConfig, setting: Setting) -> Family:
    spec = Spec(
        cfg=cfg,
        vocab=setting.vocab,
        length=cfg.max_length or setting.length,
        packed=setting.packed,
        precision=resolve_precision(cfg.precision, setting.platform),
        scan=setting.platform != "cpu" if cfg.scan_layers is None else cfg.scan_layers,
        platform=setting.platform,
    )
    module = Decoder(spec)
    init, axes = parameters(module, SAMPLE)

    def apply(params, batch, noise=None, carry=()):
        return Hidden(module.apply({"params": params}, batch, noise)[0])

    def decode(params, token_BL, position_BL, real_BL, state):
        # No query sees a slot after its own position, so what padding writes is never read.
        return module.apply({"params": params}, tokens(token_BL, position_BL), None, state)

    return Family(
        init=init,
        axes=axes,
        apply=apply,
        head=lambda params: params["embedding" if cfg.tied else "head"],
        init_state=functools.partial(empty_cache, spec),
        decode=decode,
        vocab=setting.vocab,
        precision=spec.precision,
        flops_per_token=functools.partial(flops_per_token, spec),
        softcap=cfg.softcap,
        length=spec.length if cfg.position == "learned" else None,
        reorder=lambda state, row_B: jax.tree.map(lambda x: jnp.take(x, row_B, axis=int(spec.scan)), state),
    )
