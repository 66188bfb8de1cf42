"""Runs commands of jaxlm in this process, and tells what they did that no file may make them do.

`python -m tests.faults.watched`: stdin is a list of commands, [[verb, argument, ...], ...]; stdout is
{"codes": [...], "events": [...]}. An event is one of these: a class found by a pickle, code that lies in no file of a
package, another process than those that jaxlm is known to start, an address that is not this machine's, a file written
outside of `roots`. What the commands say goes to said.txt.
"""

import json
import marshal
import os
import pickle
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = tuple({  # where code may lie
    os.path.realpath(path) for path in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")), ROOT / "jaxlm",
        ROOT / "configs", *sys.path[1:],
    ) if path
})  # fmt: skip
STARTED = (["-m", "jaxlm.measure"], ["-m", "jaxlm.data.trial"])  # by Python; and git, which names the commit
UNAME = ["uname", "-p"]  # by platform.processor
# Forking, and what runs a shell; "os.posix_spawn" is what subprocess may use, after "subprocess.Popen".
NEVER = {"os.system", "os.exec", "os.fork", "os.forkpty", "os.spawn", "os.startfile", "pty.spawn"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

events: list[str] = []
roots: list[str] = []  # empty: not watching


def watch(event: str, arguments: tuple) -> None:
    if not roots:
        return
    wrong = CHECKS[event](*arguments) if event in CHECKS else "" if event in NEVER else None
    if wrong is not None:
        events.append(f"{event} {wrong} by {caller()}"[:500])


def caller() -> str:
    """Where the newest call lies that is not of this file."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"


def in_a_package(path: str) -> bool:
    real = os.path.realpath(path)
    return path.startswith("<frozen ") or any(real.startswith(f"{place}/") for place in PACKAGES)


def found_class(module: str, name: str) -> str | None:
    return f"{module}.{name}"


def loaded(*_: Any) -> str | None:
    return None if caller().startswith("<frozen importlib") else "marshal"


def compiled(source: Any, name: Any) -> str | None:
    if isinstance(source, str | bytes) and CANARY in (source if isinstance(source, str) else source.decode("latin-1")):
        return f"a file's text was compiled: {str(source)[:80]!r}"
    return executed_file(os.fsdecode(name) if isinstance(name, str | bytes) else "<none>")


def executed(code: types.CodeType) -> str | None:
    return executed_file(code.co_filename) if isinstance(code, types.CodeType) else "no code"


def executed_file(name: str) -> str | None:
    """Code in a package's file; or made by a package's, as dataclasses are: that of jaxlm makes none."""
    if in_a_package(name):
        return None
    by = caller().rsplit(":", 1)[0]
    made = name.startswith("<") and in_a_package(by) and not by.startswith(str(ROOT / "jaxlm"))
    return None if made else f"code in {name!r}"


def made(*_: Any) -> str | None:
    return executed_file("<made>")


def started(executable: Any, arguments: Any, *_: Any) -> str | None:
    told = [os.fsdecode(one) for one in arguments]
    python = os.path.realpath(told[0]) == os.path.realpath(sys.executable)
    return None if (python and told[1:3] in STARTED) or told[0] == "git" or told == UNAME else " ".join(told)


def address(_: Any, where: Any) -> str | None:
    local = not isinstance(where, tuple) or str(where[0]) in ("127.0.0.1", "::1", "localhost")
    return None if local else str(where)


def opened(path: Any, mode: Any, flags: int) -> str | None:
    if not isinstance(path, str | bytes) or not flags & WRITES:
        return None
    where = os.path.realpath(os.fsdecode(path))
    return None if any(where == root or where.startswith(f"{root}/") for root in roots) else f"{where} to write"


CHECKS = {
    "code.__new__": made,
    "pickle.find_class": found_class, "marshal.loads": loaded, "compile": compiled, "exec": executed,
    "subprocess.Popen": started, "socket.connect": address, "socket.bind": address, "open": opened,
}  # fmt: skip
CANARY = "canary_of_code"  # whoever compiles a text that holds it took data for a program


def main() -> None:
    commands = json.load(sys.stdin)
    say = os.fdopen(os.dup(1), "w")
    with open("said.txt", "wb") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    from jaxlm import cli

    sys.addaudithook(watch)
    cache = os.environ["JAX_COMPILATION_CACHE_DIR"]
    roots[:] = [os.path.realpath(path) for path in (".", cache, os.environ["XDG_CACHE_HOME"], "/dev/null")]
    codes = []
    for command in commands:
        sys.argv[1:] = command
        print("$ jaxlm", *command[:1], flush=True)
        try:
            cli.main()
        except SystemExit as end:
            codes.append(end.code or 0)
    roots.clear()
    json.dump({"codes": codes, "events": events}, say)


def self_test() -> list[str]:
    """Every kind of event once, so that nobody watches with closed eyes."""
    sys.addaudithook(watch)
    roots[:] = [os.path.realpath(".")]
    pickle.loads(b"cos\ngetcwd\n.")
    marshal.loads(marshal.dumps(1))
    exec(compile("1", "/tmp/nowhere.py", "exec"))
    eval(f"'{CANARY}'")
    os.system("true")
    import socket
    import subprocess

    subprocess.run(["true"])
    with socket.socket() as one:
        one.bind(("0.0.0.0", 0))
    with open("/dev/full", "w"):
        pass
    roots.clear()
    return [event.split()[0] for event in events]


if __name__ == "__main__":
    print(json.dumps(self_test())) if sys.argv[1:] == ["--test"] else main()
