"""Encoder Transformer, from BERT (Devlin et al. 2019, arXiv:1810.04805) to ModernBERT (arXiv:2412.13663).

As it stands EncoderConfig is BERT, norm by norm; MODERN switches to what came after. Tokens see both ways.
Left out: a shared block for all layers and a factored embedding, as ALBERT has.
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array, Float

from jaxlm.batch import Batch
from jaxlm.errors import UserError
from jaxlm.models.block import ACTIVATIONS, Seen, Spec
from jaxlm.models.family import SAMPLE, Family, Head, Hidden, Setting, asked, parameters
from jaxlm.models.heads import bias_of, table_of
from jaxlm.models.layers import Einsum, Noise, Norm, einsum, exact, parameter
from jaxlm.models.stack import answered, embed, into_head, products, score_flops, spec_of, stack, table
from jaxlm.models.stack_config import Activation, Size, StackConfig

SIZES = {
    "tiny": Size(2, 2, 128),  # the small ones: Turc et al. 2019, arXiv:1908.08962
    "mini": Size(4, 4, 256),
    "small": Size(4, 8, 512),
    "medium": Size(8, 8, 512),
    "base": Size(12, 12, 768),
    "large": Size(24, 16, 1024),
    "modern_base": Size(22, 12, 768, ff_width=1152),  # with MODERN
    "modern_large": Size(28, 16, 1024, ff_width=2624),
}
# Switches of ModernBERT (Warner et al. 2024, arXiv:2412.13663, section 2.1) at any size.
MODERN: dict[str, Any] = dict(
    position="rotary",
    rope_base=160_000.0,
    local_rope_base=10_000.0,
    window=65,  # 64 tokens to each side
    global_every=3,
    global_first=True,
    activation="geglu_exact",
    first_norm=False,
    post_norm=False,
    bias=False,
    norm_eps=1e-5,
    kinds=0,
)


class EncoderConfig(StackConfig):
    kind: Literal["encoder"] = "encoder"
    SIZES: ClassVar = SIZES
    size: Literal[tuple(SIZES)] | None = None  # type: ignore[valid-type]  # one dial for the shapes; fields win
    kinds: int = pydantic.Field(
        default=2, ge=0
    )  # parts of an example that are told apart (BERT's token types); 0: none
    # Does a second head tell whether the parts of a row stand in order (Devlin et al. 2019, section 3.1, task 2;
    # Lan et al. 2020, arXiv:1909.11942, section 3.1)? The objective makes the labels.
    sentence_order: bool = False
    embedding_norm: bool = True
    norm_eps: float = pydantic.Field(default=1e-12, gt=0, lt=1)
    post_norm: bool = True
    activation: Activation = "gelu_exact"
    bias: bool = True
    residual: Literal["scaled", "zero", "plain"] = "plain"

    @property
    def causal(self) -> bool:
        """Does a token see none after it, so that the next one can be asked for?"""
        return False


class Encoder(nn.Module):
    """A batch -> what its head reads, at the asked positions only."""

    spec: Spec
    head: Head

    @nn.compact
    def __call__(self, batch: Batch, noise: Noise | None = None) -> Hidden:
        s, c = self.spec, self.spec.cfg
        assert isinstance(c, EncoderConfig)
        x_BLD = embed(c, table(self, "embedding", s.vocab, "vocab", s), batch.token)
        if self.head.kind == "tokens":
            if not c.tied:
                table(self, "head", s.vocab, "vocab", s, into_head(c))
            parameter(self, "head_b", nn.initializers.zeros, (s.vocab,), ("vocab",))
        if c.kinds:
            kind_BL = jnp.zeros_like(batch.token) if batch.kind is None else batch.kind
            x_BLD += table(self, "kind", c.kinds, "class", s)[kind_BL]
        x_BLD, _ = stack(self, s, x_BLD, Seen(batch.position, batch.segment, noise))
        pooler = self.square("pooler")
        pool = lambda x_BPD: jnp.tanh(pooler(x_BPD))
        penalty = self.order(pool(x_BLD[:, :1]), batch) if c.sentence_order else 0.0
        if self.head.kind == "tokens":
            return Hidden(self.transform(asked(x_BLD, batch.where)), penalty=penalty)
        if self.head.kind == "classes":
            first_B1 = jnp.zeros_like(batch.token[:, :1])
            x_BLD = pool(asked(x_BLD, first_B1 if batch.where is None else batch.where))
            batch = batch._replace(where=None)
        return Hidden(answered(self, s, self.head, x_BLD, batch, noise), penalty=penalty)

    def transform(self, x_BPD: Array) -> Array:
        """What BERT does before it looks for a token in the table."""
        c = self.spec.cfg
        x_BPD = ACTIVATIONS[c.activation](self.square("transform")(x_BPD))
        return Norm(c.norm, bias=c.bias, eps=c.norm_eps, name="transform_norm")(x_BPD)

    def square(self, name: str) -> Einsum:
        s, D = self.spec, self.spec.cfg.dims.D
        return Einsum("BPD,DF->BPF", (D, D), ("width", "ff"), s.precision, s.cfg.std, s.cfg.bias, name=name)

    def order(self, pooled_B1D: Array, batch: Batch) -> Float[Array, " B"]:
        """Cross-entropy of the order of each row's parts, times what the row weighs.

        Divided by the weight of all, as the loss of tokens is, this is the mean over rows where each row is asked
        for equally many tokens; it depends on no other row, so on no layout either.
        """
        s = self.spec
        table_CD = table(self, "order", 2, "class", s)
        bias_C = parameter(self, "order_b", nn.initializers.zeros, (2,), ("class",))
        if batch.label is None:
            return jnp.zeros(len(batch.token))
        logits_B1C = einsum("BLD,CD->BLC", pooled_B1D, table_CD, exact(s.precision)) + bias_C[None, None]
        of_label_B1 = jnp.take_along_axis(logits_B1C, jnp.maximum(batch.label, 0)[..., None], axis=-1)[..., 0]
        nats_B1 = jax.nn.logsumexp(logits_B1C, axis=-1) - of_label_B1
        return jnp.where(batch.label >= 0, nats_B1 * batch.weight.sum(1, keepdims=True), 0.0)[:, 0]


def family(cfg: EncoderConfig, setting: Setting) -> Family:
    spec = spec_of(cfg, setting, causal=False)
    module = Encoder(spec, setting.head)
    init, axes = parameters(module, SAMPLE)

    def apply(params, batch, noise=None, carry=()) -> Hidden:
        if batch.label is not None and not cfg.sentence_order:
            raise UserError(
                "the objective asks whether sentences stand in order, and model.sentence_order=False has no head "
                "for it: set model.sentence_order=True, or let the objective not ask"
            )
        out: Hidden = module.apply({"params": params}, batch, noise)  # type: ignore[assignment]
        return out

    return Family(
        init=init,
        axes=axes,
        apply=apply,
        head=table_of(setting.head, "embedding" if cfg.tied else "head"),
        bias=bias_of(setting.head, "head_b"),
        vocab=setting.vocab,
        precision=spec.precision,
        # Of what reads each token; the heads read those that are asked for only, and are left out.
        flops_per_token=lambda length: 6.0 * products(spec) + score_flops(spec, length),
        length=spec.length if cfg.position == "learned" else None,
    )
