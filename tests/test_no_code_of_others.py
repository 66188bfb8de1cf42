"""Nothing in jaxlm can turn data into a program: read from its source, so that it holds for lines no test runs.

What the verbs do while they run is watched in tests/faults/test_watched.py.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in (ROOT / "jaxlm").rglob("*.py")}

MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml", "torch", "code", "imp"}
CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
ATTRIBUTES = {
    ("os", "system"), ("os", "popen"), ("os", "fork"), ("pickle", "loads"), ("pickle", "load"), ("torch", "load"),
    ("yaml", "load"), ("tempfile", "mktemp"), ("runpy", "run_path"), ("runpy", "run_module"),
    ("importlib", "import_module"), ("shutil", "unpack_archive"),
}  # fmt: skip
KEYWORDS = {("allow_pickle", True), ("shell", True), ("trust_remote_code", True)}
ALLOWED = {
    ("jaxlm/config.py", "runpy.run_path"): "a .py config is a program, and the user's own",
    ("jaxlm/cli.py", "importlib.import_module"): "a verb of its table",
    ("jaxlm/__init__.py", "importlib.import_module"): "a name of its table",
}


def faults(name: str, source: str) -> list[str]:
    """`file:line: what` for each thing that could run what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for what in _of(node):
            if (name, what) not in ALLOWED:
                found.append(f"{name}:{getattr(node, 'lineno', 0)}: {what}")
    return found


def _of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
    if isinstance(node, ast.ImportFrom):
        return [str(node.module)] if str(node.module).split(".")[0] in MODULES else []
    if not isinstance(node, ast.Call):
        return []
    keywords = [(one.arg, one.value.value) for one in node.keywords if isinstance(one.value, ast.Constant)]
    found = [f"{name}={value}" for name, value in keywords if (name, value) in KEYWORDS]
    match node.func:
        case ast.Name(id=name) if name in CALLS:
            found.append(name)
        case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in ATTRIBUTES:
            found.append(f"{module}.{name}")
    return found


def test_no_line_of_jaxlm_unpickles_evals_or_starts_a_shell():
    assert [fault for name, source in SOURCES.items() for fault in faults(name, source)] == []


def test_every_exception_is_still_needed():
    assert {(name, what) for name, source in SOURCES.items() for node in ast.walk(ast.parse(source)) for what in
            _of(node)} >= ALLOWED.keys()  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import torch.serialization", "eval('1')", "exec(text)",
        "np.load(path, allow_pickle=True)", "subprocess.run(line, shell=True)", "os.system(line)", "yaml.load(text)",
        "compile(text, name, 'exec')", "importlib.import_module(name)", "runpy.run_path(name)",
    ],
)  # fmt: skip
def test_the_reader_sees(line):
    assert len(faults("jaxlm/other.py", line)) == 1
