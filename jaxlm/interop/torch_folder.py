"""Recurrent language models in folders that PyTorch opens: an embedding, `nn.RNN`, `nn.LSTM` or `nn.GRU`, and a head.

config.json holds the arguments of the module, and vocab_size; the state dict is safetensors:

    embedding.weight                           (vocab_size, input_size)
    rnn.weight_ih_l0, rnn.weight_hh_l0, ...    as the module names them
    head.weight, head.bias                     (vocab_size, output); without the weight it is the embedding's
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlm.config import Config, dump, parse
from jaxlm.errors import UserError
from jaxlm.flat import flatten, nested
from jaxlm.interop import config_json, safetensors_file
from jaxlm.interop.safetensors_file import SHARD_BYTES, Float, Progress, Tensor
from jaxlm.interop.table import NEEDED, Field
from jaxlm.interop.torch_recurrent import MODULES, from_torch, names, to_torch
from jaxlm.models.cells import CELLS
from jaxlm.models.recurrent import RecurrentConfig

log = logging.getLogger("jaxlm")
CONFIG = "config.json"
_FIELDS = (
    Field("vocab_size", "vocab", NEEDED),
    Field("input_size", "embedding", NEEDED),
    Field("hidden_size", "width", NEEDED),
    Field("num_layers", "layers", 1),
    Field("bias", "bias", True, bool),
    Field("bidirectional", "bidirectional", False, bool),
    Field("proj_size", "projection", None),
    Field("tie_word_embeddings", "tied", False, bool),
)
_CELL = Field("nonlinearity", "cell", "tanh", str, {"tanh": "tanh", "relu": "relu"})
_FREE = {"model_type", "architectures", "batch_first", "dropout", "dtype", "torch_dtype", config_json.OURS}
_TABLES = {"embedding": "embedding.weight", "head": "head.weight", "head_b": "head.bias"}
# As PyTorch's example word_language_model names them.
_FORMER = {"encoder.weight": "embedding.weight", "decoder.weight": "head.weight", "decoder.bias": "head.bias"}


class _OurKey(Config):
    model: RecurrentConfig


class _Wrapped(Config):
    jaxlm: _OurKey


class Found(NamedTuple):
    """A model in a folder, all but its numbers looked at; exchange.py asks the same of it as of huggingface.Found."""

    cfg: RecurrentConfig
    json: dict[str, Any]
    model_type: str
    vocab: int
    tensors: dict[str, Tensor]
    length: int | None = None  # any
    fresh: tuple[str, ...] = ()

    @property
    def objective(self) -> str:
        return "next_token" if self.cfg.causal else "masked"

    def read(self, progress: Progress = lambda *_: None) -> dict[str, np.ndarray]:
        """Its parameters, named as `flat.flatten` names them; float32."""
        weights = {}
        for done, (name, tensor) in enumerate(self.tensors.items(), 1):
            progress(done, len(self.tensors), "reading tensors")
            weights[name] = tensor.finite()
        params = {"embedding": weights["embedding.weight"]}
        if not self.cfg.tied:
            params["head"] = weights["head.weight"]
        elif not np.array_equal(weights.get("head.weight", params["embedding"]), params["embedding"]):
            raise UserError(
                f"{self.tensors['head.weight'].file}: 'head.weight' differs from 'embedding.weight', but config.json "
                f"says that they are one (tie_word_embeddings): set that to false, or remove the tensor"
            )
        if self.cfg.bias:
            params["head_b"] = weights.get("head.bias", np.zeros(self.vocab, np.float32))
        of_layers = {name.removeprefix("rnn."): x for name, x in weights.items() if name.startswith("rnn.")}
        return params | {name: np.asarray(x) for name, x in flatten(from_torch(self.cfg, of_layers)).items()}


def look(folder: Path, config: Mapping[str, Any], origin: str) -> Found:
    """What model of these is in `folder`, which `config` describes; UserError where there is none."""
    kind = config["model_type"]
    plain = {key: value for key, value in config.items() if not (key == "proj_size" and value == 0)}
    told = {field.ours: config_json.told(field, plain, origin) for field in _FIELDS}
    told["cell"] = config_json.told(_CELL, plain, origin) if kind == "rnn" else kind
    known = _FREE | {field.theirs for field in (*_FIELDS, _CELL)}
    if unknown := [key for key in config if key not in known and not key.endswith("_token_id")]:
        log.warning("%s: not known to jaxlm, and left out of account: %s", origin, ", ".join(sorted(unknown)))
    cfg = parse({**told, "precision": "float32"}, RecurrentConfig, origin)
    if config_json.OURS in config:
        cfg = _believed(config, cfg, origin)
    there = safetensors_file.find(folder)
    renamed = {old: new for old, new in _FORMER.items() if new not in there}  # where both are, one is too many
    found = {renamed.get(name, name): tensor for name, tensor in there.items()}
    if cfg.layers > len(found):
        raise UserError(f"{origin}: num_layers={cfg.layers:,}, but there are only {len(found):,} tensors")
    _require_fit(folder, cfg, kind, found)
    return Found(cfg, dict(config), kind, told["vocab"], found)


def _believed(config: Mapping[str, Any], cfg: RecurrentConfig, origin: str) -> RecurrentConfig:
    """The config that jaxlm wrote beside the keys, where both say the same model."""
    try:
        ours = parse({config_json.OURS: config[config_json.OURS]}, _Wrapped, origin).jaxlm.model
    except UserError as error:
        why = " ".join(str(error).removeprefix(f"{origin}:").split())
        raise UserError(f"{origin}: its key 'jaxlm' is not as this jaxlm writes it: {why}; remove that key") from None
    ours = ours.model_copy(update={"vocab": cfg.vocab})
    for name, value in _numbers(cfg).items():
        if (other := _numbers(ours)[name]) != value:
            raise UserError(
                f"{origin} was edited since jaxlm wrote it: its key 'jaxlm' says {name}={other!r}, the rest says "
                f"{value!r}; mend one, or remove the key 'jaxlm'"
            )
    return ours


def _numbers(cfg: RecurrentConfig) -> dict[str, Any]:
    """What decides which numbers `cfg` computes; regularisers and backends do not."""
    return {
        "cell": cfg.cell, "layers": cfg.layers, "width": cfg.width, "embedding": cfg.embedding or cfg.width,
        "tied": cfg.tied, "projection": cfg.projection, "bidirectional": cfg.bidirectional, "bias": cfg.bias,
    }  # fmt: skip


def _require_fit(folder: Path, cfg: RecurrentConfig, kind: str, found: Mapping[str, Tensor]) -> None:
    shapes = _shapes(cfg)
    optional = {"head.bias"} | ({"head.weight"} if cfg.tied else set())
    problems = []
    for name, shape in shapes.items():
        if name not in found:
            problems += [] if name in optional else [f"{name!r} is missing"]
        elif problem := safetensors_file.unlike(name, found[name], shape):
            problems.append(problem)
    problems += [f"{name!r} is not one of {kind}'s" for name in found if name not in shapes]
    safetensors_file.require_none(problems, folder)


def _shapes(cfg: RecurrentConfig) -> dict[str, tuple[int, ...]]:
    """Of every tensor that a folder of `cfg` may have."""
    assert cfg.vocab is not None
    gates, output = CELLS[cfg.cell].gates, cfg.widths(0)[1]
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (cfg.vocab, cfg.embedding or cfg.width)}
    for number, (_, end) in enumerate(names(cfg)):
        read = shapes["embedding.weight"][1] if number < cfg.directions else output * cfg.directions
        shapes[f"rnn.weight_ih{end}"] = gates * cfg.width, read
        shapes[f"rnn.weight_hh{end}"] = gates * cfg.width, output
        if cfg.bias:
            shapes |= {f"rnn.{name}{end}": (gates * cfg.width,) for name in ("bias_ih", "bias_hh")}
        if cfg.projection:
            shapes[f"rnn.weight_hr{end}"] = output, cfg.width
    shapes["head.weight"] = cfg.vocab, output * cfg.directions
    return shapes | ({"head.bias": (cfg.vocab,)} if cfg.bias else {})


def require_layout(cfg: RecurrentConfig) -> None:
    """UserError where no module of PyTorch computes what `cfg` does."""
    if cfg.cell not in MODULES:
        raise UserError(
            f"model.cell={cfg.cell!r} is no module of PyTorch's, which has {', '.join(MODULES)}: use it by jaxlm.load"
        )
    widths = {cfg.widths(layer) for layer in range(cfg.layers)}
    if len(widths) > 1:
        told = f"model.width={cfg.width}, model.embedding={cfg.embedding}, model.projection={cfg.projection}"
        raise UserError(
            f"{told} with model.tied={cfg.tied} makes the last layer another width than the others, and a module of "
            f"PyTorch's has one: use it by jaxlm.load"
        )


def write(
    folder: Path,
    cfg: RecurrentConfig,
    params: Mapping[str, np.ndarray],
    *,
    ids: Mapping[str, Any],
    dtype: Float = "float32",
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = lambda *_: None,
) -> str:
    """Write config.json and the weights into `folder`; its model_type.

    `params` are named as `flat.flatten` names them; `ids` go into config.json. UserError as `require_layout`'s.
    """
    require_layout(cfg)
    kind, ours = MODULES[cfg.cell], {**_numbers(cfg), "vocab": len(params["embedding"])}
    config: dict[str, Any] = {"model_type": kind} | {field.theirs: ours[field.ours] for field in _FIELDS}
    config["proj_size"] = cfg.projection or 0
    config |= {"nonlinearity": cfg.cell} if kind == "rnn" else {}
    config |= {key: value for key, value in ids.items() if key.endswith("_token_id")}
    config |= {"dtype": dtype, config_json.OURS: {"model": dump(cfg)}}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    weights = {f"rnn.{name}": x for name, x in to_torch(cfg, nested(params)).items()}
    weights |= {theirs: params[name] for name, theirs in _TABLES.items() if name in params}
    done = iter(range(1, len(weights) + 1))

    def get(name: str) -> np.ndarray:
        progress(next(done), len(weights), "writing tensors")
        return weights[name]

    shapes = {name: x.shape for name, x in weights.items()}
    safetensors_file.write(folder, shapes, get, dtype=dtype, shard_bytes=shard_bytes)
    return kind
