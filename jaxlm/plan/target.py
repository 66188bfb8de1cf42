"""What a plan is for: devices that need not be there, and the published figures of their chips.

    cpu, cpu:N     N devices of this machine, one for each core by default
    v5e:16x16      a TPU slice by its topology, through libtpu (the extra `plan-tpu`)
    h100x8         GPUs, eight to a host, through JAX's CUDA plugin (the extra `plan-gpu`)

Left out: several TPU slices, other GPUs.
"""

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxlm import host
from jaxlm.errors import UserError

TPUS = ("v5e", "v5p", "v6e")
HOST = 8  # H100s to a host, joined by NVLink (DGX H100)
SHOWN = "cpu, cpu:8, v5e:16x16, v5p:4x4x4, v6e:16x16, h100x8, h100x64"


class Chip(NamedTuple):
    """Published figures of one device."""

    flops: float  # dense bfloat16, a second
    memory: int  # bytes
    bandwidth: float  # of that memory, bytes a second
    link: float  # to other devices, bytes a second that leave it
    wide_link: float  # the same in groups larger than a host; where all are joined alike, `link`
    source: str


# link: half of the two-way figure of the TPUs' pages. For an H100 NVLink 4's 900 GB/s are two-way; the rings of a
# larger group leave a host by its eight 400 Gb/s ports.
CHIPS = {
    "v5e": Chip(197e12, 16 * 10**9, 819e9, 200e9, 200e9, "docs.cloud.google.com/tpu/docs/v5e"),
    "v5p": Chip(459e12, 95 * 2**30, 2765e9, 600e9, 600e9, "docs.cloud.google.com/tpu/docs/v5p-training"),
    "v6e": Chip(918e12, 32 * 10**9, 1638e9, 400e9, 400e9, "docs.cloud.google.com/tpu/docs/v6e"),
    "h100": Chip(989e12, 80 * 10**9, 3352e9, 450e9, 400e9, "NVIDIA H100 and DGX H100 data sheets (SXM5)"),
}

# What XLA's compiler asks of a GPU: `gpu_device_info` as XLA prints it on an H100 (openxla/xla#25919).
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84929347584
  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 7 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
# Bytes that a program may use. TPUs: what libtpu 0.0.52 itself calls available when it refuses one. An H100's 79.6 GiB:
# chosen, all but what CUDA, NCCL and jax keep (jax takes 0.75 of it unless XLA_PYTHON_CLIENT_MEM_FRACTION says more).
LIMITS = {
    "v5e": int(15.75 * 2**30),
    "v5p": int(95.73 * 2**30),
    "v6e": int(31.24 * 2**30),
    "h100": int(0.92 * 84_929_347_584),
}


class Target(NamedTuple):
    """Devices to plan for."""

    name: str  # as asked for
    platform: str  # cpu, gpu, tpu
    devices: int
    chip: str | None = None  # a key of CHIPS; None: a CPU, of which nothing is published that bounds a step
    topology: str = ""  # as the compiler names it

    @property
    def figures(self) -> Chip | None:
        return None if self.chip is None else CHIPS[self.chip]


def parse(name: str) -> Target:
    """UserError for what is no target."""
    if found := re.fullmatch(r"cpu(?::(\d+))?", name):
        count = int(found[1]) if found[1] else host.cores()
        if 1 <= count <= 4096:  # chosen: far more than anyone can wait for
            return Target(name, "cpu", count)
    elif found := re.fullmatch(rf"({'|'.join(TPUS)}):(\d+(?:x\d+)+)", name):
        sides = [int(side) for side in found[2].split("x")]
        wanted = 3 if found[1] == "v5p" else 2
        if len(sides) != wanted:
            raise UserError(
                f"--target {name}: a {found[1]} slice has {wanted} sides, and {found[2]} has {len(sides)}: "
                f"give e.g. {found[1]}:{'4x4x4' if wanted == 3 else '4x4'}"
            )
        count = 1
        for side in sides:
            count *= side
        if count:
            return Target(name, "tpu", count, found[1], name)
    elif found := re.fullmatch(r"h100x(\d+)", name):
        count = int(found[1])
        if count and (count <= HOST or count % HOST == 0):
            hosts = max(1, count // HOST)
            return Target(name, "gpu", count, "h100", f"{hosts}x1x{count // hosts}")
        raise UserError(
            f"--target {name}: GPUs come {HOST} to a host, and {count} are neither at most {HOST} nor a multiple: "
            f"give h100x{max(1, -(-count // HOST)) * HOST}"
        )
    raise UserError(f"--target {name!r} is none of the devices that a plan can be made for: give one as {SHOWN}")


def prepare(target: Target) -> None:
    """Set the environment that compiling for `target` wants; call before jax starts. UserError without its wheel."""
    if target.platform == "tpu" and importlib.util.find_spec("libtpu") is None:
        raise UserError(_missing(target, "libtpu", "plan-tpu"))
    if target.platform == "gpu" and not _cuda():
        raise UserError(_missing(target, "JAX's CUDA plugin", "plan-gpu"))
    os.environ["JAX_PLATFORMS"] = "cpu"  # shapes are traced there, whatever this machine has
    if target.platform == "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # this is no machine of Google's: ask no server what it is
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # another plan may run beside this one
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what a plan says of memory, XLA need not say before
    # Else libtpu complains at length that it does not know where it is; what it compiles for is said apart.
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")


def _cuda() -> bool:
    return any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))


def _missing(target: Target, wheel: str, extra: str) -> str:
    return (
        f"--target {target.name} is compiled by {wheel}, which is not installed (no such device is needed): "
        f"make install-plan, or pip install 'jaxlm[{extra}]'"
    )


def devices(target: Target) -> Sequence[Any]:
    """The devices of `target`: jax's own on CPU, else those of a topology, for which one can only compile."""
    import jax
    from jax.experimental import topologies

    if target.platform == "cpu":
        found = jax.devices("cpu")
        if len(found) < target.devices:
            raise UserError(f"--target {target.name}: jax has started with {len(found)} CPU devices: ask for fewer")
        return found[: target.devices]
    how: dict[str, Any] = {"topology_name": target.topology}
    if target.platform == "gpu":
        how = {"topology_name": "", "target_config": H100, "topology": target.topology}
    try:
        return topologies.get_topology_desc(platform="cuda" if target.platform == "gpu" else "tpu", **how).devices
    except jax.errors.JaxRuntimeError as error:
        first = str(error).splitlines()[0]
        raise UserError(f"--target {target.name}: the compiler knows no such topology ({first})") from None


def memory(target: Target) -> int:
    """Bytes that a program may use of one device; of all CPU devices together, since they share them."""
    return host.available_memory() if target.chip is None else LIMITS[target.chip]
