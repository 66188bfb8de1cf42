"""From a config to a family of models: one row for each."""

from typing import Annotated

import pydantic

from jaxlm.models import recurrent, transformer
from jaxlm.models.family import TOKENS, Family, Head, Setting
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.transformer import TransformerConfig

ModelConfig = Annotated[TransformerConfig | RecurrentConfig, pydantic.Field(discriminator="kind")]

FAMILIES = {
    TransformerConfig: transformer.family,
    RecurrentConfig: recurrent.family,
}


def build(cfg: ModelConfig, *, vocab: int, length: int, packed: bool, platform: str, head: Head = TOKENS) -> Family:
    """The family of `cfg` for rows of `length` tokens over `vocab` ids on `platform` (cpu, gpu, tpu)."""
    setting = Setting(vocab=vocab, length=length, packed=packed, platform=platform, head=head)
    return FAMILIES[type(cfg)](cfg, setting)
