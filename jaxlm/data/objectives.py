"""(being written)"""
from typing import Literal

from jaxlm.config import Config


class NextToken(Config):
    """Predict each token from those before it."""

    kind: Literal["next_token"] = "next_token"


ObjectiveConfig = NextToken  # a discriminated union once there are several
