"""The process before jax starts: when its allocator is ours to set, and when it is left alone."""

import os
import subprocess
import sys

import pytest

from jaxlm import host
from jaxlm.errors import UserError
from tests.faults.injector import ROOT


@pytest.fixture
def plain(monkeypatch):
    """A Linux with glibc where nobody has said anything yet, and commands are not really started anew."""
    for name in ("GLIBC_TUNABLES", "LD_PRELOAD", host.SWITCH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(host.platform, "libc_ver", lambda: ("glibc", "2.36"))
    started = []
    monkeypatch.setattr(host.os, "execve", lambda *arguments: started.append(arguments))
    return started


def test_a_command_starts_anew_under_the_settings_once(plain, monkeypatch):
    host.restart_with_allocator()
    ((program, arguments, environment),) = plain
    assert program == sys.executable and arguments[1:] == sys.orig_argv[1:]
    assert "glibc.malloc.hugetlb=1" in environment["GLIBC_TUNABLES"]
    assert environment.items() >= {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}.items()
    monkeypatch.setenv("GLIBC_TUNABLES", environment["GLIBC_TUNABLES"])
    host.restart_with_allocator()
    assert len(plain) == 1, "the second time it is under them already"
    assert host.tune_allocator() == "glibc, huge pages, memory kept"


@pytest.mark.parametrize(
    "name, value",
    [
        (host.SWITCH, "off"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1"),
        ("LD_PRELOAD", "/usr/lib/libtcmalloc.so.4"),
        ("JAX_PLATFORMS", "cuda,cpu"),
    ],
)
def test_what_somebody_else_has_set_is_left_alone(plain, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    host.restart_with_allocator()
    assert plain == []
    assert host.tune_allocator().startswith("as found")


def test_without_glibc_nothing_is_done(plain, monkeypatch):
    monkeypatch.setattr(host.platform, "libc_ver", lambda: ("", ""))
    host.restart_with_allocator()
    assert plain == [] and host.tune_allocator() == "as found (not glibc)"


def test_a_switch_that_is_misspelt_is_the_users_mistake(plain, monkeypatch):
    monkeypatch.setenv(host.SWITCH, "no")
    with pytest.raises(UserError, match="JAXLM_ALLOCATOR='no': it is 'auto' or 'off'"):
        host.restart_with_allocator()


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_glibc_takes_the_settings_of_a_running_process(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    code = (
        "from jaxlm import host\nprint(host.tune_allocator())\n"
        "import ctypes; print(ctypes.CDLL(None).mallopt(host.M_MMAP_MAX, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["glibc, memory kept", "1"]


@pytest.mark.parametrize("platforms, expected", [("cpu", True), ("cpu,cuda", True), ("cuda", False), ("tpu", False)])
def test_where_jax_will_compute_is_what_the_environment_says(monkeypatch, platforms, expected):
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    assert host.computes_on_cpu() is expected


def test_without_a_word_an_accelerator_in_sight_decides(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr(host.Path, "exists", lambda path: str(path) == "/dev/nvidia0")
    assert not host.computes_on_cpu()
    monkeypatch.setattr(host.Path, "exists", lambda path: False)
    assert host.computes_on_cpu()


def test_cores_are_those_this_process_may_use(monkeypatch):
    assert host.cores() == len(os.sched_getaffinity(0))


def test_jax_gets_its_devices_and_its_cache_before_it_starts(tmp_path):
    code = (
        "from jaxlm import host\nhost.start_jax(3)\nimport jax\n"
        "print(jax.device_count(), jax.config.jax_compilation_cache_dir)\n"
        "host.start_jax(5)\nprint(jax.device_count())"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"3 {tmp_path}/jaxlm/programs", "3"], done.stderr


@pytest.mark.parametrize(
    ("line", "folder", "limit", "used", "cached"),
    [
        ("0::/mine", "mine", "memory.max", "memory.current", "inactive_file"),
        ("4:memory:/mine", "memory/mine", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
    ids=["version 2", "version 1"],
)
def test_a_control_group_leaves_what_is_under_its_limit_and_what_files_would_give_up(
    tmp_path, line, folder, limit, used, cached
):
    groups, mine = tmp_path / "cgroup", tmp_path / folder
    mine.mkdir(parents=True)
    groups.write_text(f"9:cpu:/elsewhere\n{line}\n")
    (mine / limit).write_text("1000\n")
    (mine / used).write_text("700\n")
    (mine / "memory.stat").write_text(f"anon 500\n{cached} 200\n")
    assert host._left_in_groups(groups, tmp_path) == [500]
    (mine / limit).write_text("max\n")
    assert host._left_in_groups(groups, tmp_path) == []


def test_there_is_some_memory_left_here():
    assert 2**20 < host.available_memory() < 2**50
