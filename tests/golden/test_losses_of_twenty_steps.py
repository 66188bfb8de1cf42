"""The losses of twenty tiny steps, as they were when somebody last looked at them.

UPDATE_GOLDEN=1 pytest tests/golden writes them anew.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxlm.run import train
from tests import tiny_run
from tests.rows import short

CASES = {
    "adamw": [],
    "muon": ["optimizer.kind=muon", "optimizer.schedule.warmup=2", "optimizer.average=0.9"],
    "llama": [
        "model.position=rotary", "model.norm=rmsnorm", "model.activation=swiglu", "model.kv_heads=1",
        "model.tied=false", "model.qk_norm=true", "step.microbatches=2",
    ],
    "chunked": ["data.rows=chunked", "loss.z_loss=1e-4", "loss.label_smoothing=0.1", "loss.chunk=5"],
}  # fmt: skip


@pytest.mark.parametrize("name", short(CASES, "adamw", "muon"))
def test_twenty_steps_have_the_losses_they_had(name, tmp_path):
    cfg = tiny_run.config(tiny_run.write_text(tmp_path), "loop.log_every=1", *CASES[name])
    train(cfg, tmp_path / "run", shards_dir=tmp_path / "shards")
    found = tiny_run.metrics(tmp_path / "run")
    got = {
        "train": [line["loss"] for line in found if "loss" in line],
        "validation": [line["eval/loss"] for line in found if "eval/loss" in line],
    }
    golden = Path(__file__).with_name(f"{name}.json")
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(json.dumps(got, indent=1) + "\n")
    expected = json.loads(golden.read_text())
    far = [
        f"{part} {n}: {a:.6f}, was {b:.6f}"
        for part in expected
        for n, (a, b) in enumerate(zip(got[part], expected[part], strict=True), 1)
        if not np.isclose(a, b, rtol=1e-4)  # sums differ by 1e-6 between CPUs; 20 steps let that grow
    ]
    assert not far, (
        f"the losses of {name!r} have changed from number {far[0]}.\n"
        f"Where only late steps differ, some sum has another order. Where the first one does, so do the "
        f"initial parameters, the tokenizer, the rows or the loss. Where the second does, the gradient, the "
        f"optimiser or the schedule. If that is what you wanted, say so in the commit, and run\n"
        f"    UPDATE_GOLDEN=1 pytest tests/golden"
    )
