"""A model in a folder of Hugging Face's: config.json and safetensors, to our config and parameters and back."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlm.data.foreign import read_object
from jaxlm.errors import UserError
from jaxlm.flat import flatten
from jaxlm.interop import config_json, safetensors_file, tensors
from jaxlm.interop.layouts import Architecture
from jaxlm.interop.safetensors_file import SHARD_BYTES, Float, Progress, Tensor
from jaxlm.interop.tensors import Place, Sizes
from jaxlm.models.build import ModelConfig, build
from jaxlm.models.family import Family

CONFIG, GENERATION = "config.json", "generation_config.json"
CONFIG_LIMIT = 10_000_000  # bytes, chosen: a config.json has some thousand
FRESH_SEED = 0  # chosen: of what a folder lacks


class Found(NamedTuple):
    """A model in a folder, all but its numbers looked at."""

    cfg: ModelConfig
    facts: dict[str, Any]  # config_json.facts
    stacked: bool  # whether its parameters are to lie in one array for all layers
    json: dict[str, Any]  # config.json
    arch: Architecture
    sizes: Sizes
    tensors: dict[str, Tensor]  # by the names of the table
    fresh: tuple[str, ...]  # parameters of heads that it lacks: they are drawn at random, from FRESH_SEED

    @property
    def model_type(self) -> str:
        return self.arch.model_type

    @property
    def objective(self) -> str:
        """Kind of what it was trained for."""
        return self.arch.objective

    @property
    def vocab(self) -> int:
        return self.facts["vocab"]

    @property
    def length(self) -> int | None:
        """Most tokens of its rows."""
        return self.facts["max_length"]

    def read(self, progress: Progress = lambda *_: None) -> dict[str, np.ndarray]:
        """Its parameters, named as `flat.flatten` names them; float32."""
        params: dict[str, np.ndarray] = {}
        wanted = parameter_shapes(self.cfg, self.facts)
        there = [place for place in tensors.places(self.arch, self.sizes) if place.theirs in self.tensors]
        for done, place in enumerate(there, 1):
            progress(done, len(there), "reading tensors")
            tensor = self.tensors[place.theirs].finite()
            if has(wanted, place):
                params |= place.split(tensor, self.sizes)
            else:
                self._require_nothing_new(place, tensor)
        params |= self._filled(wanted) | drawn(self.cfg, self.facts, self.fresh)
        assert {path: array.shape for path, array in params.items()} == wanted
        return tensors.stacked(params) if self.stacked else params

    def _filled(self, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Parameters whose tensor is missing because it is the same as another."""
        params: dict[str, np.ndarray] = {}
        for place in tensors.places(self.arch, self.sizes):
            if place.row.fills and place.theirs not in self.tensors and has(wanted, place):
                assert place.row.copy_of is not None
                params |= place.split(self.tensors[place.row.copy_of].read(), self.sizes)
        return params

    def _require_nothing_new(self, place: Place, tensor: np.ndarray) -> None:
        """UserError where a tensor that is no parameter of ours is not what it must be."""
        file, copy_of = self.tensors[place.theirs].file, place.row.copy_of
        if copy_of is None:
            if tensor.any():
                raise UserError(f"{file}: {place.theirs!r} is not 0, as jaxlm wrote it: remove 'jaxlm' from {CONFIG}")
        elif not np.array_equal(tensor, self.tensors[copy_of].read()):
            raise UserError(
                f"{file}: {place.theirs!r} differs from {copy_of!r}, but {CONFIG} says that they are one "
                f"(tie_word_embeddings): set that to false, or remove the tensor"
            )


def look(folder: Path) -> Found:
    """What model is in `folder`; no number is read yet. UserError where there is none that jaxlm computes."""
    path, config = folder / CONFIG, read_config(folder)
    arch, cfg, facts, stacked = config_json.from_json(config, str(path))
    found = safetensors_file.find(folder)
    sizes = tensors.sizes(facts)
    for name, layers in (("layers", sizes["N"]), ("decoder_layers", sizes["M"])):
        if layers > len(found):
            key = next(field.theirs for field in arch.fields if field.ours == name)
            raise UserError(f"{path}: {key}={layers:,}, but there are only {len(found):,} tensors")
    named = _by_table(arch, found)
    if config_json.OURS not in config:
        cfg = cfg.model_copy(update=arch.seen(named))
    arch = arch.of(cfg)
    fresh = _require_fit(folder, arch, facts["tied"], sizes, named)
    return Found(cfg, facts, stacked, config, arch, sizes, named, fresh)


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of `folder`; UserError where there is none."""
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder: name the one of a Hugging Face model")
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder} has no {CONFIG}: name the folder of a Hugging Face model")
    return read_object(path, CONFIG_LIMIT)


def has(params: Mapping[str, Any], place: Place) -> bool:
    """Are the parameters of `place` among `params`? A second name of a tensor has none of its own."""
    return bool(place.ours) and params.keys() >= place.ours.keys()


def _by_table(arch: Architecture, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by the names of the table: without what holds nothing learned, and with the prefix of the model."""
    ignored = re.compile(arch.ignored)
    kept = {arch.renaming(name): tensor for name, tensor in found.items() if not ignored.fullmatch(name)}
    if any(name.startswith(arch.prefix) for name in kept):
        return kept
    whole = {row.theirs for row in arch.rows if not row.theirs.startswith(arch.prefix)}
    return {name if name in whole else arch.prefix + name: tensor for name, tensor in kept.items()}


def _require_fit(
    folder: Path, arch: Architecture, tied: bool, sizes: Sizes, found: Mapping[str, Tensor]
) -> tuple[str, ...]:
    """Our parameters of heads that are not there.

    UserError where tensors are missing, too many, of another shape or of numbers that jaxlm does not read.
    """
    places = {place.theirs: place for place in tensors.places(arch, sizes)}
    heads = {None} | {place.row.head for name, place in places.items() if name in found}
    problems, fresh = [], []
    for name, place in places.items():
        row = place.row
        if name not in found:
            if row.head not in heads:
                fresh += place.ours
            elif row.copy_of is None or not (tied or row.fills or not row.ours):
                problems.append(f"{name!r} is missing")
        elif problem := safetensors_file.unlike(name, found[name], place.shape(sizes)):
            problems.append(problem)
        elif row.copy_of is not None and row.copy_of not in found:
            problems.append(f"{row.copy_of!r} is missing")
    problems += [f"{name!r} is not one of {arch.model_type}'s" for name in found if name not in places]
    safetensors_file.require_none(problems, folder)
    return tuple(fresh)


def parameter_shapes(cfg: ModelConfig, facts: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Of our parameters with layers one by one, by name."""
    shapes = jax.eval_shape(_one_by_one(cfg, facts).init, jax.random.key(0))
    return {name: leaf.shape for name, leaf in flatten(shapes).items()}


def drawn(cfg: ModelConfig, facts: Mapping[str, Any], names: Collection[str]) -> dict[str, np.ndarray]:
    """The parameters `names` as a new model has them; the same ones each time."""
    init = _one_by_one(cfg, facts).init
    some = lambda key: {name: leaf for name, leaf in flatten(init(key)).items() if name in names}
    made = jax.jit(some)(jax.random.key(FRESH_SEED)) if names else {}  # XLA leaves out what nobody asks for
    return {name: np.asarray(leaf) for name, leaf in made.items()}


def _one_by_one(cfg: ModelConfig, facts: Mapping[str, Any]) -> Family:
    if "scan_layers" in type(cfg).model_fields:
        cfg = cfg.model_copy(update={"scan_layers": False})
    return build(cfg, vocab=facts["vocab"], length=facts["max_length"], packed=True, platform="cpu")


def write(
    folder: Path,
    cfg: ModelConfig,
    params: Mapping[str, np.ndarray],
    *,
    length: int,
    generation: Mapping[str, Any],
    dtype: Float = "float32",
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda *_: None,
) -> Architecture:
    """Write config.json, generation_config.json and the weights into `folder`; UserError for what has no layout there.

    `params` are named as `flat.flatten` names them, layers stacked or not. `length` is the most tokens of a row, where
    `cfg` does not say; `generation` are ids and settings that go into both JSON files or the second.
    """
    vocab = len(params["embedding"])
    stacked = any("blocks" in path.split("/") for path in params)
    arch, config = config_json.to_json(cfg, vocab, length, stacked=stacked)
    ids = {key: value for key, value in generation.items() if key.endswith("_token_id")}
    _write_json(folder / CONFIG, config | ids | {"dtype": dtype, "torch_dtype": dtype})
    _write_json(folder / GENERATION, dict(generation))
    sizes, alone = tensors.sizes(config_json.facts(cfg, vocab, length)), tensors.one_by_one(params)
    there = [p for p in tensors.places(arch, sizes) if has(alone, p) or p.row.zeros]
    left = alone.keys() - {path for place in there for path in place.ours}
    assert not left, f"{arch.model_type} has no place for {sorted(left)}"
    places, done = {place.theirs: place for place in there}, iter(range(1, len(there) + 1))

    def get(name: str) -> np.ndarray:
        progress(next(done), len(there), "writing tensors")
        place = places[name]
        if has(alone, place):
            return place.join(alone, sizes)
        return np.zeros(place.shape(sizes), np.float32)

    shapes = {name: place.shape(sizes) for name, place in places.items()}
    safetensors_file.write(folder, shapes, get, dtype=dtype, shard_bytes=shard_bytes)
    return arch


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
