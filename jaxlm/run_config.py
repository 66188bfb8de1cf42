"""RunConfig: everything a run is told, and the rules between its parts."""

from pathlib import Path
from typing import Any, Literal

import pydantic

from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import Config, load
from jaxlm.data.dataset import DataConfig
from jaxlm.data.objectives import example
from jaxlm.losses import LossConfig
from jaxlm.mesh import MeshConfig
from jaxlm.misfit import misfit
from jaxlm.models.build import ModelConfig
from jaxlm.models.stack_config import StackConfig
from jaxlm.run_folder import FORMAT, check_format
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, OptimizerConfig
from jaxlm.training.telemetry import TelemetryConfig


class StepConfig(Config):
    microbatches: int = pydantic.Field(default=1, gt=0)  # parts of the batch, one after another: less memory, same step
    compile: Literal["auto", "jit", "shard_map", "pmap"] = "auto"  # auto: shard_map for replicated state on CPU
    # strict: the same bits on 1, 2, 4 ... devices, at some cost of speed; fast: equal to about 1e-5
    deterministic: Literal["fast", "strict"] = "fast"
    parts: int = pydantic.Field(default=8, gt=0)  # strict: of the batch; a power of two, the most devices there can be

    @pydantic.model_validator(mode="after")
    def _strict_has_a_way_of_its_own(self):
        if self.deterministic == "fast":
            return self
        if self.parts & (self.parts - 1):
            raise ValueError(
                f"step.parts={self.parts} is no power of two, and step.deterministic='strict' sums pairs: "
                f"use {2 ** self.parts.bit_length()}"
            )
        for name, value in (("microbatches", 1), ("compile", "auto")):
            if (found := getattr(self, name)) != value:
                raise ValueError(
                    f"step.deterministic='strict' has parts (step.parts={self.parts}) and a way of its own, but "
                    f"step.{name}={found!r}: leave it out"
                )
        return self


IMPORTED = "(imported from "  # in the place of a source of text, which an imported model lacks


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
        if self.step.deterministic == "strict" and self.data.batch % self.step.parts:
            raise ValueError(
                f"data.batch={self.data.batch} is not a multiple of step.parts={self.step.parts}, into which "
                f"step.deterministic='strict' cuts it: change one"
            )
        if self.step.deterministic == "strict" and self.mesh.layout not in ("auto", "single", "replicated"):
            raise ValueError(
                f"step.deterministic='strict' replicates the state, but mesh.layout={self.mesh.layout!r} splits it: "
                f"use 'auto', 'single' or 'replicated', or step.deterministic='fast'"
            )
        for stage in self.data.mixture.stages if self.data.mixture is not None else ():
            if stage.step >= self.loop.steps:
                raise ValueError(
                    f"data.mixture.stages has one from step {stage.step} on, and loop.steps={self.loop.steps}: it "
                    f"would never come, so begin it earlier, or train longer"
                )
        warmup = self.optimizer.schedule.warmup
        if warmup > self.loop.steps:
            raise ValueError(
                f"optimizer.schedule.warmup={warmup} is over loop.steps={self.loop.steps}: "
                f"the peak would not be reached, so give more steps or a shorter warm-up, "
                f"e.g. --set optimizer.schedule.warmup={self.loop.steps // 10}"
            )
        if self.optimizer.kind == "nt_asgd":
            first = (self.optimizer.patience + 2) * self.loop.eval_every
            if first >= self.loop.steps:
                raise ValueError(
                    f"optimizer.patience={self.optimizer.patience} and loop.eval_every={self.loop.eval_every} let "
                    f"averaging begin at step {first} at the earliest, and loop.steps={self.loop.steps}: "
                    f"evaluate more often, or use optimizer.kind='sgd'"
                )
        if isinstance(self.model, StackConfig) and self.model.position == "learned":
            if self.data.rows == "lanes":
                raise ValueError(
                    "data.rows='lanes' counts positions on through each document, and model.position='learned' has "
                    "only data.length of them: use model.position='rotary', or data.rows='chunked' or 'packed'"
                )
            longest = self.model.max_length
            if longest is not None and longest < self.data.length:
                raise ValueError(f"model.max_length={longest} is under data.length={self.data.length}: raise it")
            source = example(self.data.objective, 1, self.data.length).source if longest is not None else None
            if source is not None and longest < (read := source.token.shape[1]):
                raise ValueError(
                    f"model.max_length={longest} is under the {read} tokens of a source that "
                    f"data.objective.kind={self.data.objective.kind!r} makes here: raise it"
                )
        return self

    @pydantic.model_validator(mode="after")
    def _objective_suits_the_model(self):
        if fault := misfit(self.data.objective, self.model):
            raise ValueError(fault)
        return self


def load_config(path_or_name: str | Path, *overrides: str) -> RunConfig:
    """A shipped config, a .py or .json file, or a run folder's, with `path=value` overrides."""
    return load(path_or_name, RunConfig, overrides)


def imported(cfg: RunConfig) -> bool:
    """Is it a model from elsewhere that was given no text yet?"""
    return cfg.data.source.startswith(IMPORTED)
