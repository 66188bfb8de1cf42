#!/bin/bash
#SBATCH --job-name=jaxlm-prepare
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=12:00:00
#
# sbatch --nodes N launch/prepare/slurm.sh CONFIG [OPTION...]: `jaxlm prepare CONFIG OPTION...` on all cores of N nodes.
# Run it from the folder where `corpora/` is, on a file system that all nodes share, with jaxlm[cluster] on the path.
set -eu

[ $# -gt 0 ] || { echo "usage: sbatch --nodes N $0 CONFIG [OPTION...]" >&2; exit 2; }
# A port of this job's own: two jobs may share the first node.
address="tcp://$(hostname -f):$((20000 + SLURM_JOB_ID % 10000))"

# Workers keep memory that they free, where Dask tells them to hand it back at once, and have no profiler.
export MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_MMAP_MAX_=0 DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False
dask scheduler --port "${address##*:}" --no-dashboard &
scheduler=$!
trap 'kill $scheduler' EXIT
# A step has one core unless it asks for more: since SLURM 22.05 it inherits no --cpus-per-task.
# Dask's own limit is an equal share of memory for each worker: one that reads a large file would be paused, then killed.
srun --cpus-per-task="$SLURM_CPUS_ON_NODE" dask worker "$address" --nthreads 1 --nworkers -1 --memory-limit 0 \
    --no-dashboard --death-timeout 60 --local-directory "${TMPDIR:-/tmp}" &
jaxlm prepare "$@" --cluster "$address"
