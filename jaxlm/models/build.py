"""From a config to a family of models: one row for each."""

from typing import Annotated

import pydantic

from jaxlm.models import encoder, encoder_decoder, linear, recurrent, transformer
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import EncoderDecoderConfig
from jaxlm.models.family import TOKENS, Family, Head, Setting
from jaxlm.models.linear import LinearModelConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig

ModelConfig = Annotated[
    TransformerConfig | EncoderConfig | EncoderDecoderConfig | RecurrentConfig | LinearModelConfig,
    pydantic.Field(discriminator="kind"),
]

FAMILIES = {
    TransformerConfig: transformer.family,
    EncoderConfig: encoder.family,
    EncoderDecoderConfig: encoder_decoder.family,
    RecurrentConfig: recurrent.family,
    LinearModelConfig: linear.family,
}


def build(
    cfg: ModelConfig,
    *,
    vocab: int,
    length: int,
    packed: bool,
    platform: str,
    head: Head = TOKENS,
    source_length: int | None = None,
    prefix: bool = False,
    ring: bool = False,
) -> Family:
    """The family of `cfg` for rows of `length` tokens over `vocab` ids on `platform` (cpu, gpu, tpu).

    `head`, `source_length`, `prefix` and `ring` are those of `Setting`.
    """
    assert (head.kind in ("classes", "tags")) == (head.classes > 1), f"{head}: two classes or more, where there are any"
    return FAMILIES[type(cfg)](cfg, Setting(vocab, length, packed, platform, head, source_length, prefix, ring))
