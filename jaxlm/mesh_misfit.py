"""Which mesh does not suit a config: told from the config alone, before any text is prepared for it.

What only the tokenizer decides, the vocabulary where model.vocab leaves it open, `mesh.check_divides` tells later.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from jaxlm import mesh as meshes
from jaxlm.batch import Batch
from jaxlm.data.objectives import example, vocabulary
from jaxlm.data.tokenizer_config import ByteBpeConfig, BytesConfig, SentencePieceConfig, WordPieceConfig
from jaxlm.errors import UserError
from jaxlm.mesh import AXES, MeshConfig
from jaxlm.models.build import ModelConfig
from jaxlm.models.cells import LINEAR
from jaxlm.models.encoder import EncoderConfig
from jaxlm.models.recurrent import RecurrentConfig
from jaxlm.models.stack_config import StackConfig
from jaxlm.run_config import RunConfig
from jaxlm.training import layout as layouts


class Dimension(NamedTuple):
    """A shape that a field of the config decides."""

    field: str
    size: int
    name: str  # logical, see mesh.RULES


@dataclasses.dataclass
class Trained:
    """What is known of a tokenizer that is still to be made: how many ids it has, of a trained one at most."""

    vocab: int
    mask: int | None  # None: it has none of its own
    separator: int = 0
    closing: int = 0
    start: int = 0
    sentinels: tuple[int, ...] = ()

    @classmethod
    def of(cls, cfg: BytesConfig | SentencePieceConfig | ByteBpeConfig | WordPieceConfig) -> "Trained":
        if isinstance(cfg, BytesConfig):
            return cls(257, None)  # the bytes and a separator
        return cls(cfg.vocab, 0 if isinstance(cfg, WordPieceConfig) else None)


def check_mesh(cfg: RunConfig, cores: int | None) -> None:
    """UserError for the first thing of `cfg` that does not suit its mesh; `cores` is None where jax is not on CPU.

    Where an accelerator's devices are not counted by the config, or a layout is still to be chosen by measuring, only
    what holds for all of them is checked.
    """
    sizes = known_sizes(cfg.mesh, cores)
    if sizes is None:
        return
    if cfg.mesh.layout == "auto" and cores is not None:
        sizes = dict.fromkeys(AXES, 1) | {"data": cfg.mesh.devices or 1}  # rows are split in every candidate but one
    check_way(cfg, sizes)
    check_shapes(cfg, sizes)
    way = layouts.default_way(cfg.mesh, cores is not None) if cfg.step.compile == "auto" else cfg.step.compile
    if way != "jit":
        check_microbatches(cfg, sizes["data"])


def check_shapes(cfg: RunConfig, sizes: Mapping[str, int]) -> None:
    """UserError for the first shape that does not divide over axes of these `sizes`."""
    rows = example(cfg.data.objective, 1, cfg.data.length)
    # What is read before it is answered is as long as the objective makes it, and told below.
    meshes.check_rows(sizes, cfg.data.batch, cfg.data.length if rows.source is None else sizes["sequence"])
    check_positions(cfg, sizes, rows)
    for dimension in dimensions(cfg.model):
        check_dimension(dimension, sizes)
    if cfg.model.vocab is None and isinstance(cfg.data.tokenizer, BytesConfig):
        ids = vocabulary(cfg.data.objective, cfg.data.length, Trained.of(cfg.data.tokenizer))
        check_dimension(Dimension("model.vocab", ids, "vocab"), sizes)


def known_sizes(cfg: MeshConfig, cores: int | None) -> dict[str, int] | None:
    """The size of each axis where the config, and on CPU the machine, decide it."""
    devices = cfg.data * cfg.fsdp * cfg.tensor * cfg.sequence if cfg.layout == "axes" else cfg.devices or cores
    return None if devices is None else meshes.sizes(cfg, devices)


def check_way(cfg: RunConfig, sizes: Mapping[str, int]) -> None:
    """UserError where step.compile copies a state that the mesh splits."""
    way, split = cfg.step.compile, {axis: size for axis, size in sizes.items() if axis != "data" and size > 1}
    if way in ("shard_map", "pmap") and split:
        raise UserError(
            f"step.compile={way!r} replicates the state, but the mesh is {dict(sizes)}: "
            f"use step.compile='jit', or mesh.layout='replicated'"
        )


def check_microbatches(cfg: RunConfig, devices: int) -> None:
    """UserError where a device's rows do not divide; rows that do not divide over devices are told elsewhere."""
    parts = devices * cfg.step.microbatches
    if cfg.data.batch % devices == 0 and cfg.data.batch % parts:
        raise UserError(
            f"data.batch={cfg.data.batch} on {devices} devices does not divide into step.microbatches="
            f"{cfg.step.microbatches}: make it {-(-cfg.data.batch // parts) * parts}, or use fewer microbatches"
        )


def check_positions(cfg: RunConfig, sizes: Mapping[str, int], rows: Batch) -> None:
    """UserError where mesh axis `sequence` would split what goes from one position to the next, or odd sources."""
    parts, model = sizes["sequence"], cfg.model
    if parts == 1:
        return
    if isinstance(model, RecurrentConfig) and model.cell not in LINEAR:
        raise UserError(
            f"mesh.sequence={parts} splits positions, and model.cell={model.cell!r} goes from one to the next: use "
            f"mesh.data or mesh.fsdp, or one of model.cell={', '.join(map(repr, LINEAR))}, which is linear in its state"
        )
    if rows.source is None:
        return
    found = {"tokens": rows.token.shape[1], "source": rows.source.token.shape[1]}
    for what, length in found.items():
        if length % parts:
            fits = largest(math.gcd(*found.values()), parts)
            tells = "data.objective.source_length" if cfg.data.objective.kind == "seq2seq" else "data.length"
            raise UserError(
                f"data.objective.kind={cfg.data.objective.kind!r} makes rows of {length} {what} of data.length="
                f"{cfg.data.length}, which mesh axis 'sequence'={parts} does not divide: choose {tells} so that it "
                f"does, or mesh.sequence={fits}"
            )


def dimensions(model: ModelConfig) -> Iterator[Dimension]:
    """What of a model its config decides and the rules of the mesh may split."""
    if isinstance(model, StackConfig):
        dims = model.dims
        yield Dimension("model.width", dims.D, "width")
        yield Dimension("model.kv_heads" if model.dial("kv_heads") else "model.heads", dims.G, "kv")
        yield Dimension("model.ff_width", dims.F, "ff")
        if isinstance(model, EncoderConfig):  # the products of its heads
            yield Dimension("model.width", dims.D, "ff")
    elif isinstance(model, RecurrentConfig):
        table = "embedding" if model.embedding else "width"
        read = "projection" if model.projection else "width"
        yield Dimension(f"model.{table}", getattr(model, table), "width")
        yield Dimension(f"model.{read}", getattr(model, read), "state_in")
    else:
        yield Dimension("model.width", model.width, "width")
    if model.vocab is not None:
        yield Dimension("model.vocab", model.vocab, "vocab")


def check_dimension(dimension: Dimension, sizes: Mapping[str, int]) -> None:
    field, size, name = dimension
    axis = meshes.axis_of(name)
    assert axis is not None
    if size % sizes[axis]:
        up = -(-size // sizes[axis]) * sizes[axis]
        raise UserError(
            f"{field}={size} does not divide over mesh axis {axis!r}={sizes[axis]}: make it {up}, or the axis "
            f"{largest(size, sizes[axis])}"
        )


def largest(size: int, most: int) -> int:
    """The largest divisor of `size` up to `most`."""
    return next(divisor for divisor in range(most, 0, -1) if size % divisor == 0)
