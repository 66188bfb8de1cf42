"""From a config to a family of models: pure functions over a plain nested dict of arrays.

The one seam between Flax and the rest of the house: no Flax object leaves this folder.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlm.batch import Batch
from jaxlm.models import transformer
from jaxlm.models.layers import Precision, resolve_precision

ModelConfig = transformer.TransformerConfig  # a discriminated union once there are several


class Family(NamedTuple):
    """What the house knows of a model. `params` is a nested dict of float32 arrays."""

    init: Callable[[jax.Array], dict]  # key -> params
    axes: dict  # logical axis names of each parameter
    hidden: Callable[..., jax.Array]  # (params, batch, keys_B=None) -> hidden_BLD
    head: Callable[[dict], jax.Array]  # params -> table_VD; logits are hidden @ table.T
    init_state: Callable[[int, int], Any]  # (rows, slots) -> empty decoding state
    decode: Callable[..., tuple[jax.Array, Any]]  # (params, token_BL, position_BL, state) -> hidden_BLD, state
    softcap: float | None
    vocab: int
    length: int | None  # most tokens of context; None: no limit
    precision: Precision
    flops_per_token: Callable[[int], float]  # row length -> floating-point operations of one training step


def build(cfg: ModelConfig, *, vocab: int, length: int, packed: bool, platform: str) -> Family:
    """The family of `cfg` for rows of `length` tokens over `vocab` ids on `platform` (cpu, gpu, tpu)."""
    spec = transformer.Spec(
        cfg=cfg,
        vocab=vocab,
        length=cfg.max_length or length,
        packed=packed,
        precision=resolve_precision(cfg.precision, platform),
        scan=platform != "cpu" if cfg.scan_layers is None else cfg.scan_layers,
        platform=platform,
    )
    module = transformer.Decoder(spec)
    one_BL = jnp.zeros((1, 1), jnp.int32)
    sample = Batch(one_BL, one_BL, one_BL.astype(jnp.float32), one_BL, one_BL)

    def hidden(params: dict, batch: Batch, keys_B: jax.Array | None = None) -> jax.Array:
        return module.apply({"params": params}, batch, keys_B)[0]

    def decode(params: dict, token_BL: jax.Array, position_BL: jax.Array, state: Any):
        batch = Batch(token_BL, token_BL, token_BL, jnp.ones_like(token_BL), position_BL)
        return module.apply({"params": params}, batch, None, state)

    boxed = jax.eval_shape(module.init, jax.random.key(0), sample)["params"]
    return Family(
        init=lambda key: nn.unbox(module.init(key, sample)["params"]),
        axes=jax.tree.map(lambda box: tuple(box.names), boxed, is_leaf=lambda x: isinstance(x, nn.meta.AxisMetadata)),
        hidden=hidden,
        head=lambda params: params["embedding" if cfg.tied else "head"],
        init_state=lambda rows, slots: transformer.empty_cache(spec, rows, slots),
        decode=decode,
        softcap=cfg.softcap,
        vocab=vocab,
        length=spec.length if cfg.position == "learned" else None,
        precision=spec.precision,
        flops_per_token=lambda length: transformer.flops_per_token(spec, length),
    )
