"""What Transformers of every kind are told about their blocks: shapes, switches, and the rules between them.

A family's config adds what is its own, and its own defaults; `size` is one dial for the shapes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import pydantic

from jaxlm.config import Config
from jaxlm.models.attention import Backend
from jaxlm.models.positions import RopeScaling

Activation = Literal["gelu", "gelu_exact", "relu", "relu2", "swiglu", "geglu", "geglu_exact"]
GATED = ("swiglu", "geglu", "geglu_exact")


class Dims(NamedTuple):
    """The letters of jaxlm.batch, as numbers."""

    N: int
    D: int
    G: int
    R: int
    K: int
    F: int


class Size(NamedTuple):
    """A published model's shapes; None: what the field's own rule says."""

    layers: int
    heads: int
    width: int
    kv_heads: int | None = None
    head_width: int | None = None
    ff_width: int | None = None


class StackConfig(Config):
    SIZES: ClassVar[Mapping[str, Size]] = {}
    size: str | None = None  # one dial for the shapes; the fields below win
    # Most layers and width: chosen, far beyond the largest model we know (126 layers, 16,384 wide: Llama 3.1 405B).
    layers: int | None = pydantic.Field(default=None, gt=0, le=10_000)
    heads: int | None = pydantic.Field(default=None, gt=0)
    width: int | None = pydantic.Field(default=None, gt=0, le=2**20)
    vocab: int | None = pydantic.Field(default=None, gt=0, lt=2**31)  # None: the tokenizer's
    kv_heads: int | None = pydantic.Field(default=None, gt=0)  # None: heads; 1 is multi-query attention
    head_width: int | None = pydantic.Field(default=None, gt=0, le=2**20)  # None: width / heads
    # None: 4 width; gated 8/3 width up to a multiple of 64
    ff_width: int | None = pydantic.Field(default=None, gt=0, le=2**24)
    max_length: int | None = pydantic.Field(default=None, gt=0)  # rows of learned positions; None: data.length
    # alibi: Press et al. 2022 (arXiv:2108.12409); buckets: Raffel et al. 2020 (arXiv:1910.10683, section 2.1).
    position: Literal["learned", "sinusoidal", "rotary", "alibi", "buckets"] = "learned"
    rope_base: float = pydantic.Field(default=10_000.0, gt=1)  # larger reaches further (Su et al. 2021, section 3.3)
    rope_scaling: RopeScaling | None = None  # reaches further than the model was trained for; not in local layers
    local_rope_base: float | None = pydantic.Field(default=None, gt=1)  # of layers with a window; None: rope_base
    buckets: int = pydantic.Field(default=32, ge=4, multiple_of=4)  # of distances, with position="buckets"
    bucket_reach: int = pydantic.Field(default=128, gt=1)  # tokens; all that is further is in the last bucket
    embedding_scale: bool = False  # embedded tokens times sqrt(width) (Vaswani et al. 2017, section 3.4)
    embedding_norm: bool = False  # a norm before the first block, as BERT has
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"
    norm_eps: float = pydantic.Field(default=1e-5, gt=0, lt=1)  # added to the mean square; Llama 3: 1e-5, Llama 1: 1e-6
    first_norm: bool = True  # False: the first block's attention reads the embedding's norm as it is (ModernBERT)
    post_norm: bool = False  # norms after each sum (Vaswani et al. 2017) and not before each part; no final norm then
    activation: Activation = "gelu"  # gelu: by tanh, as GPT-2; swiglu, geglu: gated (Shazeer 2020, arXiv:2002.05202)
    bias: bool = False  # in every product and norm, as GPT-2 has
    tied: bool = True  # the head is the embedding (Press & Wolf 2017, arXiv:1608.05859)
    scale_scores: bool = True  # scores over sqrt(head width); False: queries start smaller by as much, as T5's
    qk_norm: bool = False  # RMSNorm of queries and keys in self-attention (Henry et al. 2020, arXiv:2010.04245)
    # Tokens a query looks back, itself included; as far ahead where attention is not causal. None: all.
    window: int | None = pydantic.Field(default=None, gt=0)
    # Every n-th layer sees all and only the others have the window (Gemma 2, arXiv:2408.00118); None: all have it.
    global_every: int | None = pydantic.Field(default=None, gt=1)
    global_first: bool = False  # of each n the first sees all (ModernBERT, arXiv:2412.13663) and not the last
    dropout: float = pydantic.Field(default=0.0, ge=0, lt=1)
    std: float | None = pydantic.Field(default=0.02, gt=0)  # of initial weights; None: 1/sqrt(fan-in)
    # What enters the residual: std/sqrt(parts that do), 0, std.
    residual: Literal["scaled", "zero", "plain"] = "scaled"
    precision: Literal["auto", "float32", "bfloat16", "bfloat16_operands"] = "auto"
    attention: Backend = "auto"  # auto: cuDNN or Triton on GPU, splash on TPU, where they can; else einsum
    remat: Literal["none", "dots", "full"] = "none"  # keep all activations, matrix products, or block inputs only
    scan_layers: bool | None = None  # one compiled block for all layers; None: yes, but not on CPU

    @pydantic.model_validator(mode="after")
    def _shapes_agree(self):
        missing = [name for name in ("layers", "heads", "width") if getattr(self, name) is None]
        if self.size is None and missing:
            raise ValueError(f"give model.size (one of {', '.join(self.SIZES)}) or model.{', model.'.join(missing)}")
        heads, width, kv_heads = self.dial("heads"), self.dial("width"), self.dial("kv_heads")
        if self.dial("head_width") is None and width % heads:
            raise ValueError(
                f"model.width={width} is not a multiple of model.heads={heads}: change one, or set model.head_width"
            )
        if heads % (kv_heads or heads):
            raise ValueError(f"model.heads={heads} is not a multiple of model.kv_heads={kv_heads}")
        if self.position == "rotary" and self.dims.K % 2:
            raise ValueError(f"model.position='rotary' turns pairs, but a head has width {self.dims.K}: make it even")
        if self.position == "buckets" and self.bucket_reach <= self.buckets // 2:
            raise ValueError(
                f"model.bucket_reach={self.bucket_reach} is not over the {self.buckets // 2} distances that have a "
                f"bucket each, half of model.buckets={self.buckets}: raise it, or lower those"
            )
        if self.position == "sinusoidal" and width % 2:
            raise ValueError(f"model.position='sinusoidal' fills pairs, but model.width={width}: make it even")
        return self

    @pydantic.model_validator(mode="after")
    def _layers_agree(self):
        if self.global_every is not None and self.window is None:
            raise ValueError(
                f"model.global_every={self.global_every} says which layers have no window: set model.window too"
            )
        if self.scan_layers and not self.uniform:
            raise ValueError(
                f"model.global_every={self.global_every} and model.first_norm={self.first_norm} make layers of two "
                f"kinds, and model.scan_layers=True compiles one for all: leave model.scan_layers out"
            )
        if not self.first_norm and (self.post_norm or not self.embedding_norm):
            raise ValueError(
                f"model.first_norm=False leaves the first norm to the embedding, and model.embedding_norm="
                f"{self.embedding_norm}, model.post_norm={self.post_norm}: set them to True and False"
            )
        if self.local_rope_base is not None and self.global_every is None:
            raise ValueError(
                f"model.local_rope_base={self.local_rope_base} is for the layers that model.global_every leaves "
                f"their window: set it too, or model.rope_base alone"
            )
        for name in ("rope_scaling", "local_rope_base"):
            if getattr(self, name) is not None and self.position != "rotary":
                raise ValueError(f"model.{name} is for model.position='rotary', and it is {self.position!r}")
        return self

    @property
    def noisy(self) -> bool:
        """Does a training step draw random masks?"""
        return self.dropout > 0

    def dial(self, name: str) -> Any:
        """A shape: the field's where it is given, else that of `size`."""
        value = getattr(self, name)
        return value if value is not None or self.size is None else getattr(self.SIZES[self.size], name)

    @property
    def dims(self) -> Dims:
        N, H, D = self.dial("layers"), self.dial("heads"), self.dial("width")
        G = self.dial("kv_heads") or H
        F = self.dial("ff_width") or (-(-8 * D // 3 // 64) * 64 if self.activation in GATED else 4 * D)
        return Dims(N=N, D=D, G=G, R=H // G, K=self.dial("head_width") or D // H, F=F)

    @property
    def uniform(self) -> bool:
        """Are all layers one program? With and without a window they are not: a fused kernel is compiled for it."""
        return self.global_every is None and self.first_norm

    def sees_all(self, layer: int) -> bool:
        """Has this layer no window?"""
        if self.window is None or self.global_every is None:
            return self.window is None
        return (layer if self.global_first else layer + 1) % self.global_every == 0
