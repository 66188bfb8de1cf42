"""Decoder Transformer, from GPT-2 (Radford et al. 2019) to Llama (Touvron et al. 2023, arXiv:2302.13971).

One set of switches spans both: learned or rotary positions, LayerNorm or RMSNorm, GELU, SwiGLU or squared
ReLU, multi-head to multi-query attention, tied or separate head. The blocks are those of `block.py`.
"""

import functools
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic

from jaxlm.batch import Batch
from jaxlm.models.block import Seen, Spec, empty_cache
from jaxlm.models.family import SAMPLE, Family, Head, Hidden, Setting, parameters, tokens
from jaxlm.models.heads import bias_of, table_of
from jaxlm.models.layers import Noise
from jaxlm.models.positions import Llama3Scaling
from jaxlm.models.stack import answered, embed, into_head, products, score_flops, spec_of, stack, table
from jaxlm.models.stack_config import Size, StackConfig

# GPT-2's (Radford et al. 2019, table 2); the small ones are ours.
SIZES = {
    "1m": Size(4, 4, 128),
    "10m": Size(6, 6, 384),  # nanoGPT's shakespeare_char for GPUs
    "124m": Size(12, 12, 768),
    "355m": Size(24, 16, 1024),
    "774m": Size(36, 20, 1280),
    "1558m": Size(48, 25, 1600),
    "1b": Size(16, 32, 2048, kv_heads=8, ff_width=8192),  # Llama 3.2, with LLAMA_3
    "8b": Size(32, 32, 4096, kv_heads=8, ff_width=14_336),  # Llama 3.1 (arXiv:2407.21783, table 3)
}
# Switches of Llama 3.1 at any size; 3.2 1B is tied, and its scaling's factor is 32.
LLAMA_3: dict[str, Any] = dict(
    position="rotary",
    rope_base=500_000.0,
    rope_scaling=Llama3Scaling(),
    norm="rmsnorm",
    activation="swiglu",
    tied=False,
)


class TransformerConfig(StackConfig):
    kind: Literal["decoder"] = "decoder"
    SIZES: ClassVar = SIZES
    size: Literal[tuple(SIZES)] | None = None  # type: ignore[valid-type]  # one dial for the shapes; fields win
    # Logits become c tanh(logits / c) (Gemma 2, arXiv:2408.00118).
    softcap: float | None = pydantic.Field(default=None, gt=0)

    @property
    def causal(self) -> bool:
        """Does a token see none after it, so that the next one can be asked for?"""
        return True


class Decoder(nn.Module):
    """Tokens -> hidden states; `head` gives the table that turns those into logits."""

    spec: Spec
    head: Head

    @nn.compact
    def __call__(self, batch: Batch, noise: Noise | None = None, cache=None):
        """(what Hidden.array holds, cache). With a cache, a token is written at the slot of its position."""
        s, c = self.spec, self.spec.cfg
        x_BLD = embed(c, table(self, "embedding", s.vocab, "vocab", s), batch.token)
        if self.head.kind == "tokens" and not c.tied:
            table(self, "head", s.vocab, "vocab", s, into_head(c))
        seen = Seen(batch.position, batch.segment, noise, batch.prefix)
        x_BLD, cache = stack(self, s, x_BLD, seen, cache)
        return answered(self, s, self.head, x_BLD, batch, noise), cache


def flops_per_token(spec: Spec, head: Head, length: int) -> float:
    """Floating-point operations of a training step for each token of a row.

    Forward and backward are 6 for each weight in a matrix product, the output head included, and those of
    attention's scores. Look-ups and recomputation do not count.
    """
    weights = products(spec) + (spec.vocab * spec.cfg.dims.D if head.kind == "tokens" else 0)
    return 6.0 * weights + score_flops(spec, length)


def family(cfg: TransformerConfig, setting: Setting) -> Family:
    spec = spec_of(cfg, setting, causal=True)
    writes = setting.head.kind == "tokens"
    module = Decoder(spec, setting.head)
    init, axes = parameters(module, SAMPLE)

    def apply(params, batch, noise=None, carry=()):
        return Hidden(module.apply({"params": params}, batch, noise)[0])

    def decode(params, token_BL, position_BL, real_BL, state):
        # No query sees a slot after its own position, so what padding writes is never read.
        batch = tokens(token_BL, position_BL)
        batch = batch._replace(prefix=real_BL) if setting.prefix and token_BL.shape[1] > 1 else batch
        return module.apply({"params": params}, batch, None, state)

    def reorder(state, row_B):
        return jax.tree.map(lambda x: jnp.take(x, row_B, axis=int(spec.scan), mode="clip"), state)

    return Family(
        init=init,
        axes=axes,
        apply=apply,
        head=table_of(setting.head, "embedding" if cfg.tied else "head"),
        bias=bias_of(setting.head),
        init_state=functools.partial(empty_cache, spec) if writes else None,
        decode=decode if writes else None,
        vocab=setting.vocab,
        precision=spec.precision,
        flops_per_token=functools.partial(flops_per_token, spec, setting.head),
        softcap=cfg.softcap if writes else None,
        length=spec.length if cfg.position == "learned" else None,
        reorder=reorder,
        prefix=setting.prefix,
    )
