"""Many steps of several CPU devices on few cores come to their end: the loop bounds what is in flight.

In processes of their own, with the pool of threads that users have. Unbounded dispatch hung within seconds.
"""

import json
import os
import subprocess
import sys

import pytest

from jaxlm.config import dump
from tests import tiny_run
from tests.faults.injector import ROOT

TIMEOUT = 1_200  # seconds; XLA itself gives up on a rendezvous after about 40


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps, overrides",
    [
        (10_000, ["mesh.devices=2"]),
        (10_000, ["mesh.devices=2", "mesh.layout=sharded"]),
        (3_000, ["mesh.devices=8"]),
        (3_000, ["mesh.devices=8", "step.compile=pmap"]),
        (3_000, ["mesh.devices=8", "mesh.layout=sharded"]),
        (3_000, ["mesh.devices=none", "mesh.layout=axes", "mesh.data=2", "mesh.fsdp=2", "mesh.tensor=2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else f"{value} steps",
)
def test_a_long_run_ends(tmp_path, steps, overrides):
    rare = ["loop.log_every=500", "loop.eval_every=1000", "loop.save_every=1000"]
    sizes = ["data.batch=8", "model.vocab=264", f"loop.steps={steps}"]
    cfg = tiny_run.config(tiny_run.write_text(tmp_path), *sizes, *rare, *overrides)
    (tmp_path / "long.json").write_text(json.dumps(dump(cfg)))
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"}
    done = subprocess.run(
        [sys.executable, "-m", "jaxlm", "train", "long.json", "--json"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout)["step"] == steps
