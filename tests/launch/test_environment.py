"""Who the processes of a run are is read from what started them; what is half told is refused."""

import pytest

from jaxlm.errors import UserError
from jaxlm.launch.environment import Cluster, first_host, found

OURS = {"JAXLM_COORDINATOR": "10.0.0.1:8476", "JAXLM_NUM_PROCESSES": "4", "JAXLM_PROCESS_ID": "3"}
SLURM = {"SLURM_JOB_ID": "4100", "SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_STEP_NODELIST": "gpu[07-09],cpu1"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        (OURS, Cluster("10.0.0.1:8476", 4, 3, "JAXLM_COORDINATOR")),
        (OURS | SLURM, Cluster("10.0.0.1:8476", 4, 3, "JAXLM_COORDINATOR")),
        (SLURM, Cluster("gpu07:61444", 8, 5, "SLURM")),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        ({"SLURM_NTASKS": "8", "SLURM_JOB_ID": "1"}, None),  # in the batch script itself, outside of srun
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, Cluster(None, 2, 1, "MPI", "mpi4py")),
        ({"PMI_SIZE": "2", "PMI_RANK": "0"}, Cluster(None, 2, 0, "MPI", "mpi4py")),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}, Cluster(None, 2, 1, "the TPU pod", "gke-tpu")),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
    ],
)
def test_a_cluster_is_what_started_the_process_says(environment, wanted):
    assert found(environment) == wanted


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"JAXLM_COORDINATOR": ""}, "JAXLM_NUM_PROCESSES and JAXLM_PROCESS_ID are set, but not JAXLM_COORDINATOR"),
        ({"JAXLM_COORDINATOR": "10.0.0.1"}, "JAXLM_COORDINATOR='10.0.0.1' is not HOST:PORT"),
        ({"JAXLM_NUM_PROCESSES": "four"}, "JAXLM_NUM_PROCESSES='four' is no whole number"),
        ({"JAXLM_PROCESS_ID": "-1"}, "JAXLM_PROCESS_ID='-1' is no whole number"),
        ({"JAXLM_PROCESS_ID": "4"}, "JAXLM_PROCESS_ID=4 is not below JAXLM_NUM_PROCESSES=4"),
    ],
)
def test_what_is_half_told_or_wrong_is_refused_with_its_value(change, says):
    with pytest.raises(UserError, match=says):
        found(OURS | change)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (SLURM | {"SLURM_NTASKS": "x"}, "SLURM_NTASKS='x' is no whole number"),
        ({name: SLURM[name] for name in ("SLURM_NTASKS", "SLURM_STEP_NODELIST")}, "SLURM_JOB_ID is not set"),
        ({"PMI_SIZE": "2"}, "PMI_RANK is not set"),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "-"}, "TPU_WORKER_ID='-' is no whole number"),
    ],
)
def test_variables_of_a_cluster_that_are_none_are_told(environment, says):
    with pytest.raises(UserError, match=says):
        found(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("one", "one"), ("one,two", "one"), ("gpu[3,5]", "gpu3"), ("gpu[08-11]", "gpu08"), ("a[1-2]-ib", "a1-ib")],
)
def test_the_first_host_of_a_list_is_the_coordinator(nodes, first):
    assert first_host(nodes) == first
