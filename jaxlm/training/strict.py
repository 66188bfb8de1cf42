"""A step with the same bits on 1, 2, 4 ... devices and in any number of processes; it costs some speed.

Sums of floating-point numbers depend on their order, and a compiler's order on all that it compiles at once. So the
batch is cut into a fixed number of parts, and each work has a program of its own, which is the same on every device:

    part      the gradient of one part: each device takes its parts one after another, no collective
    add       two gradients: a device's parts are summed as a tree of pairs, while they come
    join      the upper levels of the same tree, between devices: each level exchanges with one partner (a butterfly),
              and as a + b is b + a, both have the same bits
    update    optimiser and averages, on every device alike

On CPU, products and sums of these programs do not depend on the number of threads either: not split among Eigen's,
and of the YNNPACK library only single products, as its sums are split by threads (tried in jax 0.10.2: Muon's norms
differed between 2 and 16). On GPU, XLA is asked for deterministic kernels and none is chosen by timing; we have
proved the equality of bits on CPU only.

Left out: state that is split over devices.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlm.batch import Batch
from jaxlm.errors import UserError
from jaxlm.training.compile import Compiled, place
from jaxlm.training.state import TrainState
from jaxlm.training.step import Loss, Update, noise_of

OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {
        "xla_cpu_multi_thread_eigen": False,
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT",
    },
    "gpu": {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0},
}
ROW = P("data")


class Round(NamedTuple):
    """One part of the batch for each device."""

    batch: Batch
    rows_B: Any  # int32, numbers in the global batch


def compile_strict(
    loss: Loss, update: Update, *, seed: int | None, parts: int, mesh: Mesh, state: TrainState, batch: Batch
) -> Compiled:
    """The step over `parts` parts of the batch; `state` and `batch` are abstract, `batch` that of all processes."""
    rounds = rounds_on(mesh, parts)
    options = OPTIONS.get(mesh.devices.flat[0].platform, {})

    def part(params, step, batch, rows_B, carry):
        of_part = jax.value_and_grad(loss, has_aux=True)
        (_, (sums, carry)), grads = of_part(params, batch, noise_of(seed, step, rows_B), carry)
        return jax.tree.map(lambda x: x[None], (grads, sums)), carry

    abstract = _rounds_of(batch, mesh, rounds)
    carry = _part_of(state.carry, mesh, rounds)
    build = lambda function, *arguments: _compile(function, options, *arguments)
    part = build(_mapped(part, mesh, (P(), P(), ROW, ROW, ROW), (ROW, ROW)), state.params, state.step, *abstract, carry)
    found = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((mesh.size, *x.shape), x.dtype, sharding=NamedSharding(mesh, ROW)),
        (state.params, {name: jax.ShapeDtypeStruct((), jnp.float32) for name in ("loss", "weight", "tokens")}),
    )
    add = build(jax.jit(lambda a, b: jax.tree.map(jnp.add, a, b), donate_argnums=0), found, found)
    join = build(_mapped(lambda tree: butterfly(tree, mesh.size), mesh, (ROW,), P()), found)
    total = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype, sharding=NamedSharding(mesh, P())), found)
    where = jax.tree.map(lambda x: x.sharding, state)
    update = build(jax.jit(update, donate_argnums=0, out_shardings=(where, None)), state, *total, state.carry)
    cut, paste = _carry_programs(state.carry, carry, mesh, rounds, build)

    def step(state: TrainState, placed: tuple[Round, ...]) -> tuple[TrainState, dict[str, jax.Array]]:
        waiting, after = [], []  # sums of 2, 4, 8 ... parts that wait for as many more
        for number, (one, carry) in enumerate(zip(placed, cut(state.carry), strict=True), 1):
            summed, carry = part(state.params, state.step, one.batch, one.rows_B, carry)
            after.append(carry)
            while number % 2 == 0:
                summed, number = add(waiting.pop(), summed), number // 2
            waiting.append(summed)
        (summed,) = waiting
        return update(state, *join(summed), paste(after))

    same = lambda state: state
    return Compiled(step, same, same, lambda batch: place_rounds(batch, mesh, rounds), part)


def sums_by_part(sums: Callable, mesh: Mesh, parts: int, state: TrainState, batch: Batch) -> Callable:
    """`sums` of evaluation/perplexity.py over placed rounds, each part by the same program; arguments abstract."""
    rounds = rounds_on(mesh, parts)
    options = OPTIONS.get(mesh.devices.flat[0].platform, {})
    build = lambda function, *arguments: _compile(function, options, *arguments)
    one, some = _rounds_of(batch, mesh, rounds).batch, _part_of(state.carry, mesh, rounds)
    columns = P(None, "data")
    of_part = build(_mapped(sums, mesh, (P(), ROW, ROW), (columns, ROW)), state.params, one, some)
    cut, paste = _carry_programs(state.carry, some, mesh, rounds, build)
    # Each device has its parts side by side; then all rows are everywhere, in their order.
    beside = _mapped(lambda *parts: jnp.concatenate(parts, axis=1), mesh, (columns,) * rounds, columns)
    everywhere = jax.jit(beside, out_shardings=NamedSharding(mesh, P()))

    def call(params: Any, placed: tuple[Round, ...], carry: Any) -> tuple[jax.Array, Any]:
        found = [of_part(params, one.batch, some) for one, some in zip(placed, cut(carry), strict=True)]
        return everywhere(*(scores for scores, _ in found)), paste([after for _, after in found])

    return call


def rounds_on(mesh: Mesh, parts: int) -> int:
    """How many parts each device of `mesh` takes; UserError where they do not divide."""
    devices = mesh.size
    if mesh.shape["data"] != devices:
        raise UserError(
            f"step.deterministic='strict' replicates the state, but the mesh is {dict(mesh.shape)}: "
            f"use mesh.layout='replicated' or 'single', or step.deterministic='fast'"
        )
    if parts % devices:
        fewer = max(n for n in range(1, devices) if parts % n == 0)
        raise UserError(
            f"step.deterministic='strict' cuts the batch into step.parts={parts}, which do not divide over {devices} "
            f"devices: set mesh.devices={fewer}, or begin another run with more parts"
        )
    return parts // devices


def place_rounds(batch: Batch, mesh: Mesh, rounds: int) -> tuple[Round, ...]:
    """This process's rows as its part of each round."""
    local = len(mesh.local_devices)
    rows = len(batch.token)
    numbers = jax.process_index() * rows + np.arange(rows, dtype=np.int32)
    # A device's parts are neighbours in the batch, as they are in the tree of sums.
    cut = lambda x: np.moveaxis(np.asarray(x).reshape(local, rounds, -1, *x.shape[1:]), 1, 0)
    split = jax.tree.map(cut, Round(batch, numbers))
    sharding = NamedSharding(mesh, ROW)

    def one(number: int) -> Round:
        part = jax.tree.map(lambda x: x[number].reshape(-1, *x.shape[3:]), split)
        return place(part, jax.tree.map(lambda _: sharding, part))

    return tuple(one(number) for number in range(rounds))


def butterfly(tree: Any, devices: int) -> Any:
    """Inside shard_map: the sum over `devices` (a power of two) of trees with a first dimension of 1."""
    leaves, structure = jax.tree.flatten(tree)
    flat = jnp.concatenate([leaf.ravel() for leaf in leaves])  # on CPU each collective is a rendezvous
    for level in itertools.takewhile(lambda n: n < devices, (2**n for n in itertools.count())):
        partners = [(device, device ^ level) for device in range(devices)]
        flat = flat + jax.lax.ppermute(flat, "data", partners)
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = [part.reshape(leaf.shape[1:]) for part, leaf in zip(jnp.split(flat, ends), leaves, strict=True)]
    return jax.tree.unflatten(structure, parts)


def _mapped(function: Callable, mesh: Mesh, takes: Any, gives: Any) -> Any:
    # check_vma=False: see compile.py.
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=takes, out_specs=gives, check_vma=False))


def _compile(jitted: Any, options: dict[str, Any], *arguments: Any) -> Any:
    """Without `jax.set_mesh`: in a mesh Muon would share its products among devices, which gives other bits."""
    return jitted.lower(*arguments).compile(compiler_options=options)


def _rounds_of(batch: Batch, mesh: Mesh, rounds: int) -> Round:
    """Shapes of one round; `batch` is that of all processes."""
    rows = len(batch.token)
    return _part_of(Round(batch, jax.ShapeDtypeStruct((rows,), jnp.int32)), mesh, rounds)


def _part_of(tree: Any, mesh: Mesh, rounds: int) -> Any:
    sharding = NamedSharding(mesh, ROW)
    part = lambda x: jax.ShapeDtypeStruct((len(x) // rounds, *x.shape[1:]), x.dtype, sharding=sharding)
    return jax.tree.map(part, tree)


def _carry_programs(carry: Any, part: Any, mesh: Mesh, rounds: int, build: Callable) -> tuple[Callable, Callable]:
    """(carry -> that of each round, the reverse): copies of rows, so any program will do."""
    if carry == ():
        return lambda _: [()] * rounds, lambda _: ()
    cut = lambda tree: tuple(jax.tree.map(lambda x: jnp.split(x, rounds)[number], tree) for number in range(rounds))
    paste = lambda trees: jax.tree.map(lambda *parts: jnp.concatenate(parts), *trees)
    cut = build(_mapped(cut, mesh, (ROW,), ROW), carry)
    paste = build(_mapped(paste, mesh, (ROW,), ROW), [part] * rounds)
    return cut, paste
