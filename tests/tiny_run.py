"""A whole run in seconds: 6 KB of text, bytes, two layers of width 32, twenty steps on two devices."""

import json
from pathlib import Path

import pytest

from jaxlm import run as runs
from jaxlm.checkpoint import Checkpoints
from jaxlm.checkpoint_folder import CheckpointConfig
from jaxlm.config import override
from jaxlm.data.dataset import ContiguousSplit, DataConfig
from jaxlm.data.tokenizer_config import BytesConfig
from jaxlm.flat import parameters_sha256
from jaxlm.launch.resume import TIMINGS
from jaxlm.mesh import MeshConfig
from jaxlm.models.transformer import TransformerConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.loop import LoopConfig
from jaxlm.training.optimizer import AdamWConfig, CosineConfig
from jaxlm.training.telemetry import TelemetryConfig

ROOT = Path(__file__).resolve().parent.parent


def write_text(folder: Path) -> Path:
    """About 6 KB of plain English of a small grammar, so that there is something to learn."""
    who = ("the old king", "a small bird", "my neighbour", "the green train", "nobody")
    does = ("sees", "follows", "remembers", "sings to", "forgets")
    lines = [f"{who[n % 5]} {does[n // 5 % 5]} {who[(n * n + 2) % 5]}.\n" for n in range(200)]
    path = folder / "text.txt"
    path.write_text("".join(lines))
    return path


def config(source: Path, *overrides: str) -> RunConfig:
    cfg = RunConfig(
        name="tiny",
        data=DataConfig(
            source=str(source),
            tokenizer=BytesConfig(),
            split=ContiguousSplit(validation=0.1, test=0.05),
            length=16,
            batch=4,
        ),
        model=TransformerConfig(
            layers=2, heads=2, width=32, ff_width=64, max_length=32, precision="float32", dropout=0.1
        ),
        optimizer=AdamWConfig(peak_rate=1e-2, schedule=CosineConfig(warmup=2)),
        loop=LoopConfig(steps=20, log_every=5, eval_every=10, save_every=5),
        mesh=MeshConfig(layout="replicated", devices=2),
        telemetry=TelemetryConfig(tensorboard=False),
    )
    return override(cfg, overrides)


def build_once(patch: pytest.MonkeyPatch) -> None:
    """Let runs of one shape share what the first of them built: to trace and compile is most of a tiny run.

    A run that goes on in a process of its own compiles anew: tests/faults/test_kill.py has those.
    """
    built, build = {}, runs.build

    def once(cfg: RunConfig, layout, vocab: int):
        data, shapes = cfg.data.model_dump(mode="json"), ("objective", "rows", "length", "batch")
        told = cfg.model_dump(mode="json", include={"model", "optimizer", "loss", "step", "seed"})
        key = json.dumps([told, {name: data[name] for name in shapes}, cfg.loop.steps, layout.dump(), vocab])
        if key not in built:
            built[key] = build(cfg, layout, vocab)
        return built[key]

    patch.setattr(runs, "build", once)


def parameters(run: Path, step: int | None = None) -> str:
    """parameters_sha256 of a saved step, by default the newest."""
    with Checkpoints(Path(run) / "checkpoints", CheckpointConfig(), read_only=True) as checkpoints:
        return parameters_sha256(checkpoints.read(step)[1])


def metrics(run: Path) -> list[dict]:
    """The lines of metrics.jsonl without timings."""
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in lines]
