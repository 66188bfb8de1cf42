"""The first step of a family on a mesh: what the table of layouts compares, in one process and in several."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlm import parts, run
from jaxlm.batch import Batch
from jaxlm.config import parse
from jaxlm.data.loader import batches
from jaxlm.data.objectives import vocabulary
from jaxlm.data.shards import Shards
from jaxlm.mesh import MeshConfig
from jaxlm.run_config import RunConfig
from jaxlm.training.compile import Way
from jaxlm.training.layout import Layout
from tests import test_run_families

FAMILIES = test_run_families.FAMILIES
ONE = MeshConfig(layout="single")
HEADS = 8  # as many as the most devices of an axis
LENGTHS = {"t5": 34}  # which makes rows of 8 tokens with sources of 32; of others 32


def axes(**sizes) -> MeshConfig:
    return MeshConfig(layout="axes", **sizes)


# name -> mesh, who partitions
LAYOUTS: dict[str, tuple[MeshConfig, Way]] = {
    "data": (axes(data=8), "jit"),
    "fsdp": (axes(fsdp=8), "jit"),
    "tensor": (axes(tensor=8), "jit"),
    "sequence": (axes(sequence=8), "jit"),
    "ring": (axes(sequence=4, attention="ring"), "jit"),
    "2x2x2": (axes(data=2, fsdp=2, tensor=2), "jit"),
    "data x sequence": (axes(data=2, sequence=4), "jit"),
    "fsdp x tensor": (axes(fsdp=4, tensor=2), "jit"),
    "fsdp x tensor x ring": (axes(fsdp=2, tensor=2, sequence=2, attention="ring"), "jit"),
    "shard_map": (MeshConfig(layout="replicated", devices=8), "shard_map"),
    "pmap": (MeshConfig(layout="replicated", devices=8), "pmap"),
}


class First(NamedTuple):
    """After one step of plain descent, on the host."""

    loss: float
    gradient: Any
    carry: Any


def config(name: str, folder: Path) -> RunConfig:
    """That of test_run_families, in sizes that divide over eight devices; its optimiser keeps the gradient."""
    saved = test_run_families.config(name, folder).model_dump()
    saved["optimizer"] = {"kind": "sgd", "momentum": 0.9}
    saved["data"]["length"] = LENGTHS.get(name, 32)
    saved["model"]["vocab"] = 288
    if "heads" in saved["model"]:
        few = saved["model"]["kv_heads"] and HEADS // 2
        saved["model"] |= {"heads": HEADS, "width": 4 * HEADS, "kv_heads": few}
    return parse(saved, RunConfig)


def prepared(cfg: RunConfig, folder: Path) -> Shards:
    return run.prepare(cfg.data, folder / "shards", workers=1)


def first_step(cfg: RunConfig, mesh: MeshConfig, way: Way, shards: Shards) -> First:
    """Of the loader's first batch, of which this process reads its share."""
    built, batch = _built(cfg, mesh, way, shards)
    compiled = built.compiled
    state, metrics = compiled.step(compiled.enter(built.init()), compiled.place(batch))
    state = compiled.leave(state)
    everywhere = jax.jit(lambda x: x, out_shardings=NamedSharding(built.mesh, P()))
    loss, gradient, carry = jax.tree.map(np.asarray, everywhere((metrics["loss"], state.opt, state.carry)))
    return First(float(loss), gradient, carry)


def scores(cfg: RunConfig, mesh: MeshConfig, way: Way, shards: Shards) -> np.ndarray:
    """What evaluation sums up for each row of that batch, before the first step."""
    built, batch = _built(cfg, mesh, way, shards)
    state = built.init()
    return np.asarray(built.sums(state.params, built.place(batch), state.carry)[0])


def _built(cfg: RunConfig, mesh: MeshConfig, way: Way, shards: Shards) -> tuple[parts.Parts, Batch]:
    cfg = cfg.model_copy(update={"mesh": mesh})
    built = parts.build(cfg, Layout(mesh, None, way, "", {}), vocabulary(cfg.data.objective, cfg.data.length, shards))
    rank, processes = built.share
    loader = batches(shards, cfg.data, process_index=rank, process_count=processes)
    batch = next(loader)
    loader.close()
    return built, batch


def assert_equal(got: First, wanted: First) -> None:
    """Within 1e-5, all of it and each leaf; where a leaf is nearly 0, rounding of what it was made from remains."""
    np.testing.assert_allclose(got.loss, wanted.loss, rtol=1e-5)
    for a, b in ((got.gradient, wanted.gradient), (got.carry, wanted.carry)):
        leaves = [(np.float64(x), np.float64(y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
        size = np.sqrt(sum((y**2).sum() for _, y in leaves))
        assert np.sqrt(sum(((x - y) ** 2).sum() for x, y in leaves)) <= 1e-5 * size
        for x, y in leaves:
            assert np.linalg.norm(x - y) <= 1e-5 * np.linalg.norm(y) + 1e-6 * size
