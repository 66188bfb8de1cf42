"""Every family on every layout is what it is on one device, or is refused: never wrong without a word."""

import functools
import itertools

import jax
import numpy as np
import pytest

from jaxlm import parts
from jaxlm.errors import UserError
from tests import layouts, layouts_by_process
from tests.layouts import FAMILIES, LAYOUTS, ONE

# In the short suite, one row of each kind: a table with a bias on three axes (its gradients were wrong once), keys
# that go round, and a state that goes from device to device.
FAST = [("classes", "2x2x2"), ("prefix", "ring"), ("mingru", "data x sequence")]
ROWS = [
    pytest.param(*row, marks=() if row in FAST else pytest.mark.slow) for row in itertools.product(FAMILIES, LAYOUTS)
]
# Who is not split along positions, and why.
REFUSED = dict.fromkeys(("lstm", "gru", "bilstm"), r"splits positions, and model\.cell=") | {
    "half": r"makes rows of 17 source of data\.length=32"  # its two parts never both divide by two
}


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """name -> (config, shards, first step)."""

    @functools.cache
    def of(name):
        folder = tmp_path_factory.mktemp(name)
        cfg = layouts.config(name, folder)
        shards = layouts.prepared(cfg, folder)
        return cfg, shards, layouts.first_step(cfg, ONE, "jit", shards)

    return of


@pytest.mark.parametrize(("family", "layout"), ROWS)
def test_a_family_on_a_layout_is_itself_on_one_device(family, layout, on_one_device):
    cfg, shards, wanted = on_one_device(family)
    mesh, way = LAYOUTS[layout]
    if family == "llama" and mesh.tensor > layouts.HEADS // 2:
        mesh = mesh.model_copy(update={"tensor": layouts.HEADS // 2})  # as many as it has groups of heads
    step = functools.partial(layouts.first_step, cfg, mesh, way, shards)
    if family in REFUSED and mesh.sequence > 1:
        with pytest.raises(UserError, match=REFUSED[family]):
            step()
        return
    layouts.assert_equal(step(), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["2x2x2", "data x sequence", "fsdp x tensor x ring"])
@pytest.mark.parametrize("family", ["llama", "t5", "mingru"])
def test_so_it_is_in_microbatches_of_scanned_layers_that_are_computed_twice(family, layout, on_one_device):
    """As accelerators are used: loops around what the devices share."""
    cfg, shards, wanted = on_one_device(family)
    scanned = {} if family == "mingru" else {"scan_layers": True, "remat": "full"}
    cfg = parts.with_model(cfg, **scanned)
    cfg = cfg.model_copy(update={"step": cfg.step.model_copy(update={"microbatches": 2})})
    if scanned:  # other parameters than those of layers one by one
        wanted = layouts.first_step(cfg, ONE, "jit", shards)
    layouts.assert_equal(layouts.first_step(cfg, *LAYOUTS[layout], shards), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("layout", layouts_by_process.LAYOUTS)
@pytest.mark.parametrize("family", ["llama", "mingru"])
def test_two_processes_of_four_devices_are_one_device(family, layout, tmp_path):
    cfg = layouts.config(family, tmp_path)
    shards = layouts.prepared(cfg, tmp_path)
    wanted = layouts.first_step(cfg, ONE, "jit", shards)
    layouts_by_process.start(tmp_path, family, layout, processes=2)
    loss, scores, *leaves = np.load(tmp_path / f"{layout}.npz").values()
    tree = jax.tree.structure((wanted.gradient, wanted.carry))
    layouts.assert_equal(layouts.First(float(loss), *jax.tree.unflatten(tree, leaves)), wanted)
    np.testing.assert_allclose(scores, layouts.scores(cfg, ONE, "jit", shards), rtol=1e-5)
