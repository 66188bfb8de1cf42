"""Where and with what a benchmark ran: machine, versions, commit, allocators. Imports no jax, no torch."""

import functools
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "torch",
    "transformers",
    "datatrove",
    "spacy",
    "resiliparse",
    "trafilatura",
    "py3langid",
    "ftfy",
    "distributed",
    "datasketch",
    "sentencepiece",
    "tokenizers",
)
MALLOPT_VARIABLES = {  # mallopt(3) names its options so, and glibc reads each from this variable
    "M_ARENA_MAX": "MALLOC_ARENA_MAX",
    "M_MMAP_MAX": "MALLOC_MMAP_MAX_",
    "M_MMAP_THRESHOLD": "MALLOC_MMAP_THRESHOLD_",
    "M_TOP_PAD": "MALLOC_TOP_PAD_",
    "M_TRIM_THRESHOLD": "MALLOC_TRIM_THRESHOLD_",
}
ALLOCATOR_VARIABLES = ("LD_PRELOAD", "GLIBC_TUNABLES", *MALLOPT_VARIABLES.values())
TCMALLOC = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/opt/homebrew/lib")


def machine() -> dict:
    """What the numbers belong to; the load tells whether somebody else was computing too."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "transparent_hugepages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "allocator": {name: os.environ[name] for name in ALLOCATOR_VARIABLES if name in os.environ},
        "load_1_minute": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Of python and the packages; those of the peers' own interpreter carry "peer" in front."""
    ours = _versions_here()
    python = peer_python()
    if python == sys.executable:
        return ours
    asked = _ask(python, _VERSIONS_CODE.format(packages=PACKAGES))
    return ours | {f"peer {name}": version for name, version in json.loads(asked or "{}").items()}


def commit() -> str:
    """The commit, with -dirty where tracked files differ from it."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip() or "unknown: no git repository here"


def peer_python() -> str:
    """The interpreter that has the peers' packages: $JAXLM_PEER_PYTHON, else this one."""
    return os.environ.get("JAXLM_PEER_PYTHON", sys.executable)


@functools.cache
def has_package(python: str, package: str) -> bool:
    code = f"import importlib.util as u; print(u.find_spec({package!r}) is not None)"
    return (_ask(python, code) or "").strip() == "True"


@functools.cache
def tcmalloc() -> str | None:
    """Path of tcmalloc's library, if the system has it."""
    for name in TCMALLOC:
        for folder in filter(os.path.isdir, FOLDERS):
            for found in (Path(folder) / name, *sorted(Path(folder).glob(f"*/{name}"))):
                if found.is_file():
                    return str(found)
    return None


def _versions_here() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


_VERSIONS_CODE = """
import importlib.metadata as m, json, platform
have = {{d.metadata["Name"].lower(): d.version for d in m.distributions() if d.metadata["Name"]}}
print(json.dumps({{"python": platform.python_version()}} | {{p: have[p] for p in {packages!r} if p in have}}))
"""


def _ask(python: str, code: str) -> str | None:
    """What `code` prints in another interpreter; None where there is no such interpreter."""
    if shutil.which(python) is None:
        return None
    asked = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    return asked.stdout if asked.returncode == 0 else None


def _cpu_model() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {name.strip(): value.strip() for name, value in fields.items()}
    family = f" (family {named['cpu family']} model {named['model']})" if "cpu family" in named else ""
    return named.get("model name", platform.processor() or platform.machine()) + family


def _read(path: str) -> str:
    file = Path(path)
    return file.read_text().strip() if file.is_file() else ""
