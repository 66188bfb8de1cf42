"""Encoder-decoder Transformer: T5 (Raffel et al. 2020, arXiv:1910.10683) and the first one (Vaswani et al. 2017).

As it stands EncoderDecoderConfig is T5; V1_1 and VASWANI switch to the later T5 and to the original. A target of
segment s reads the source of segment s, so pairs of texts can share a row.
"""

import functools
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import pydantic
from jaxtyping import Array

from jaxlm.batch import Batch, Source
from jaxlm.errors import UserError
from jaxlm.models.block import Memory, Seen, Spec, empty_cache, keys_or_values, to_cache
from jaxlm.models.family import SAMPLE, Family, Hidden, Setting, asked, parameters
from jaxlm.models.layers import Noise
from jaxlm.models.stack import embed, into_head, products, score_flops, spec_of, stack, std_of_tables, table
from jaxlm.models.stack_config import Activation, Size, StackConfig

SIZES = {
    "t5_small": Size(6, 8, 512),  # also the base model of Vaswani et al. 2017, table 3
    "t5_base": Size(12, 12, 768),
    "t5_v1_1_small": Size(8, 6, 512, head_width=64, ff_width=1024),
    "t5_v1_1_base": Size(12, 12, 768, ff_width=2048),
    "big": Size(6, 16, 1024),  # Vaswani et al. 2017, table 3
}
# T5 v1.1 (Shazeer 2020, arXiv:2002.05202; github.com/google-research/text-to-text-transfer-transformer).
V1_1: dict[str, Any] = dict(activation="geglu", tied=False)
# Vaswani et al. 2017 (arXiv:1706.03762, section 3).
VASWANI: dict[str, Any] = dict(
    position="sinusoidal",
    embedding_scale=True,
    norm="layernorm",
    post_norm=True,
    bias=True,
    scale_scores=True,
)


class EncoderDecoderConfig(StackConfig):
    kind: Literal["encoder_decoder"] = "encoder_decoder"
    SIZES: ClassVar = SIZES
    size: Literal[tuple(SIZES)] | None = None  # type: ignore[valid-type]  # one dial for the shapes; fields win
    decoder_layers: int | None = pydantic.Field(default=None, gt=0)  # None: layers
    position: Literal["learned", "sinusoidal", "rotary", "alibi", "buckets"] = "buckets"
    norm: Literal["layernorm", "rmsnorm"] = "rmsnorm"
    norm_eps: float = pydantic.Field(default=1e-6, gt=0, lt=1)
    activation: Activation = "relu"
    scale_scores: bool = False
    std: float | None = pydantic.Field(default=None, gt=0)  # None: 1/sqrt(fan-in), and 1 for unscaled embeddings
    residual: Literal["scaled", "zero", "plain"] = "plain"

    @property
    def causal(self) -> bool:
        """Does a token see none after it, so that the next one can be asked for?"""
        return True


class Stack(nn.Module):
    """Embedded tokens -> hidden states."""

    spec: Spec

    @nn.compact
    def __call__(self, x_BLD: Array, seen: Seen, cache=None, site: int = 0):
        return stack(self, self.spec, x_BLD, seen, cache, site)


class EncoderDecoder(nn.Module):
    """Sources and targets -> hidden states of the targets."""

    reader: Spec
    writer: Spec

    @nn.compact
    def __call__(self, batch: Batch, noise: Noise | None = None) -> Array:
        s, c, source = self.writer, self.writer.cfg, batch.source
        assert source is not None, "an encoder-decoder reads batch.source, and this batch has none"
        std = std_of_tables(c) if c.embedding_scale else c.std or 1.0
        table_VD = table(self, "embedding", s.vocab, "vocab", s, std)
        if not c.tied:
            table(self, "head", s.vocab, "vocab", s, into_head(c))
        seen = Seen(source.position, source.segment, noise)
        memory_BMD, _ = Stack(self.reader, name="encoder")(embed(c, table_VD, source.token), seen)
        memory = Memory(memory_BMD, source.segment)
        seen = Seen(batch.position, batch.segment, noise, batch.prefix, memory)
        site = self.reader.parts * self.reader.layers + 1  # the encoder's dropouts are numbered up to here
        x_BLD, _ = Stack(s, name="decoder")(embed(c, table_VD, batch.token), seen, None, site)
        return as_logits_want(c, asked(x_BLD, batch.where))


def as_logits_want(c: StackConfig, x_BLD: Array) -> Array:
    """T5's table is as large as its embedding wants, so where it is the head too, logits are over sqrt(width)."""
    return x_BLD * c.dims.D**-0.5 if c.tied and not c.embedding_scale else x_BLD


def read(reader: Spec, writer: Spec, params: dict, source: Source, slots: int) -> dict:
    """Decoding state of rows that have read their sources and written nothing: keys and values of both kinds."""
    x_BMD = embed(reader.cfg, params["embedding"], source.token)
    out: Any = Stack(reader).apply({"params": params["encoder"]}, x_BMD, Seen(source.position, source.segment))

    def project(block, name):
        made: Any = keys_or_values(writer, name).apply({"params": block["cross"][name]}, out[0])
        return to_cache(made)

    of_block = lambda block: {f"cross_{name}": project(block, name) for name in "kv"}
    layers = empty_cache(writer, len(source.token), slots)
    for name, empty in layers.items():
        block = params["decoder"][name]
        layers[name] = empty | (jax.vmap(of_block)(block) if writer.scan else of_block(block))
    return {"layers": layers, "real": (source.segment > 0).astype(jnp.int32)}


def decode(writer: Spec, params: dict, token_BL, position_BL, real_BL, state: dict):
    """Family.decode; a row reads all of its source, whatever segment that is."""
    c = writer.cfg
    seen = Seen(position_BL, jnp.ones_like(token_BL), memory=Memory(None, state["real"]))
    x_BLD = embed(c, params["embedding"], token_BL)
    out: Any = Stack(writer).apply({"params": params["decoder"]}, x_BLD, seen, state["layers"])
    return as_logits_want(c, out[0]), state | {"layers": out[1]}


def flops_per_token(reader: Spec, writer: Spec, sources: float, length: int) -> float:
    """Operations of a training step for each token read or written; `sources` are read for each that is written."""
    memory = round(sources * length)
    weights = products(writer, sources) + sources * products(reader) + writer.vocab * writer.cfg.dims.D
    written = 6.0 * weights + score_flops(writer, length, memory) + sources * score_flops(reader, memory)
    return written / (1 + sources)


def family(cfg: EncoderDecoderConfig, setting: Setting) -> Family:
    if setting.head.kind != "tokens":
        raise UserError(
            f"model.kind='encoder_decoder' writes tokens, and {setting.head.kind!r} are asked of it: "
            f"let it write them as text, or use model.kind='encoder'"
        )
    source_length = setting.source_length or setting.length
    # Sources are as long as they are, so there is padding between them whatever the targets are.
    reader = spec_of(cfg, setting._replace(length=source_length, packed=True), causal=False)
    writer = spec_of(cfg, setting, causal=True)._replace(layers=cfg.decoder_layers or cfg.dims.N, crosses=True)
    module = EncoderDecoder(reader, writer)
    init, axes = parameters(module, SAMPLE._replace(source=Source(*[SAMPLE.token] * 3)))

    def apply(params, batch, noise=None, carry=()) -> Hidden:
        out: Any = module.apply({"params": params}, batch, noise)
        return Hidden(out)

    def reorder(state, row_B):
        rows = lambda axis: lambda x: jnp.take(x, row_B, axis=axis, mode="clip")
        return {"layers": jax.tree.map(rows(int(writer.scan)), state["layers"]), "real": rows(0)(state["real"])}

    return Family(
        init=init,
        axes=axes,
        apply=apply,
        head=lambda params: params["embedding" if cfg.tied else "head"],
        decode=functools.partial(decode, writer),
        read=functools.partial(read, reader, writer),
        reorder=reorder,
        vocab=setting.vocab,
        precision=writer.precision,
        flops_per_token=functools.partial(flops_per_token, reader, writer, source_length / setting.length),
        length=writer.length if cfg.position == "learned" else None,
        source_length=reader.length if cfg.position == "learned" else None,
    )
