"""From a config to a family of models: one row for each."""

from typing import Annotated

import pydantic

from jaxlm.models import recurrent, transformer
from jaxlm.models.family import Family, Setting
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig

ModelConfig = Annotated[TransformerConfig | RecurrentConfig, pydantic.Field(discriminator="kind")]

FAMILIES = {
    TransformerConfig: transformer.family,
    RecurrentConfig: recurrent.family,
}


def build(cfg: ModelConfig, *, vocab: int, length: int, packed: bool, platform: str) -> Family:
    """The family of `cfg` for rows of `length` tokens over `vocab` ids on `platform` (cpu, gpu, tpu)."""
    return FAMILIES[type(cfg)](cfg, Setting(vocab=vocab, length=length, packed=packed, platform=platform))
