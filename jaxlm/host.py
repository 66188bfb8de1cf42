"""The process before jax starts: its memory allocator, how many CPU devices it has, where programs are cached.

On CPU, XLA asks the allocator anew for all temporaries of each step, and glibc gives blocks over 32 MiB back to
the kernel: a small step then spends much of its time in page faults. Two settings of glibc cure most of it.
"""

import ctypes
import functools
import logging
import os
import platform
import sys
from pathlib import Path

from jaxlm.errors import UserError

log = logging.getLogger("jaxlm")

SWITCH = "JAXLM_ALLOCATOR"  # "off" leaves the allocator as it is
# Read by glibc when a process starts. hugetlb=1: ask for transparent huge pages; the rest: keep freed memory.
TUNABLES = {
    "glibc.malloc.hugetlb": "1",
    "glibc.malloc.mmap_max": "0",
    "glibc.malloc.trim_threshold": str(2**40),
    "glibc.malloc.top_pad": str(2**26),
}
# The same as mallopt(3) knows it, for a process that has started already: all but the huge pages.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def cores() -> int:
    """Cores this process may use; containers and taskset count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int:
    """Bytes that this process can still have: what the machine has free, within the limit of its control group."""
    info = Path("/proc/meminfo")
    if not info.exists():  # not Linux: all there is, of which some is taken
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = int(next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable:")).split()[1])
    return min([free * 1024, *_left_in_groups()])


def _left_in_groups(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What the control groups of this process leave it, in version 1 and 2; cached files are given up when needed."""
    left = []
    for line in groups.read_text().splitlines() if groups.exists() else []:
        _, controllers, path = line.split(":", 2)
        top, limit, used, cached = root, "memory.max", "memory.current", ("active_file", "inactive_file")
        if "memory" in controllers.split(","):
            top, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cached = ("total_active_file", "total_inactive_file")
        elif controllers:
            continue
        for folder in {top / path.lstrip("/"), top}:  # in a container the path is often not to be seen
            try:
                most, now = (folder / limit).read_text().strip(), int((folder / used).read_text())
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            except (OSError, ValueError):  # not there, or not ours to read: it says nothing
                continue
            if most.isdigit():
                left.append(max(0, int(most) - now + sum(int(stat.get(name, 0)) for name in cached)))
    return left


def restart_with_allocator() -> None:
    """Start this command again under TUNABLES, in the same process; for the command line only.

    Does nothing off Linux with glibc, where another allocator is preloaded, where GLIBC_TUNABLES says
    something already, where an accelerator does the work, or with JAXLM_ALLOCATOR=off.
    """
    if not allocator_is_ours():
        return
    tunables = ":".join(f"{name}={value}" for name, value in TUNABLES.items())
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"GLIBC_TUNABLES": tunables})


def tune_allocator() -> str:
    """Set what can be set in a running process; returns what the allocator is now, for log and record."""
    if os.environ.get("GLIBC_TUNABLES") == ":".join(f"{name}={value}" for name, value in TUNABLES.items()):
        return "glibc, huge pages, memory kept"
    if not allocator_is_ours():
        named = os.environ.get("LD_PRELOAD") or os.environ.get("GLIBC_TUNABLES") or platform.libc_ver()[0]
        return f"as found ({named or 'not glibc'})"
    mallopt = ctypes.CDLL(None).mallopt
    for name, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
        mallopt(name, value)
    return "glibc, memory kept"


def allocator_is_ours() -> bool:
    """Whether this is plain glibc on a machine that computes on its CPU, and nobody has set it yet."""
    switch = os.environ.get(SWITCH, "auto")
    if switch not in ("auto", "off"):
        raise UserError(f"{SWITCH}={switch!r}: it is 'auto' or 'off'")
    taken = os.environ.get("GLIBC_TUNABLES") or "malloc" in os.environ.get("LD_PRELOAD", "")
    return switch == "auto" and not taken and platform.libc_ver()[0] == "glibc" and computes_on_cpu()


def computes_on_cpu() -> bool:
    """A guess that needs no jax: told so by JAX_PLATFORMS, or no accelerator is in sight."""
    told = os.environ.get("JAX_PLATFORMS", "")
    if told:
        return told.split(",")[0] == "cpu"
    return not any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/accel0", "/dev/vfio/0", "/dev/kfd"))


def start_jax(cpu_devices: int | None = None, cache: bool = True) -> None:
    """Set how many CPU devices jax will have, and the folder of compiled programs. Call before jax computes."""
    import jax

    if cpu_devices is not None and computes_on_cpu():
        if cpu_devices > cores():
            os.environ.setdefault("NPROC", str(2 * cpu_devices))  # XLA's threads: devices that wait for others hold one
        try:
            jax.config.update("jax_num_cpu_devices", cpu_devices)
        except RuntimeError:  # jax has started: whoever started it has chosen
            log.info("jax has started already, with %d devices", jax.device_count())
    # jax gives `config` its options while it is imported, so pyright sees none of them.
    if cache and jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(folder) / "jaxlm" / "programs"))
        # All three, or short compilations and small programs are not kept.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@functools.cache
def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor() or platform.machine()
