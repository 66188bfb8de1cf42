"""Which processes form this run, as whoever started them says: jaxlm launch, SLURM, MPI, Kubernetes or a TPU pod."""

import ctypes
import logging
import os
import re
import signal
import sys
from collections.abc import Mapping
from typing import NamedTuple

from jaxlm import beat, ranks
from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

COORDINATOR, COUNT, RANK = OURS = ("JAXLM_COORDINATOR", "JAXLM_NUM_PROCESSES", "JAXLM_PROCESS_ID")
BIND = "JAXLM_BIND"  # host:port that process 0 listens on; by default the port of JAXLM_COORDINATOR, on all addresses


class Cluster(NamedTuple):
    coordinator: str | None  # host:port of process 0; None: jax finds it, by `method`
    count: int
    rank: int
    source: str  # who says so
    method: str | None = None  # jax's name for a way to find the others


def found(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that `environment` tells of; None: this process is alone. UserError where it is half told."""
    if any(name in environment for name in OURS):
        return _ours(environment)
    step = environment.keys() >= {"SLURM_STEP_NODELIST", "SLURM_NTASKS"}  # else this is the batch script itself
    if step and (count := _number(environment, "SLURM_NTASKS")) > 1:
        return _slurm(environment, count)
    for size, rank in (("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")):
        if size in environment and (count := _number(environment, size)) > 1:
            return Cluster(None, count, _number(environment, rank), "MPI", "mpi4py")
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if len(hosts) > 1:
        return Cluster(None, len(hosts), _number(environment, "TPU_WORKER_ID"), "the TPU pod", "gke-tpu")
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name)
    if value is None:
        raise UserError(f"{name} is not set, though others of its kind are: start with what sets all of them")
    if not re.fullmatch(r"\d{1,9}", value):
        raise UserError(f"{name}={value!r} is no whole number: give one")
    return int(value)


def join(environment: Mapping[str, str] = os.environ) -> None:
    """Become one of the processes that `environment` tells of; nothing where it tells of none. Before jax starts."""
    if beat.begin():
        _end_with_parent()
    cluster = found(environment)
    if cluster is None or cluster.count == 1:
        return
    if cluster.rank > 0:
        logging.getLogger("jaxlm").setLevel(logging.WARNING)
    if cluster.coordinator is None:
        _require_mpi4py(cluster)
        ranks.detect(cluster.method or "")
    else:
        ranks.join(cluster.coordinator, cluster.count, cluster.rank, bind=environment.get(BIND))
    log.info("process %d of %d, as %s says", ranks.rank(), ranks.count(), cluster.source)


def _end_with_parent() -> None:
    """On Linux: when the supervisor is killed, so is this process. Nobody would end it, and its run has a lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)


def _ours(environment: Mapping[str, str]) -> Cluster:
    if missing := [name for name in OURS if not environment.get(name)]:
        raise UserError(
            f"{' and '.join(sorted(set(OURS) - set(missing)))} are set, but not {' and '.join(missing)}: set all "
            f"three (host:port of process 0, how many processes, and the number of this one), or none"
        )
    coordinator, count, rank = environment[COORDINATOR], _number(environment, COUNT), _number(environment, RANK)
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise UserError(f"{COORDINATOR}={coordinator!r} is not HOST:PORT: give process 0's, e.g. 10.0.0.1:8476")
    if not rank < count:
        raise UserError(f"{RANK}={rank} is not below {COUNT}={count}: processes are numbered from 0")
    return Cluster(coordinator, count, rank, COORDINATOR)


def _slurm(environment: Mapping[str, str], count: int) -> Cluster:
    """One process a task. The port follows from the job, so that two jobs on a node do not meet."""
    first = first_host(environment["SLURM_STEP_NODELIST"])
    port = 61440 + _number(environment, "SLURM_JOB_ID") % 4096  # among the ports that systems give out last
    return Cluster(f"{first}:{port}", count, _number(environment, "SLURM_PROCID"), "SLURM")


def first_host(nodes: str) -> str:
    """The first of a node list as SLURM writes it.

    >>> first_host("gpu[03-05,9],cpu1"), first_host("one,two"), first_host("a[1-2]b")
    ('gpu03', 'one', 'a1b')
    """
    first = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\])?([^,\[]*)", nodes)
    if first is None:
        raise UserError(f"SLURM_STEP_NODELIST={nodes!r} names no node: start with srun, or set {', '.join(OURS)}")
    return "".join(part or "" for part in first.groups())


def _require_mpi4py(cluster: Cluster) -> None:
    if cluster.method != "mpi4py":
        return
    try:
        import mpi4py  # type: ignore[import-not-found]  # noqa: F401  (jax imports it)
    except ImportError:
        raise UserError(
            f"MPI started {cluster.count} processes, and to find each other they need mpi4py: pip install mpi4py, "
            f"or set {', '.join(OURS)} in each"
        ) from None
