"""The step as a compiled program on a mesh: by jit, shard_map or pmap, with equal losses.

    jit         the compiler partitions; serves every layout
    shard_map   each device runs the step on its rows, one all-reduce joins them; replicated state only, and
                on CPU much faster than what the compiler makes of a small model
    pmap        the same by `jax.pmap`, for those who compare
    strict      the same bits on any number of devices: training/strict.py

The program is compiled ahead of time, once; running it can therefore never compile again.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlm import mesh as meshes
from jaxlm.batch import Batch
from jaxlm.errors import UserError
from jaxlm.training.state import TrainState
from jaxlm.training.step import Step

Way = Literal["jit", "shard_map", "pmap", "strict"]


class Compiled(NamedTuple):
    """A step to run, and the way in and out of the form its state has on devices."""

    step: Callable[[Any, Any], tuple[Any, dict[str, jax.Array]]]  # of the form that `enter` gives
    enter: Callable[[TrainState], Any]
    leave: Callable[[Any], TrainState]
    place: Callable[[Batch], Any]  # this process's rows -> what `step` takes, on devices
    executable: Any  # jax.stages.Compiled


def compile_step(
    make: Callable[[str | None], Step],
    way: Way,
    mesh: Mesh,
    state: TrainState,
    shardings: TrainState,
    batch: Batch,
    options: dict[str, str] | None = None,
) -> Compiled:
    """Compile `make(axis)`; `state` and `batch` are abstract, `batch` that of all processes together.

    `options` are XLA's, for this program alone.
    """
    meshes.check_rows(mesh.shape, *batch.token.shape)
    if way != "jit" and mesh.shape["data"] != mesh.size:
        raise UserError(
            f"step.compile={way!r} replicates the state, but the mesh is {dict(mesh.shape)}: "
            f"use step.compile='jit', or mesh.layout='replicated'"
        )
    if way == "pmap":
        return _by_pmap(make, mesh, state, batch, options)
    return _by_jit(make, way, mesh, state, shardings, batch, options)


def _by_jit(make, way: Way, mesh: Mesh, state: TrainState, shardings: TrainState, batch: Batch, options) -> Compiled:
    placed_batch = meshes.batch_shardings(mesh, batch)
    if way == "shard_map":
        # check_vma=False: with it, gradients of replicated parameters arrive summed already, and a
        # second sum would make them as many times too large as there are devices.
        placed = TrainState(*(P("data") if name == "carry" else P() for name in TrainState._fields))
        step = jax.shard_map(
            make("data"), mesh=mesh, in_specs=(placed, P("data")), out_specs=(placed, P()), check_vma=False
        )
    else:
        step = make(None)
    jitted = jax.jit(step, in_shardings=(shardings, placed_batch), out_shardings=(shardings, None), donate_argnums=0)
    with jax.set_mesh(mesh):
        executable = jitted.lower(state, batch).compile(options)
    same = lambda state: state
    return Compiled(executable, same, same, lambda batch: place(batch, placed_batch), executable)


def _by_pmap(make, mesh: Mesh, state: TrainState, batch: Batch, options) -> Compiled:
    devices = list(mesh.devices.flat)
    count = len(devices)
    stacked = NamedSharding(
        jax.make_mesh((count,), ("data",), (jax.sharding.AxisType.Auto,), devices=devices), P("data")
    )
    many = lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype, sharding=stacked)
    part = lambda x: jax.ShapeDtypeStruct((len(x) // count, *x.shape[1:]), x.dtype)
    local = jax.tree.map(lambda x: many(part(x)), batch)
    step = jax.pmap(make("data"), axis_name="data", devices=devices, donate_argnums=0)
    here = len(mesh.local_devices)
    cut_here = lambda x: x.reshape(here, x.shape[0] // here, *x.shape[1:])
    cut = lambda x: x.reshape(count, x.shape[0] // count, *x.shape[1:])
    copies = lambda x: jax.numpy.broadcast_to(x, (count, *x.shape))
    join = lambda x: x.reshape(-1, *x.shape[2:])

    def enter(state: TrainState) -> TrainState:
        return jax.tree.map(copies, state)._replace(carry=jax.tree.map(cut, state.carry))

    def leave(state: TrainState) -> TrainState:
        return jax.tree.map(lambda x: x[0], state)._replace(carry=jax.tree.map(join, state.carry))

    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=stacked), jax.eval_shape(enter, state)
    )
    executable = step.lower(abstract, local).compile(options)
    enter = jax.jit(enter, out_shardings=stacked)
    leave = jax.jit(leave, out_shardings=NamedSharding(mesh, P()))

    def run(state, batch):
        state, metrics = executable(state, batch)
        return state, jax.tree.map(lambda x: x[0], metrics)

    return Compiled(
        run,
        enter,
        leave,
        lambda batch: place(jax.tree.map(cut_here, batch), jax.tree.map(lambda _: stacked, batch)),
        executable,
    )


def place(rows: Any, shardings: Any) -> Any:
    """This process's rows, see `mesh.row_share`, as its part of the global arrays; `shardings` has one for each."""
    if jax.process_count() == 1:
        return jax.device_put(rows, shardings)
    return jax.tree.map(_share_of, rows, shardings)


def _share_of(x: Any, sharding: NamedSharding) -> jax.Array:
    """A global array, to which this process brings whole rows; of these its devices may hold some positions only."""
    number, count = meshes.row_share(sharding)
    first = number * len(x)

    def on_device(index):
        rows = slice((index[0].start or 0) - first, (index[0].stop or len(x) * count) - first)
        return x[rows, *index[1:]]

    return jax.make_array_from_callback((len(x) * count, *x.shape[1:]), sharding, on_device)


def state_shardings(mesh: Mesh, state: TrainState, axes: Any) -> TrainState:
    """Where each leaf of an abstract state lies: an optimiser's as its parameter, counters everywhere."""
    names_of = {
        tuple(key.key for key in path): names
        for path, names in jax.tree_util.tree_leaves_with_path(axes, is_leaf=lambda x: isinstance(x, tuple))
    }

    def sharding(path, leaf) -> NamedSharding:
        keys = tuple(getattr(key, "key", None) for key in path)
        for start in range(len(keys)):
            names = names_of.get(keys[start:])
            if names is not None and len(names) == leaf.ndim:
                return NamedSharding(mesh, meshes.spec(names))
        return NamedSharding(mesh, P())

    by_rows = lambda x: NamedSharding(mesh, meshes.spec(("batch",) + ("norm",) * (x.ndim - 1)))
    placed = jax.tree_util.tree_map_with_path(sharding, state)
    return placed._replace(carry=jax.tree.map(by_rows, state.carry))
