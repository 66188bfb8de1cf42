"""From a config to a family of models: one row for each."""

from typing import Annotated

import pydantic

from jaxlm.models import encoder, encoder_decoder, recurrent, transformer
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.encoder_decoder import EncoderDecoderConfig
from jaxlm.models.family import Family, Head, Setting
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig

ModelConfig = Annotated[
    TransformerConfig | EncoderConfig | EncoderDecoderConfig | RecurrentConfig, pydantic.Field(discriminator="kind")
]

FAMILIES = {
    TransformerConfig: transformer.family,
    EncoderConfig: encoder.family,
    EncoderDecoderConfig: encoder_decoder.family,
    RecurrentConfig: recurrent.family,
}


def build(
    cfg: ModelConfig,
    *,
    vocab: int,
    length: int,
    packed: bool,
    platform: str,
    head: Head | None = None,
    source_length: int | None = None,
) -> Family:
    """The family of `cfg` for rows of `length` tokens over `vocab` ids on `platform` (cpu, gpu, tpu)."""
    head = head or Head()
    assert (head.kind in ("classes", "tags")) == (head.classes > 1), f"{head}: two classes or more, where there are any"
    return FAMILIES[type(cfg)](cfg, Setting(vocab, length, packed, platform, head, source_length))
