"""The parts of a run, put together: mesh, model, optimiser, compiled step. The only place that builds them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxlm import mesh as meshes
from jaxlm.batch import Batch
from jaxlm.data.examples import Classification, Extraction, Tagging
from jaxlm.data.objectives import ObjectiveConfig, example
from jaxlm.errors import UserError
from jaxlm.evaluation import perplexity
from jaxlm.flat import shape_of
from jaxlm.losses import LossConfig, cross_entropy
from jaxlm.mesh_misfit import check_microbatches, check_shapes
from jaxlm.models import build as models
from jaxlm.models.family import Family, Head
from jaxlm.models.stack_config import StackConfig
from jaxlm.run_config import RunConfig
from jaxlm.training import asgd
from jaxlm.training import optimizer as optimizers
from jaxlm.training import state as states
from jaxlm.training.compile import Compiled, compile_step, place, state_shardings
from jaxlm.training.layout import Layout
from jaxlm.training.state import TrainState
from jaxlm.training.step import Loss, Step, Update, make_step, make_update
from jaxlm.training.strict import compile_strict, sums_by_part

POSITIONS = ("position", "encoder/position", "decoder/position")  # learned tables, in decoders and encoders or both


class Parts(NamedTuple):
    """What a config becomes on devices."""

    family: Family
    mesh: Mesh
    init: Callable[[], TrainState]  # at random, on the mesh
    abstract: TrainState  # shapes, dtypes and shardings
    compiled: Compiled
    sums: perplexity.Sums  # jitted
    place: Callable[[Batch], Batch]  # this process's rows -> arrays on the mesh, for `sums`
    share: tuple[int, int]  # (r, n): this process's rows of a global batch are the r-th of n equal parts


class Drawing(NamedTuple):
    """A step before it is compiled: all of it is known, nothing lies on a device."""

    family: Family
    mesh: Mesh
    init: Callable[[], TrainState]  # at random, not jitted
    make: Callable[[str | None], Step]  # for the name of a mapped axis
    loss: Loss
    update: Update
    seed: int | None  # of noise
    abstract: TrainState  # shapes, dtypes and shardings
    shardings: TrainState
    batch: Batch  # shapes and dtypes, of all processes together


def build(cfg: RunConfig, layout: Layout, vocab: int) -> Parts:
    """Mesh, model, optimiser and compiled step of `cfg` in `layout`, for `vocab` ids of tokenizer and objective."""
    drawn = draw(cfg, layout, vocab)
    mesh, abstract, shardings, batch = drawn.mesh, drawn.abstract, drawn.shardings, drawn.batch
    row_sums = perplexity.row_sums(drawn.family)
    if layout.compile == "strict":
        how = {"mesh": mesh, "parts": cfg.step.parts, "state": abstract, "batch": batch}
        compiled = compile_strict(drawn.loss, drawn.update, seed=drawn.seed, **how)
        sums, place_rows = sums_by_part(row_sums, **how), compiled.place
    else:
        compiled = compile_step(drawn.make, layout.compile, mesh, abstract, shardings, batch)
        on_rows = meshes.batch_shardings(mesh, batch)
        sums = jax.jit(
            row_sums,
            in_shardings=(shardings.params, on_rows, shardings.carry),
            out_shardings=(NamedSharding(mesh, P()), shardings.carry),  # scores everywhere: any process reads them
        )
        sums, place_rows = in_mesh(sums, mesh), lambda batch: place(batch, on_rows)
    return Parts(
        family=drawn.family,
        mesh=mesh,
        init=jax.jit(drawn.init, out_shardings=shardings),
        abstract=abstract,
        compiled=compiled,
        sums=sums,
        place=place_rows,
        share=meshes.row_share(NamedSharding(mesh, meshes.spec(("batch",)))),
    )


def draw(cfg: RunConfig, layout: Layout, vocab: int, devices: Sequence[Any] | None = None) -> Drawing:
    """What `build` compiles; `devices` (default: jax's own) may be those of a topology, where nothing can run."""
    mesh = meshes.build(layout.mesh, devices)
    check_shapes(cfg, mesh.shape)
    family = build_family(cfg, vocab, mesh.devices.flat[0].platform)
    rate = optimizers.schedule(cfg.optimizer.schedule, cfg.optimizer.peak_rate, cfg.loop.steps)
    optimizer = optimizers.build(cfg.optimizer, cfg.loop.steps, family.axes, family.precision)
    init, abstract = state_of(cfg, family, optimizer, mesh)
    loss, seed = make_loss(family, cfg.loss), cfg.seed if cfg.model.noisy else None
    average = optimizers.moving_average(cfg.optimizer)

    def make(axis: str | None) -> Step:
        return make_step(
            loss, optimizer, rate=rate, seed=seed, microbatches=cfg.step.microbatches, average=average, axis=axis
        )

    if layout.compile not in ("jit", "strict"):  # each device cuts the rows it has
        check_microbatches(cfg, meshes.row_shards(mesh))
    return Drawing(
        family, mesh, init, make, loss, make_update(optimizer, rate=rate, average=average), seed,
        abstract, jax.tree.map(lambda x: x.sharding, abstract), abstract_batch(cfg),
    )  # fmt: skip


def state_of(cfg: RunConfig, family: Family, optimizer: Any, mesh: Mesh) -> tuple[Callable[[], TrainState], TrainState]:
    """How the first state is made, and what it is like on `mesh`: shapes, dtypes and shardings."""

    def init() -> TrainState:
        params = family.init(jax.random.key(cfg.seed))
        return states.start(
            params,
            optimizer,
            averaged=optimizers.averaged(cfg.optimizer),
            carry=carry(cfg, family),
            trigger=asgd.fresh(cfg.optimizer.patience) if cfg.optimizer.kind == "nt_asgd" else (),
        )

    shapes = jax.eval_shape(init)
    meshes.check_divides(mesh, family.axes, shapes.params)
    shardings = state_shardings(mesh, shapes, family.axes)
    return init, jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


def abstract_batch(cfg: RunConfig) -> Batch:
    """Shapes and dtypes of the batches that the objective makes, over all processes together."""
    rows = example(cfg.data.objective, cfg.data.batch, cfg.data.length)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), rows)


def as_saved(cfg: RunConfig, arrays: Mapping[str, str], vocab: int) -> RunConfig:
    """`cfg` with the shapes that it leaves open as in a checkpoint with these `arrays` (names, `flat.kinds`).

    By default the platform decides whether layers are stacked; for the other shapes see `sized`.
    """
    cfg = sized(cfg, arrays, vocab)
    if not isinstance(cfg.model, StackConfig) or cfg.model.scan_layers is not None or not arrays:
        return cfg
    return with_model(cfg, scan_layers=any("/blocks/" in name for name in arrays))


def sized(cfg: RunConfig, arrays: Mapping[str, str], vocab: int) -> RunConfig:
    """`cfg` with as many ids and learned positions as in a checkpoint with these `arrays`, if those are more.

    By default the tokenizer and the objective, which need `vocab` ids, and the length of rows decide. A run that began
    with another's parameters (`init`) keeps what that had; of two tables of positions, if both had as many.
    """
    if cfg.init is None:
        return cfg
    tables = {name.partition("/")[2]: shape_of(kind)[0] for name, kind in arrays.items() if shape_of(kind)}
    found: dict[str, int] = {}
    if cfg.model.vocab is None and tables.get("embedding", 0) > vocab:
        found["vocab"] = tables["embedding"]
    positions = {tables[name] for name in POSITIONS if name in tables}
    if isinstance(cfg.model, StackConfig) and cfg.model.max_length is None and len(positions) == 1:
        batch, most = abstract_batch(cfg), max(positions)
        if most > max(x.token.shape[1] for x in (batch, batch.source) if x is not None):
            found["max_length"] = most
    return with_model(cfg, **found)


def with_model(cfg: RunConfig, **fields: Any) -> RunConfig:
    """`cfg` with these fields of its model."""
    return cfg.model_copy(update={"model": cfg.model.model_copy(update=fields)}) if fields else cfg


def carry(cfg: RunConfig, family: Family) -> Any:
    """The recurrent state before the first batch, where rows go on from batch to batch; else ()."""
    return family.carry(cfg.data.batch) if cfg.data.rows == "lanes" else ()


def build_family(cfg: RunConfig, vocab: int, platform: str) -> Family:
    if cfg.model.vocab is not None and cfg.model.vocab < vocab:
        raise UserError(
            f"model.vocab={cfg.model.vocab} is under the {vocab} ids of the tokenizer and what the objective adds: "
            f"raise it, or leave it out"
        )
    batch = abstract_batch(cfg)
    return models.build(
        cfg.model,
        vocab=cfg.model.vocab or vocab,
        length=batch.token.shape[1],
        # What pads the last chunk comes after its text: it is hidden from a causal model anyway.
        packed=cfg.data.rows != "chunked" or batch.source is not None or not cfg.model.causal,
        platform=platform,
        head=head(cfg.data.objective),
        source_length=None if batch.source is None else batch.source.token.shape[1],
        prefix=batch.prefix is not None,
        ring=cfg.mesh.attention == "ring",
    )


def head(objective: ObjectiveConfig) -> Head:
    """What a model must say for `objective`."""
    if isinstance(objective, Classification | Tagging):
        return Head("tags" if isinstance(objective, Tagging) else "classes", len(objective.classes))
    return Head("span") if isinstance(objective, Extraction) else Head()


def make_loss(family: Family, cfg: LossConfig):
    """(params, batch, noise, carry) -> (sum to minimise, (sums of nats and weight, carry)), for training/step.py."""

    def loss(params, batch, noise, carry):
        hidden = family.apply(params, batch, noise, carry)
        with jax.named_scope("loss"):  # by which jaxlm plan knows its buffers
            objective, nats = cross_entropy(
                hidden.array,
                family.head(params),
                batch.target,
                batch.weight,
                precision=family.precision,
                cfg=cfg,
                softcap=family.softcap,
                bias_V=family.bias(params),
            )
        sums = {"loss": nats, "weight": batch.weight.sum(), "tokens": tokens_read(batch)}
        return objective + jax.numpy.sum(hidden.penalty), (sums, hidden.carry if carry != () else ())

    return loss


def tokens_read(batch: Batch) -> jax.Array:
    """Tokens of the rows and of their sources, padding left out: what a speed counts."""
    segments = [batch.segment] if batch.source is None else [batch.segment, batch.source.segment]
    return sum((jax.numpy.float32(1) * (segment > 0)).sum() for segment in segments)  # type: ignore[return-value]


def in_mesh(function: Callable, mesh: Mesh) -> Callable:
    """`function` called with `mesh` in scope, for `mesh.constrain`."""

    def call(*args):
        with jax.set_mesh(mesh):
            return function(*args)

    return call
