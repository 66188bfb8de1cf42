"""The score of a run: of a saved step, on a split of its shards or on a text."""

import itertools
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jaxlm import host
from jaxlm import mesh as meshes
from jaxlm.corpus import encode
from jaxlm.corpus.collect import documents
from jaxlm.corpus.document import Tally
from jaxlm.corpus.examples import pieces_of
from jaxlm.data.dataset import DataConfig
from jaxlm.data.examples import Classification
from jaxlm.data.loader import batches, evaluation_batches
from jaxlm.data.objectives import asked, labelled, parts
from jaxlm.data.shards import SPLITS, Shards, commit
from jaxlm.data.tokenizer import Tokenizer
from jaxlm.errors import UserError
from jaxlm.evaluation import adapt, baselines, classes, perplexity
from jaxlm.evaluation.cache import CacheConfig
from jaxlm.evaluation.dynamic import DynamicConfig
from jaxlm.mesh_misfit import check_shapes
from jaxlm.models.family import Family
from jaxlm.parts import abstract_batch, carry, in_mesh
from jaxlm.run_config import RunConfig, imported
from jaxlm.run_folder import RunFolder, read_json
from jaxlm.saved import load
from jaxlm.session import predicted_bytes
from jaxlm.training.compile import place
from jaxlm.training.layout import Layout

log = logging.getLogger("jaxlm")


def evaluate(
    run: str | Path,
    *,
    step: int | None = None,
    split: str | None = None,
    text: str | Path | None = None,
    shards_dir: str | Path | None = None,
    batch: int | None = None,
    length: int | None = None,
    cache: CacheConfig | None = None,
    dynamic: DynamicConfig | None = None,
) -> dict[str, Any]:
    """The score of a saved step on a split of its shards (None: validation) or a text, beside gzip -9 and xz -9.

    `batch` and `length` cut another number of lanes; `cache` and `dynamic` adapt to the text while it is scored.
    The keys are those of `jaxlm eval --json`.
    """
    require_one_text(text, split, shards_dir)
    folder = RunFolder(run).require()
    mesh = evaluation_mesh(folder)
    model, params, tokenizer, cfg, step = load(run, step)
    cfg = cfg.model_copy(update={"data": adapt.recut(cfg.data, batch, length, cache)})
    mesh = fitting(mesh, model, params, cfg)
    params = jax.device_put(params, meshes.shardings(mesh, model.axes))
    rows = meshes.batch_shardings(mesh, abstract_batch(cfg))
    jit = lambda function: in_mesh(jax.jit(function), mesh)
    sums, start = jit(perplexity.row_sums(model)), carry(cfg, model)
    if cache or dynamic:
        training = lambda: _training_batches(folder, cfg, tokenizer, shards_dir, lambda b: place(b, rows))
        sums, start = adapt.adapted(
            sums, start, model, params, abstract_batch(cfg), cache, dynamic, training=training, jit=jit
        )
    with _shards(folder, cfg, tokenizer, text, shards_dir) as shards:
        split = "test" if text is not None else split or "validation"
        counts = counted(shards, split, batch)
        source = evaluation_batches(shards, cfg.data, split)
        try:
            whole = predicted_bytes(cfg, counts)
            found = perplexity.score(sums, params, (place(b, rows) for b in source), whole, start)
        finally:
            source.close()
        trust = lambda: _trust(jit(classes.probabilities(model)), params, shards, cfg, split, lambda b: place(b, rows))
        adapt.require_finite(found.loss, dynamic, f"{folder.path}, step {step}")
        read = (lambda: source_text(shards, split, tokenizer)) if text is None else (lambda: file_text(cfg, text))
        beside = {"gzip": baselines.gzip_bits_per_byte, "xz": baselines.xz_bits_per_byte}
        return {
            "run": str(folder.path),
            "step": step,
            "source": (split if text is None else str(text)) + adapt.told(batch, length, cache, dynamic),
            **found._asdict(),
            "asked": asked(cfg.data.objective),  # what `tokens` counts
            **(trust() if isinstance(cfg.data.objective, Classification) else {}),
            **({"accuracy": None} if cache else {}),  # the likeliest token under the mixture is not looked for
            **adapt.settings(batch, length, cache, dynamic),
            "lossless": tokenizer.lossless,  # if not, bits_per_byte leave out what the tokenizer does not keep
            **{f"{name}_bits_per_byte": None if whole is None else by(read()) for name, by in beside.items()},
        }


def _trust(of_batch: Callable, params: Any, shards: Shards, cfg: RunConfig, split: str, placed: Callable) -> dict:
    """What there is to say of a classifier's probabilities, by the names of `classes.Trust`."""
    source = evaluation_batches(shards, cfg.data, split)
    try:
        found = classes.trust(of_batch, params, map(placed, source))
    finally:
        source.close()
    return {**found._asdict(), "calibration": [bin._asdict() for bin in found.calibration]}


def require_one_text(text: str | Path | None, split: str | None, shards_dir: str | Path | None) -> None:
    """UserError where it is not clear what is to be scored."""
    if text is not None and not str(text):
        raise UserError("--text is empty: name a file or folder of text")
    if text is not None and (split is not None or shards_dir is not None):
        raise UserError("--text is scored instead of a split: leave out --split and --shards-dir, or --text")
    if split is not None and split not in SPLITS:
        raise UserError(f"--split {split!r}: name one of {', '.join(SPLITS)}")


def counted(shards: Shards, split: str, lanes: int | None) -> dict[str, int]:
    """What `split` holds; UserError where that is nothing, or less than `lanes`."""
    counts = shards.counts(split)
    if not counts["predicted"]:
        raise UserError(f"split {split!r} of {str(shards.folder)!r} is empty: choose another with --split")
    if lanes is not None and lanes > counts["predicted"]:
        raise UserError(f"--batch {lanes} lanes of {counts['predicted']:,} tokens: ask for fewer")
    return counts


@contextmanager
def _training_batches(folder: RunFolder, cfg: RunConfig, tokenizer: Tokenizer, shards_dir, placed: Callable):
    """The batches that the run was trained on, in order."""
    with _shards(folder, cfg, tokenizer, None, shards_dir) as shards:
        source = batches(shards, cfg.data)
        try:
            yield map(placed, source)
        finally:
            source.close()


def evaluation_mesh(folder: RunFolder) -> jax.sharding.Mesh:
    """The mesh the run was trained on; one device, where there are too few for it or nothing says which it was."""
    if not folder.layout.exists():
        log.warning("%s is missing; evaluating on one device", folder.layout)
        host.start_jax(1)
        return meshes.build(meshes.MeshConfig(layout="single"))
    layout = Layout.parse(read_json(folder.layout))
    host.start_jax(layout.devices)
    try:
        return meshes.build(layout.mesh)
    except UserError as error:
        log.warning("%s; evaluating on one device", error)
        return meshes.build(meshes.MeshConfig(layout="single"))


def fitting(mesh: jax.sharding.Mesh, model: Family, params: Any, cfg: RunConfig) -> jax.sharding.Mesh:
    """`mesh`, or one device where there are now more devices than the model or its batch divide over."""
    try:
        meshes.check_divides(mesh, model.axes, params)
        check_shapes(cfg, mesh.shape)
    except UserError as error:
        log.warning("%s; evaluating on one device", error)
        return meshes.build(meshes.MeshConfig(layout="single"))
    return mesh


@contextmanager
def _shards(folder: RunFolder, cfg: RunConfig, tokenizer: Tokenizer, text, shards_dir) -> Iterator[Shards]:
    """The shards to read: the run's own, or those of a text made for the moment."""
    if text is not None:
        with tempfile.TemporaryDirectory(prefix="jaxlm-eval-") as temporary:
            yield text_shards(Path(temporary), cfg, tokenizer, text)
        return
    known = folder.read_data()
    if known is None:
        if imported(cfg):
            raise UserError(f"{str(folder.path)!r} is an imported model, without a text of its own: give --text")
        raise UserError(f"{folder.data} is missing, so nobody knows the run's shards: give --text, or restore it")
    where = Path(known["shards"]) if shards_dir is None else Path(shards_dir) / Path(known["shards"]).name
    shards = Shards.open(where)
    if shards.digest != known["digest"]:
        raise UserError(f"shards {str(where)!r} have digest {shards.digest}, the run was trained on {known['digest']}")
    yield shards


def text_shards(folder: Path, cfg: RunConfig, tokenizer: Tokenizer, text: str | Path) -> Shards:
    """Shards whose test split is all of `text`, by the run's tokenizer."""
    if not Path(text).expanduser().exists():
        raise UserError(f"--text {str(text)!r} does not exist: name a file or folder of text")
    building = folder / "building"
    building.mkdir()
    has_labels = labelled(cfg.data.objective)
    writers = {split: encode.writer(building, split, tokenizer, has_labels) for split in SPLITS}
    tally, changed = Tally(), 0
    try:
        for document in documents(source_of(cfg, text), tally):
            for piece in pieces_of(document):
                ids = tokenizer.encode(piece.text)
                encode.add(writers["test"], tokenizer, piece, ids, has_labels)
                changed += not tokenizer.lossless and tokenizer.decode(ids) != piece.text
    finally:
        counts = {split: writer.close() for split, writer in writers.items()}
    if not counts["test"]["documents"]:
        why = f": left out were {tally}" if str(tally) else ""
        raise UserError(f"--text {str(text)!r} holds nothing to score{why}; name another file or folder")
    if str(tally):
        log.warning("--text %r: left out or mended: %s", str(text), tally)
    if changed:
        log.warning(
            "the tokenizer does not keep all of a text (in %d of %d documents): the model is scored on what it keeps, "
            "and bits per byte count the bytes that were there",
            changed,
            counts["test"]["documents"],
        )
    tokenizer.save(building / "tokenizer")
    facts = {"splits": counts, "parts": parts(cfg.data.objective), **tokenizer.facts()}
    commit(building, folder / "shards", facts=facts)
    return Shards.open(folder / "shards")


def source_of(cfg: RunConfig, text: str | Path) -> DataConfig:
    """The data of a run, with `text` as its source."""
    return cfg.data.model_copy(update={"source": str(text), "include": ()})


def file_text(cfg: RunConfig, text: str | Path) -> Iterator[bytes]:
    """What `text` holds, document by document."""
    return (document.text.encode() for document in documents(source_of(cfg, text)))


def source_text(shards: Shards, split: str, tokenizer: Tokenizer) -> Iterator[bytes]:
    """The text of a split, document by document: its bytes, where the tokenizer loses nothing."""
    tokens, offsets = shards.tokens(split), shards.offsets(split)
    for start, end in itertools.pairwise(offsets):
        yield tokenizer.decode(tokens[start + 1 : end]).encode()
