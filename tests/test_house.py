"""The habits of the house that a program can read: sizes, docstrings, the lock, what the wheel carries.

The ceilings are chosen: well above what a file or function usually needs, so that passing one means
that it holds two ideas.
"""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jaxlm

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = sorted((ROOT / "jaxlm").rglob("*.py"))
CONFIGS = sorted((ROOT / "configs").glob("*.py"))

FILE_LINES = 400
FUNCTION_LINES = 60
CONFIG_LINES = 60


SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in [*MODULES, *CONFIGS]}


def found(*kinds: type) -> Iterator[tuple[str, Any]]:
    """Each node of these kinds in the package and the configs, with its place as `file:line`."""
    for name, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, kinds):
                yield f"{name}:{getattr(node, 'lineno', 1)}", node


def lines_with(pattern: str) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()}"
        for name, source in SOURCES.items()
        for number, line in enumerate(source.splitlines(), start=1)
        if re.search(pattern, line)
    ]


def test_a_module_opens_with_what_it_holds():
    assert [place for place, module in found(ast.Module) if module.body and not ast.get_docstring(module)] == []


def test_a_module_is_named_after_what_it_holds():
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in MODULES if vague & {path.stem, path.parent.name}] == []


def test_a_file_and_a_function_are_one_idea():
    functions = found(ast.FunctionDef, ast.AsyncFunctionDef)
    sizes = {f"{place} {f.name}": f.end_lineno - f.lineno + 1 for place, f in functions}
    assert {place: size for place, size in sizes.items() if size > FUNCTION_LINES} == {}
    sizes = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: size for name, size in sizes.items() if size > FILE_LINES} == {}


def test_a_handler_of_everything_hides_nothing():
    """It raises, or keeps the exception by its name for another thread to raise."""
    everything = {"Exception", "BaseException"}
    silent = [
        place
        for place, handler in found(ast.ExceptHandler)
        if (handler.type is None or getattr(handler.type, "id", "") in everything)
        and not any(isinstance(node, ast.Raise) or is_use_of(node, handler.name) for node in ast.walk(handler))
    ]
    assert silent == []


def is_use_of(node: ast.AST, name: str | None) -> bool:
    return isinstance(node, ast.Name) and name is not None and node.id == name


def test_docstrings_do_not_repeat_the_signature():
    assert lines_with(r"^\s*(Args|Returns|Raises|Parameters):\s*$") == []


def test_a_todo_has_a_name_and_an_issue():
    assert lines_with(r"#.*\bTODO\b(?!\(\w+, #\d+\))") == []


def test_a_config_is_short_and_opens_with_its_command():
    for path in CONFIGS:
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= CONFIG_LINES, path
        assert "jaxlm " in (ast.get_docstring(ast.parse(source)) or ""), f"{path}: how is it run?"


def test_every_dependency_is_locked_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^([A-Za-z0-9._-]+)==\S+.*\\\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)+)", lock, re.MULTILINE)
    locked = {canonical(name) for name, _ in entries}
    project = PYPROJECT["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    missing = {canonical(re.split(r"[\[<>=!~; ]", one)[0]) for one in wanted} - locked
    assert not missing, f"not in requirements.lock: {missing}; run `make lock`"
    assert len(entries) == len(re.findall(r"^[A-Za-z0-9]", lock, re.MULTILINE)), "an entry has no hash"
    assert "file:" not in lock and "--index-url" not in lock, "a lock holds no address of one machine"


def canonical(name: str) -> str:
    """PyPI's form of a package name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_changelog_knows_this_version():
    assert f"## [{jaxlm.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_make_shows_every_target_a_user_may_want():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1).split()
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z-]+) ", shown, re.MULTILINE) == phony


def test_the_script_of_ci_can_be_run():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)


def test_the_wheel_carries_the_configs_and_nothing_of_the_tests(tmp_path):
    pytest.importorskip("hatchling", reason="the lock has it; `make install`")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    carried = {name.removeprefix("jaxlm/configs/") for name in names if re.match(r"jaxlm/configs/[^/]+\.py$", name)}
    assert carried == {path.name for path in CONFIGS}
    assert {name.split("/")[0] for name in names} == {"jaxlm", f"jaxlm-{jaxlm.__version__}.dist-info"}
