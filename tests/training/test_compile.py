"""Where the state lies and who partitions the step change nothing: losses and gradients agree."""

import functools

import jax
import numpy as np
import pytest

from jaxlm.batch import Batch
from jaxlm.errors import UserError
from jaxlm.mesh import MeshConfig
from tests.rows import short
from tests.training import tiny

STEPS = 20
ONE = MeshConfig(layout="single")
LAYOUTS = {
    "8 devices as data": (MeshConfig(layout="axes", data=8), "jit"),
    "8 devices as fsdp": (MeshConfig(layout="axes", fsdp=8), "jit"),
    "8 devices as tensor": (MeshConfig(layout="axes", tensor=8), "jit"),
    "2x2x2": (MeshConfig(layout="axes", data=2, fsdp=2, tensor=2), "jit"),
    "8 devices by shard_map": (MeshConfig(layout="replicated", devices=8), "shard_map"),
    "8 devices by pmap": (MeshConfig(layout="replicated", devices=8), "pmap"),
    "1 device by shard_map": (ONE, "shard_map"),
    "1 device by pmap": (ONE, "pmap"),
}
FAST = ("2x2x2", "8 devices by shard_map", "8 devices by pmap")  # every axis of a mesh, and every way


@functools.cache
def compiled_on(name):
    """(Compiled, what makes its first state), once for all tests of a layout."""
    return tiny.compiled_on(*LAYOUTS[name])


def trained(compiled, begin):
    """(first state, losses, gradient of step 1, gradient of the last step) with dropout, under plain SGD."""
    first = begin()
    start = jax.tree.map(np.asarray, first)
    state, losses, gradients = compiled.enter(first), [], []
    for n in range(STEPS):
        state, metrics = compiled.step(state, compiled.place(tiny.batch(n)))
        losses.append(float(metrics["loss"]))
        if n in (0, STEPS - 1):
            gradients.append(jax.tree.map(np.asarray, compiled.leave(state).opt))
    return start, losses, *gradients


@pytest.fixture(scope="module")
def on_one_device():
    return trained(*tiny.compiled_on(ONE))


@pytest.mark.parametrize("name", short(LAYOUTS, *FAST))
def test_losses_and_gradients_are_those_of_one_device(name, on_one_device):
    start, losses, first, last = trained(*compiled_on(name))
    tiny.assert_same_bits(start.params, on_one_device[0].params)
    np.testing.assert_allclose(losses, on_one_device[1], rtol=1e-5)
    assert tiny.relative_distance(first, on_one_device[2]) < 1e-5
    assert tiny.relative_distance(last, on_one_device[3]) < 1e-4


def test_the_losses_that_are_compared_move_and_feel_dropout(on_one_device):
    """Else equal losses would say nothing."""
    _, losses, _, _ = on_one_device
    assert losses[-1] < losses[0] - 0.01
    _, other, _, _ = trained(*tiny.compiled_on(ONE, model=tiny.family(dropout=0.0), seed=None))
    assert np.abs(np.array(other) - losses).max() > 1e-3


@pytest.mark.parametrize("name", short(["8 devices by shard_map", "2x2x2"], "8 devices by shard_map"))
def test_microbatches_on_a_mesh_are_the_big_batch(name, on_one_device):
    cfg, way = LAYOUTS[name]
    rows = 16
    batch = tiny.batch(rows=rows)
    gradients = []
    for mesh, how, parts in ((ONE, "jit", 1), (cfg, way, 2)):
        compiled, state = tiny.on_mesh(mesh, how, rows=rows, microbatches=parts)
        state, _ = compiled.step(compiled.enter(state), compiled.place(batch))
        gradients.append(compiled.leave(state).opt)
    assert tiny.relative_distance(*reversed(gradients)) < 1e-5


@pytest.mark.parametrize("name", ["8 devices by shard_map", "8 devices by pmap", "2x2x2"])
def test_a_row_that_is_not_finite_on_one_device_costs_the_step_on_all(name):
    compiled, begin = compiled_on(name)
    state = begin()
    before = jax.tree.map(np.asarray, state.params)
    bad = tiny.batch()
    bad.weight[5, 0] = np.nan
    state, metrics = compiled.step(compiled.enter(state), compiled.place(bad))
    left = compiled.leave(state)
    tiny.assert_same_bits(jax.tree.map(np.asarray, left.params), before)
    assert (int(metrics["nonfinite"]), int(left.skipped), int(left.step)) == (1, 1, 1)


@pytest.mark.parametrize("name", short(LAYOUTS, *FAST))
def test_a_state_that_enters_leaves_as_it_was(name):
    compiled, begin = compiled_on(name)
    state = begin()
    before = jax.tree.map(np.asarray, state)
    left = compiled.leave(compiled.enter(state))
    tiny.assert_same_bits(jax.tree.map(np.asarray, left), before)


def test_fsdp_and_tensor_split_the_state_and_data_copies_it():
    share = lambda name: max(
        sum(shard.data.nbytes for leaf in jax.tree.leaves(state.params) for shard in leaf.addressable_shards
            if shard.device == device)
        for state in [compiled_on(name)[1]()]
        for device in jax.devices()
    )  # fmt: skip
    whole = share("8 devices as data")
    assert share("8 devices as fsdp") < 0.2 * whole
    assert share("8 devices as tensor") < 0.5 * whole  # positions and norms are copied
    assert share("2x2x2") < 0.5 * whole


@pytest.mark.parametrize(
    "cfg, rows, words",
    [
        (MeshConfig(layout="replicated", devices=8), 12, ["data.batch=12", "over 8 devices", "make it 16"]),
        (
            MeshConfig(layout="axes", data=2, fsdp=2, tensor=2),
            6,
            ["data.batch=6", "over 4 devices", "make it 8"],
        ),
    ],
    ids=str,
)
def test_rows_that_do_not_divide_over_the_devices_are_the_users_mistake(cfg, rows, words):
    with pytest.raises(UserError) as error:
        tiny.on_mesh(cfg, rows=rows)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("way", ["shard_map", "pmap"])
def test_ways_that_replicate_refuse_a_mesh_that_splits_the_state(way):
    with pytest.raises(UserError, match=f"step.compile='{way}' replicates the state.*mesh.layout='replicated'"):
        tiny.on_mesh(MeshConfig(layout="axes", fsdp=8), way)


def test_the_step_gives_its_state_away():
    """Donated: two copies of a large model would not fit."""
    compiled, state = tiny.on_mesh(ONE)
    after, _ = compiled.step(state, compiled.place(tiny.batch()))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(after))


def test_an_optimisers_arrays_lie_where_their_parameters_do():
    _, state = tiny.on_mesh(*LAYOUTS["2x2x2"])
    same = jax.tree.map(lambda p, o: p.sharding == o.sharding, state.params, state.opt)
    assert all(jax.tree.leaves(same))
    split = [leaf for leaf in jax.tree.leaves(state.params) if not leaf.is_fully_replicated]
    assert len(split) > 10


def test_a_batch_is_placed_row_by_row():
    compiled, _ = tiny.on_mesh(*LAYOUTS["8 devices as data"])
    placed = compiled.place(tiny.batch())
    assert isinstance(placed, Batch)
    for shard in placed.token.addressable_shards:
        np.testing.assert_array_equal(shard.data, tiny.batch().token[shard.index])
        assert shard.data.shape == (1, tiny.LENGTH)
