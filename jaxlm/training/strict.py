"""A step with the same bits on 1, 2, 4 ... devices and in any number of processes; it costs some speed.

Sums of floating-point numbers depend on their order, and a compiler's order on all that it compiles at once. So the
batch is cut into a fixed number of parts, and each work is a program of its own, for one device, the same on all:

    part      the gradient of one part, as one flat array; a device takes its parts one after another
    add       two of these: a device's parts are summed as a tree of pairs, while they come
    join      the upper levels of the same tree, between devices: each level exchanges with one partner (a butterfly),
              and as a + b is b + a, both have the same bits
    update    optimiser and averages, on every device alike

Only `join` is a program over several devices, and it adds and copies, nothing else. The others must not be: XLA makes
another program of the same function for one device than for several (it divides by a product where it multiplied by
a reciprocal: seen in jax 0.10.2 in the gradient of models/linear.py).

On CPU, products and sums do not depend on the number of threads either: they are not split among Eigen's, and of the
YNNPACK library only single products are used, as its sums are split by threads (seen in jax 0.10.2: Muon's norms
differed between 2 and 16). On GPU, XLA is asked for deterministic kernels and to choose none by timing; equal bits
are proved on CPU only.

Left out: state that is split over devices.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P

from jaxlm.batch import Batch
from jaxlm.errors import UserError
from jaxlm.training.compile import Compiled
from jaxlm.training.state import TrainState
from jaxlm.training.step import Loss, Update, noise_of

OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    },
    "gpu": {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0},
}
SUMS = ("loss", "weight", "tokens")


class Part(NamedTuple):
    """Rows of one part of the batch, on one device."""

    batch: Batch
    rows_B: Any  # int32, numbers in the global batch


class Shares(NamedTuple):
    """Which device takes how many parts; a device's parts are neighbours in the batch, as in the tree of sums."""

    mesh: Mesh
    devices: tuple[Any, ...]  # of this process, in the order of the mesh
    rounds: int  # parts a device takes

    def everywhere(self, function: Callable, *arguments: Any, donate: bool = False) -> list[Any]:
        """`function` compiled for each device of this process, on abstract arguments; it may donate the first."""
        options = OPTIONS.get(self.devices[0].platform, {})

        def compile_on(device: Any) -> Any:
            here = SingleDeviceSharding(device)
            placed = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), arguments)
            return (
                jax.jit(function, donate_argnums=0 if donate else ()).lower(*placed).compile(compiler_options=options)
            )

        with ThreadPoolExecutor(len(self.devices)) as threads:
            return list(threads.map(compile_on, self.devices))

    def split(self, tree: Any) -> list[Any]:
        """Global arrays -> for each device of this process the tree of what it holds of them."""
        pieces = lambda x: {shard.device: shard.data for shard in x.addressable_shards}
        held = jax.tree.map(pieces, tree, is_leaf=lambda x: isinstance(x, jax.Array))
        is_pieces = lambda x: isinstance(x, dict) and not x.keys().isdisjoint(self.devices)
        return [jax.tree.map(lambda x: x[device], held, is_leaf=is_pieces) for device in self.devices]  # noqa: B023

    def whole(self, trees: Sequence[Any], spec: P) -> Any:
        """The reverse: trees of one device's arrays each -> global arrays."""
        sharding = NamedSharding(self.mesh, spec)
        along = next((n for n, axis in enumerate(spec) if axis), None)

        def join(*pieces):
            shape = list(pieces[0].shape)
            if along is not None:
                shape[along] *= self.mesh.size
            return jax.make_array_from_single_device_arrays(tuple(shape), sharding, list(pieces))

        return jax.tree.map(join, *trees)


def shares_of(mesh: Mesh, parts: int) -> Shares:
    """UserError where `parts` do not divide over the devices of `mesh`, or it splits the state."""
    if mesh.shape["data"] != mesh.size:
        raise UserError(
            f"step.deterministic='strict' replicates the state, but the mesh is {dict(mesh.shape)}: "
            f"use mesh.layout='replicated' or 'single', or step.deterministic='fast'"
        )
    if parts % mesh.size:
        fewer = max(n for n in range(1, mesh.size) if parts % n == 0)
        raise UserError(
            f"step.deterministic='strict' cuts the batch into step.parts={parts}, which do not divide over {mesh.size} "
            f"devices: set mesh.devices={fewer}, or begin another run with more parts"
        )
    local = tuple(device for device in mesh.devices.flat if device.process_index == jax.process_index())
    return Shares(mesh, local, parts // mesh.size)


def compile_strict(
    loss: Loss, update: Update, *, seed: int | None, parts: int, mesh: Mesh, state: TrainState, batch: Batch
) -> Compiled:
    """The step over `parts` parts of the batch; `state` and `batch` are abstract, `batch` that of all processes."""
    shares = shares_of(mesh, parts)
    part, carry = _abstract_part(batch, parts), _first(state.carry, parts)
    flat = jax.ShapeDtypeStruct((sum(x.size for x in jax.tree.leaves(state.params)) + len(SUMS),), jnp.float32)

    def gradient(params, step, part, carry):
        noise = noise_of(seed, step, part.rows_B)
        (_, (sums, carry)), grads = jax.value_and_grad(loss, has_aux=True)(params, part.batch, noise, carry)
        pieces = [leaf.ravel() for leaf in jax.tree.leaves(grads)] + [sums[name].reshape(1) for name in SUMS]
        return jnp.concatenate(pieces), carry

    def updated(state, total, carries):
        grads, sums = _unflatten(total, state.params)
        return update(state, grads, sums, carries)

    entered = state._replace(carry=(carry,) * shares.rounds if state.carry != () else ())
    gradients = shares.everywhere(gradient, state.params, state.step, part, carry)
    adds = shares.everywhere(jnp.add, flat, flat, donate=True)
    join = _butterfly(mesh, flat)
    updates = shares.everywhere(updated, entered, flat, entered.carry, donate=True)

    def step(states: list[TrainState], placed: list[list[Part]]) -> tuple[list[TrainState], dict[str, jax.Array]]:
        sums, carries = zip(*map(of_device, gradients, adds, states, placed), strict=True)
        totals = shares.split(join(shares.whole([x[None] for x in sums], P("data"))))
        done = [run(*given) for run, *given in zip(updates, states, totals, carries, strict=True)]
        return [state for state, _ in done], done[0][1]

    def of_device(gradient, add, state: TrainState, placed: list[Part]) -> tuple[jax.Array, Any]:
        """(sum over the device's parts, their carries); `waiting` has sums of 1, 2, 4 ... parts that lack as many."""
        waiting, after = [], []
        before = state.carry or ((),) * shares.rounds
        for number, (part, carry) in enumerate(zip(placed, before, strict=True), 1):
            found, carry = gradient(state.params, state.step, part, carry)
            after.append(carry)
            while number % 2 == 0:
                found, number = add(waiting.pop(), found), number // 2
            waiting.append(found)
        return waiting[0], tuple(after) if state.carry != () else ()

    return Compiled(
        step, lambda state: enter(shares, state), lambda states: leave(shares, states), placer(shares), gradients[0]
    )


def enter(shares: Shares, state: TrainState) -> list[TrainState]:
    """A state for each device of this process; its carry is one for each of the device's parts."""
    states = shares.split(state)
    return [one._replace(carry=_cut(one.carry, shares.rounds)) for one in states]


def leave(shares: Shares, states: list[TrainState]) -> TrainState:
    rest = shares.whole([one._replace(carry=()) for one in states], P())
    if states[0].carry == ():
        return rest
    rows = [jax.tree.map(lambda *parts: jnp.concatenate(parts), *one.carry) for one in states]
    return rest._replace(carry=shares.whole(rows, P("data")))


def placer(shares: Shares) -> Callable[[Batch], list[list[Part]]]:
    """This process's rows -> for each of its devices the parts it takes."""

    def place(batch: Batch) -> list[list[Part]]:
        rows = len(batch.token)
        numbers = jax.process_index() * rows + np.arange(rows, dtype=np.int32)
        parts = len(shares.devices) * shares.rounds
        cut = [np.split(np.asarray(x), parts) for x in jax.tree.leaves(Part(batch, numbers))]
        structure = jax.tree.structure(Part(batch, numbers))
        each = [jax.tree.unflatten(structure, leaves) for leaves in zip(*cut, strict=True)]
        owners = [device for device in shares.devices for _ in range(shares.rounds)]
        placed = [jax.device_put(part, device) for part, device in zip(each, owners, strict=True)]
        return [placed[n : n + shares.rounds] for n in range(0, parts, shares.rounds)]

    return place


def sums_by_part(sums: Callable, mesh: Mesh, parts: int, state: TrainState, batch: Batch) -> Callable:
    """`sums` of evaluation/perplexity.py over placed parts; `state` and `batch` are abstract."""
    shares = shares_of(mesh, parts)
    programs = shares.everywhere(sums, state.params, _abstract_part(batch, parts).batch, _first(state.carry, parts))
    replicate = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P()))

    def call(params: Any, placed: list[list[Part]], carry: Any) -> tuple[jax.Array, Any]:
        given = zip(programs, shares.split(params), placed, _carries(shares, carry), strict=True)
        found = [[run(params, part.batch, some) for part, some in zip(parts, carries, strict=True)]
                 for run, params, parts, carries in given]  # fmt: skip
        scores = [jnp.concatenate([one for one, _ in device], axis=1) for device in found]
        after = tuple([some for _, some in device] for device in found)
        return replicate(shares.whole(scores, P(None, "data"))), after if carry != () else ()

    return call


def _carries(shares: Shares, carry: Any) -> Sequence[Any]:
    """Of each device, for each of its parts: from what `call` returned, or from the global one before the first."""
    if carry == ():
        return [[()] * shares.rounds] * len(shares.devices)
    if isinstance(carry, tuple) and isinstance(carry[0], list):
        return carry
    placed = jax.device_put(carry, NamedSharding(shares.mesh, P("data")))
    return [_cut(one, shares.rounds) for one in shares.split(placed)]


def _cut(carry: Any, rounds: int) -> tuple[Any, ...]:
    """A device's carry -> that of each of its parts; () stays ()."""
    if carry == ():
        return ()
    leaves, structure = jax.tree.flatten(carry)
    return tuple(
        jax.tree.unflatten(structure, cut) for cut in zip(*(jnp.split(x, rounds) for x in leaves), strict=True)
    )


def _butterfly(mesh: Mesh, flat: jax.ShapeDtypeStruct) -> Callable[[jax.Array], jax.Array]:
    """(devices, n) -> the sum over devices, a power of two of them, on each."""

    def total(x: jax.Array) -> jax.Array:
        x = x[0]
        for level in itertools.takewhile(lambda n: n < mesh.size, (2**n for n in itertools.count())):
            x = x + jax.lax.ppermute(x, "data", [(device, device ^ level) for device in range(mesh.size)])
        return x

    # check_vma=False: see compile.py.
    mapped = jax.jit(jax.shard_map(total, mesh=mesh, in_specs=P("data"), out_specs=P(), check_vma=False))
    rows = jax.ShapeDtypeStruct((mesh.size, *flat.shape), flat.dtype, sharding=NamedSharding(mesh, P("data")))
    return mapped.lower(rows).compile()


def _unflatten(total: jax.Array, params: Any) -> tuple[Any, dict[str, jax.Array]]:
    leaves, structure = jax.tree.flatten(params)
    ends = list(itertools.accumulate(leaf.size for leaf in leaves))
    pieces = [total[a:b].reshape(leaf.shape) for a, b, leaf in zip([0, *ends], ends, leaves, strict=False)]
    return jax.tree.unflatten(structure, pieces), {name: total[ends[-1] + n] for n, name in enumerate(SUMS)}


def _abstract_part(batch: Batch, parts: int) -> Part:
    return _first(Part(batch, jax.ShapeDtypeStruct((len(batch.token),), jnp.int32)), parts)


def _first(tree: Any, parts: int) -> Any:
    """Shapes of one part."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(x) // parts, *x.shape[1:]), x.dtype), tree)
