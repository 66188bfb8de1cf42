"""The scripts that start a cluster ask for what they say."""

import os
import re
import subprocess
from pathlib import Path

SLURM = Path(__file__).parents[1] / "launch" / "prepare" / "slurm.sh"


def test_a_step_of_slurm_has_every_core_of_a_node_that_the_job_has_alone(tmp_path):
    told = tmp_path / "told"
    for name in ("dask", "srun", "jaxlm"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {told}\n')
        (tmp_path / name).chmod(0o755)
    found = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "64"}
    command = ["bash", SLURM, "my_corpus.py", "--set", "part_bytes=1"]
    subprocess.run(command, env=found, capture_output=True, check=False, timeout=20)  # its output ends after srun
    # The scheduler may be ended before it has told anything.
    prepare, step = sorted(line for line in told.read_text().splitlines() if not line.startswith("dask"))
    address = prepare.split()[-1]
    assert prepare == f"jaxlm prepare my_corpus.py --set part_bytes=1 --cluster {address}"
    assert step.startswith(f"srun --cpus-per-task=64 dask worker {address} --nthreads 1 --nworkers -1 ")
    asked = [line.split()[1:] for line in SLURM.read_text().splitlines() if line.startswith("#SBATCH")]
    assert ["--exclusive"] in asked and ["--ntasks-per-node=1"] in asked


def test_no_worker_is_paused_or_ended_by_a_limit_of_dasks_own():
    files = [SLURM, SLURM.with_name("kubernetes.yaml"), SLURM.parents[1] / "README.md"]
    lines = [line for file in files for line in re.sub('[",]', "", file.read_text()).splitlines()]
    started = [line for line in lines if "dask worker " in line]
    assert len(started) == 3 and all("--memory-limit 0" in line for line in started)
