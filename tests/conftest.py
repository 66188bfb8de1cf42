"""What every test runs under: CPU, eight devices, strict shapes, strict types, warnings as errors.

Everything here must happen before the first import of jax or jaxlm. Warnings are made errors in
pyproject.toml. The environment reaches the processes that tests start; the calls to `jax.config` do not.
"""

import gc
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

os.environ["JAX_PLATFORMS"] = "cpu"
# Eight devices on two cores deadlock in an all-reduce with XLA's default pool of one thread a core.
os.environ["NPROC"] = "16"
# Most of the suite is compilation. Without LLVM's optimiser, MLIR's emitters and threads of its own it takes a
# quarter of the time. `make test-slow` compiles as users do.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
# Compiled programs stay from one test run to the next: a second run is fast.
# One folder a worker, since JAX writes its entries in place: another process could read half of one.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".cache" / "jax" / WORKER)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# Here and not in the user's own folder: tokenizers that were tried, and programs of the processes that tests start.
os.environ["XDG_CACHE_HOME"] = str(ROOT / ".cache" / WORKER)

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")  # (B, L) + (L,) is a slip more often than a wish
jax.devices()  # starts jax now: a run, which asks for a number of devices, would otherwise choose for all tests

# Checks each annotation of jaxlm at each call, shapes included; users do not pay for it.
jaxtyping.install_import_hook("jaxlm", "beartype.beartype")

hypothesis.settings.register_profile("jaxlm", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("jaxlm")


def pytest_collection_finish():
    """What is imported by now stays: no collection of garbage need walk it.

    A tracer makes thousands of small tuples that live on; the collector's usual thresholds (700, 10, 10) have it look
    for cycles so often that it takes a tenth of the suite.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """A worker that keeps the programs of thousands of tests gets slow: its collector of garbage walks them all.

    It spent four fifths of its time so towards the end. What clearing leaves alive is frozen: not walked again.
    """
    yield
    jax.clear_caches()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def build_once():
    """The runs of a module share what was built for a run of the same shape."""
    from tests import tiny_run  # not before the hook above: it imports jaxlm

    with pytest.MonkeyPatch.context() as patch:
        tiny_run.build_once(patch)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder JAXLM_DATA names; a test that asks for it is skipped without one."""
    folder = os.environ.get("JAXLM_DATA")
    if not folder:
        pytest.skip("JAXLM_DATA is not set: it names a folder of real text")
    return Path(folder).resolve()
