"""The house holds: imports point down the floors, in no circle, and each library has one home.

Read from the source with `ast`, so an import inside a function counts as well: it hides the time an
import takes, not the dependence.
"""

import ast
import functools
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the top floor to the ground. A name stands for a module jaxlm/NAME.py or a folder jaxlm/NAME/.
FLOORS = (
    "cli commands api __main__",
    "launch plan audit report measure sharding sharding_question",
    "run run_config run_folder session score scorers parts saved misfit exchange warm_start mesh_misfit room",
    "training evaluation",
    "data corpus generation interop interpret compress checkpoint checkpoint_folder losses host",
    "models mesh device_order config config_errors batch errors redact json_file hashing flat bits ranks beat",
)

# Library -> the only places of jaxlm that import it. Where a library is not here, anybody may.
HOMES = {
    "flax": {"models"},
    "orbax": {"checkpoint"},
    "grain": {"data.loader"},
    "sentencepiece": {"data.tokenizer", "data.trial"},
    "tokenizers": {"data.tokenizer_huggingface", "data.tokenizer_training", "data.trial"},
    "gigatoken": {"data.tokenizer_fast"},
    "safetensors": {"interop.safetensors_file"},
    "fastwarc": {"corpus.formats.warc"},
    "resiliparse": {"corpus.formats.html"},
    "trafilatura": {"corpus.formats.html"},
    "pyarrow": {"corpus.formats.tables", "corpus.table"},
    "dask": {"corpus.executor"},
    "distributed": {"corpus.executor"},
    "ftfy": {"corpus.normalise"},
    "opencc": {"corpus.normalise"},
    "fsspec": {"corpus.remote"},
    "py3langid": {"corpus.language"},
    "fasttext": {"corpus.language_fasttext"},
    "rensa": {"corpus.duplicates.sketch"},
    "tensorboardX": {"training.telemetry"},
    "torch": set(),
    "transformers": set(),
    "tensorflow": set(),
}

# Preparing text needs no accelerator: these import no jax, themselves or through another module.
WITHOUT_JAX = {"corpus", "data", "config", "config_errors", "errors", "batch", "redact", "json_file", "hashing", "bits"}
MAY_HAVE_JAX = {"data.loader"}  # grain loads jax itself


def module_name(path: Path) -> str:
    """`training.step` for jaxlm/training/step.py; a package is named by its folder, jaxlm itself is ""."""
    parts = path.relative_to(ROOT / "jaxlm").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path.read_text(encoding="utf-8") for path in sorted((ROOT / "jaxlm").rglob("*.py"))}


@functools.cache
def imported(source: str) -> frozenset[str]:
    """Every dotted name that `source` imports: `a.b` and `a.b.c` for `from a.b import c`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write the whole name, not a relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def within(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def neighbours(source: str) -> set[str]:
    """The modules of jaxlm that `source` imports; a folder where it is the folder itself that is meant."""
    inner = {name.removeprefix("jaxlm").lstrip(".") for name in imported(source) if within(name, {"jaxlm"})}
    modules = inner & SOURCES.keys()
    return {m for m in modules if not (source_is_empty(m) and any(o.startswith(f"{m}.") for o in modules))} - {""}


def source_is_empty(module: str) -> bool:
    """Nothing but a docstring: importing `a` on the way to `a.b` then adds nothing."""
    return all(isinstance(node, ast.Expr) for node in ast.parse(SOURCES[module]).body)


IMPORTS = {module: neighbours(source) for module, source in SOURCES.items()}


def floor_of(module: str) -> int:
    """0 is the top, where the package itself (`import jaxlm`) stands: it shows what users call."""
    top = module.split(".")[0]
    if not top:
        return 0
    floors = [number for number, names in enumerate(FLOORS) if top in names.split()]
    assert floors, f"jaxlm/{top} stands on no floor: give it one in FLOORS of {Path(__file__).name}"
    return floors[0]


def test_imports_point_down_the_floors():
    wrong = [
        f"{module} (floor {floor_of(module)}) imports {other} (floor {floor_of(other)}), which is above it"
        for module, others in IMPORTS.items()
        for other in sorted(others)
        if floor_of(other) < floor_of(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_make_no_circle():
    try:
        graphlib.TopologicalSorter(IMPORTS).prepare()
    except graphlib.CycleError as circle:
        pytest.fail("imports in a circle: " + " <- ".join(circle.args[1]))


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_at_its_home_alone(library):
    strangers = [
        module
        for module, source in SOURCES.items()
        if any(within(name, {library}) for name in imported(source)) and not within(module, HOMES[library])
    ]
    assert not strangers, f"{library} lives in {sorted(HOMES[library]) or 'tests and benchmarks'}, not in {strangers}"


def test_preparing_text_needs_no_jax():
    reached = {module: any(within(name, {"jax", "jaxlib"}) for name in imported(s)) for module, s in SOURCES.items()}
    order = graphlib.TopologicalSorter(IMPORTS).static_order()
    for module in order:
        reached[module] |= any(reached[other] for other in IMPORTS[module])
    wrong = [m for m in SOURCES if reached[m] and within(m, WITHOUT_JAX) and not within(m, MAY_HAVE_JAX)]
    assert not wrong, f"these import jax, or a module that does: {wrong}"


@pytest.mark.parametrize("module", ["jaxlm", "jaxlm.config", "jaxlm.data.dataset"])
def test_a_light_import_does_not_start_jax(module):
    program = f"import sys, {module}; print(sorted({{'jax', 'flax', 'grain'}} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# The reader itself: a test that cannot see a wrong import would pass for ever.


def test_the_reader_sees_imports_in_functions_and_of_names():
    source = "def f():\n    import a.b\n    from c.d import e\n"
    assert imported(source) == {"a.b", "c.d", "c.d.e"}


def test_the_reader_refuses_relative_imports():
    with pytest.raises(AssertionError, match="line 1"):
        imported("from . import x")


def test_a_module_without_a_floor_is_reported():
    with pytest.raises(AssertionError, match="stands on no floor"):
        floor_of("utils")


def test_the_reader_finds_what_is_known_to_be_there():
    assert "errors" in IMPORTS["config"]
    assert "data.objectives" in IMPORTS["data.dataset"]
    assert any(within(name, {"flax"}) for name in imported(SOURCES["models.layers"]))
