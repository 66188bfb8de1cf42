"""RunConfig: everything a run is told, and the rules between its parts."""

from pathlib import Path
from typing import Any, Literal

import pydantic

from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import Config, load
from jaxlm.data.dataset import DataConfig
from jaxlm.losses import LossConfig
from jaxlm.mesh import MeshConfig
from jaxlm.models.build import ModelConfig
from jaxlm.run_folder import FORMAT, check_format
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, OptimizerConfig
from jaxlm.training.telemetry import TelemetryConfig


class StepConfig(Config):
    microbatches: int = pydantic.Field(default=1, gt=0)  # parts of the batch, one after another: less memory, same step
    compile: Literal["auto", "jit", "shard_map", "pmap"] = "auto"  # auto: shard_map for replicated state on CPU


class RunConfig(Config):
    format_version: Literal[1] = FORMAT
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][\w.-]*$")  # of the run folder
    seed: int = pydantic.Field(
        default=0, ge=0, lt=2**32
    )  # of initial parameters and dropout; data.seed orders the rows
    init: str | None = None  # a run folder whose parameters this run starts from; None: at random
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig = AdamWConfig()
    loss: LossConfig = LossConfig()
    step: StepConfig = StepConfig()
    loop: LoopConfig
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _written_by_this_version(cls, saved: Any) -> Any:
        """Told before anything else: what else another version writes is no mistake of the user."""
        if isinstance(saved, dict):
            check_format(saved)
        return saved

    @pydantic.model_validator(mode="after")
    def _fields_agree(self):
        if self.data.batch % self.step.microbatches:
            raise ValueError(
                f"data.batch={self.data.batch} is not a multiple of "
                f"step.microbatches={self.step.microbatches}: change one"
            )
        warmup = self.optimizer.schedule.warmup
        if warmup > self.loop.steps:
            raise ValueError(
                f"optimizer.schedule.warmup={warmup} is over loop.steps={self.loop.steps}: "
                f"the peak would not be reached, so give more steps or a shorter warm-up, "
                f"e.g. --set optimizer.schedule.warmup={self.loop.steps // 10}"
            )
        if self.model.kind == "decoder" and self.model.position == "learned":
            if self.data.rows == "lanes":
                raise ValueError(
                    "data.rows='lanes' counts positions on through each document, and model.position='learned' has "
                    "only data.length of them: use model.position='rotary', or data.rows='chunked' or 'packed'"
                )
            longest = self.model.max_length
            if longest is not None and longest < self.data.length:
                raise ValueError(f"model.max_length={longest} is under data.length={self.data.length}: raise it")
        return self

    @pydantic.model_validator(mode="after")
    def _objective_suits_the_model(self):
        objective, model = self.data.objective, self.model
        asks = f"data.objective.kind={objective.kind!r}"
        sources = objective.kind in ("spans", "seq2seq") or (objective.kind == "prefix" and objective.source)
        if sources != (model.kind == "encoder_decoder"):
            mend = (
                "use model.kind='encoder_decoder'"
                if sources
                else "use data.objective.kind='seq2seq', 'spans', or 'prefix' with source=True"
            )
            raise ValueError(f"{asks} {'has' if sources else 'has no'} sources, and model.kind={model.kind!r}: {mend}")
        both = model.kind == "encoder" or (model.kind == "recurrent" and model.bidirectional)
        if both and objective.kind in ("next_token", "prefix"):
            why = "model.bidirectional=True" if model.kind == "recurrent" else f"model.kind={model.kind!r}"
            mend = "set model.bidirectional=False" if model.kind == "recurrent" else "use model.kind='decoder'"
            raise ValueError(f"{why} sees what {asks} asks for: {mend}, or data.objective.kind='masked'")
        if objective.kind == "prefix" and model.kind == "recurrent":
            raise ValueError(f"{asks} lets a prefix be read from both sides, which model.kind='recurrent' cannot")
        at_last = objective.kind == "classification" and objective.at == "last"
        if not both and not sources and objective.kind in ("masked", "classification", "extraction") and not at_last:
            mend = ", or data.objective.at='last'" if objective.kind == "classification" else ""
            raise ValueError(
                f"{asks} asks for what only a model that reads from both sides can say, and model.kind="
                f"{model.kind!r} does not: use model.kind='encoder'{mend}"
            )
        if objective.kind == "extraction" and model.kind != "encoder":
            raise ValueError(f"{asks} needs a head that only model.kind='encoder' has, and it is {model.kind!r}")
        if objective.kind == "masked" and objective.sentence_order and not getattr(model, "sentence_order", False):
            raise ValueError(
                "data.objective.sentence_order=True asks what no head of the model answers: use model.kind='encoder' "
                "with model.sentence_order=True"
            )
        return self


def load_config(path_or_name: str | Path, *overrides: str) -> RunConfig:
    """A shipped config, a .py or .json file, or a run folder's, with `path=value` overrides."""
    return load(path_or_name, RunConfig, overrides)
