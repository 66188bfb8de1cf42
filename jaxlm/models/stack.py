"""A stack of blocks: from embedded tokens, through positions, blocks and the last norm, to hidden states."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxlm.batch import Batch
from jaxlm.mesh import constrain, whole_rows
from jaxlm.models.block import Block, Seen, Spec
from jaxlm.models.family import Head, Setting
from jaxlm.models.heads import answer
from jaxlm.models.layers import Noise, Norm, activation_dtype, dropout, parameter, resolve_precision
from jaxlm.models.positions import sinusoid, turns
from jaxlm.models.stack_config import GATED, StackConfig

REMAT = {"dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable, "full": None}


def spec_of(cfg: StackConfig, setting: Setting, *, causal: bool) -> Spec:
    scan = setting.platform != "cpu" if cfg.scan_layers is None else cfg.scan_layers
    return Spec(
        cfg=cfg,
        layers=cfg.dims.N,
        causal=causal,
        vocab=setting.vocab,
        length=cfg.max_length or setting.length,
        packed=setting.packed,
        precision=resolve_precision(cfg.precision, setting.platform),
        scan=scan and cfg.uniform,
        platform=setting.platform,
        sharing="ring" if setting.ring else "gather",
    )


def table(module: nn.Module, name: str, rows: int, axis: str, s: Spec, std: float | None = None) -> Array:
    """A parameter of `module` with a row for each token, position or class."""
    D = s.cfg.dims.D
    init = nn.initializers.normal(std_of_tables(s.cfg) if std is None else std)
    return whole_rows(parameter(module, name, init, (rows, D), (axis, "width")))


def std_of_tables(c: StackConfig) -> float:
    return c.std or c.dims.D**-0.5


def into_head(c: StackConfig) -> float:
    """Initial std of a separate head: none with `residual="zero"`, so that the first loss is log V."""
    return 0.0 if c.residual == "zero" else std_of_tables(c)


def embed(c: StackConfig, table_VD: Array, token_BL: Any) -> Array:
    x_BLD = table_VD[token_BL]
    return x_BLD * c.dims.D**0.5 if c.embedding_scale else x_BLD


def stack(module: nn.Module, s: Spec, x_BLD: Array, seen: Seen, cache=None, site: int = 0):
    """(hidden_BLD, cache); parameters become those of `module`. Dropouts are numbered from `site` on.

    With a cache, a token is written at the slot of its position.
    """
    c = s.cfg
    if c.position == "learned":
        x_BLD += table(module, "position", s.length, "position", s)[seen.position_BL]
    if c.position == "sinusoidal":
        x_BLD += sinusoid(seen.position_BL, c.dims.D)
    x_BLD = constrain(x_BLD.astype(activation_dtype(s.precision)), ("batch", "length", "act_width"))
    norm = lambda name: Norm(c.norm, bias=c.bias, eps=c.norm_eps, name=name)
    if c.embedding_norm:
        x_BLD = norm("embedding_norm")(x_BLD)
    x_BLD = dropout(x_BLD, c.dropout, seen.noise, site + s.parts * s.layers)
    x_BLD, cache = blocks(s, x_BLD, distances(module, s, seen), cache, site)
    return (x_BLD if c.post_norm else norm("final_norm")(x_BLD)), cache


def distances(module: nn.Module, s: Spec, seen: Seen) -> Seen:
    """`seen` with what the blocks' attention knows of positions, made once for all of them."""
    c = s.cfg
    if c.position == "rotary":
        seen = seen._replace(turns=turns(seen.position_BL, c.dims.K, c.rope_base, c.rope_scaling))
        if c.local_rope_base is not None:
            seen = seen._replace(local_turns=turns(seen.position_BL, c.dims.K, c.local_rope_base))
    if c.position == "buckets":
        shape = c.buckets, c.dims.G, c.dims.R
        init = nn.initializers.normal(std_of_tables(c))
        seen = seen._replace(bucket_b_TGR=parameter(module, "bucket_b", init, shape, ("bucket", "kv", "group")))
    return seen


def blocks(s: Spec, x_BLD: Array, seen: Seen, cache, site: int):
    """All blocks one after another; to be called where Flax knows whose they are."""
    c, kind = s.cfg, Block
    if c.remat != "none" and cache is None:
        kind = nn.remat(Block, prevent_cse=not s.scan, policy=REMAT[c.remat])
    if not s.scan:
        for n in range(s.layers):
            layer = None if cache is None else cache[f"block_{n}"]
            block = kind(s, not c.sees_all(n), n > 0 or c.first_norm, name=f"block_{n}")
            x_BLD, layer = block(x_BLD, seen, site + s.parts * n, layer)
            if cache is not None:
                cache = {**cache, f"block_{n}": layer}
        return x_BLD, cache
    body = lambda block, x_BLD, site_cache: block(x_BLD, seen, *site_cache)
    scan = nn.scan(
        body,
        variable_axes={"params": 0},
        split_rngs={"params": True},
        length=s.layers,
        metadata_params={nn.PARTITION_NAME: "layers"},
    )
    sites = site + s.parts * jnp.arange(s.layers)
    x_BLD, layers = scan(kind(s, not c.sees_all(0), name="blocks"), x_BLD, (sites, cache and cache["blocks"]))
    return x_BLD, cache and {"blocks": layers}


def answered(module: nn.Module, s: Spec, head: Head, x_BLD: Array, batch: Batch, noise: Noise | None) -> Array:
    """What Hidden.array holds; the heads of tasks drop a part of what they read."""
    if head.kind != "tokens":
        x_BLD = dropout(x_BLD, s.cfg.dropout, noise, s.parts * s.layers + 1)
    return answer(module, head, x_BLD, batch, std_of_tables(s.cfg), s.precision)


def products(s: Spec, memory: float = 1.0) -> float:
    """Weights in matrix products of all blocks, for each token; a token brings `memory` tokens of what is crossed."""
    _, D, G, R, K, F = s.cfg.dims
    attention = D * G * K * (2 * R + 2)
    cross = D * G * K * (2 * R + 2 * memory) if s.crosses else 0
    return float(s.layers * (attention + cross + (3 if s.cfg.activation in GATED else 2) * D * F))


def score_flops(s: Spec, length: int, memory: int = 0) -> float:
    """Operations of a training step in scores and sums of values, for each token of a row.

    12 H K for each key seen, in two products and their gradients (Chowdhery et al. 2022, arXiv:2204.02311,
    appendix B). What a mask hides of causal attention is left out, as what a window hides.
    """
    _, _, G, R, K, _ = s.cfg.dims
    keys = [length if s.cfg.sees_all(n) else min(length, 2 * (s.cfg.window or 0)) for n in range(s.layers)]
    return 12.0 * G * R * K * (sum(keys) * (0.5 if s.causal else 1.0) + (s.layers * memory if s.crosses else 0))
