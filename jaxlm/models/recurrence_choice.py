"""Which backend runs a recurrence: a pure function of what is known when a model is built.

scan    everywhere: the loops of recurrence.py
cudnn   NVIDIA's LSTM, through `jax.experimental.rnn`: recurrence_cudnn.py. Only where it is asked for, as long as it
        was tested by its definition alone, and on no GPU
"""

import functools
import logging
from typing import Literal, NamedTuple

from jaxlm.errors import UserError
from jaxlm.models.layers import Precision

logger = logging.getLogger("jaxlm")

Backend = Literal["auto", "scan", "cudnn"]


class Case(NamedTuple):
    """All that the choice of a backend depends on."""

    platform: str  # cpu, gpu, tpu
    cell: str
    precision: Precision
    packed: bool  # rows hold several documents, or padding, or go on from batch to batch
    projection: int | None = None
    cudnn: bool = False  # there is one


class Choice(NamedTuple):
    name: Literal["scan", "cudnn"]
    reason: str = ""  # why not cuDNN, where it could run; "": nothing else was to be had, or asked for


def choose(case: Case, wanted: Backend = "auto") -> Choice:
    """The backend for `case`; UserError where `wanted` names one that cannot run it."""
    why = refusal(case)
    if wanted == "cudnn":
        if why:
            raise UserError(f"model.backend='cudnn' cannot run here: {why}. Mend that, or use 'auto'")
        return Choice("cudnn")
    could = wanted == "auto" and not why
    return Choice("scan", "model.backend='cudnn' may be faster, but was not run on a GPU by us" if could else "")


def refusal(case: Case) -> str | None:
    """Why cuDNN's LSTM cannot compute `case`; None: it can. Dropped recurrent weights are weights like others to it."""
    if case.platform != "gpu":
        return f"it runs on a GPU, and the platform is {case.platform!r}"
    if not case.cudnn:
        return "there is no NVIDIA GPU with cuDNN here"
    if case.cell != "lstm":
        return f"jax offers its LSTM alone, and model.cell={case.cell!r}"
    if case.projection is not None:
        return f"jax offers no projection of it, and model.projection={case.projection}"
    if case.packed:
        return "its state cannot begin anew within a row, and only data.rows='chunked' never asks for that"
    if case.precision == "bfloat16_operands":
        return f"it multiplies in float32 or TF32, and model.precision={case.precision!r}"
    return None


@functools.cache
def announce(choice: Choice) -> None:
    """Log a choice, once each in a process."""
    level = logging.INFO if choice.reason else logging.DEBUG
    logger.log(level, "recurrence by %s%s", choice.name, choice.reason and f": {choice.reason}")
