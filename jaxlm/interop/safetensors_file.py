"""Weights in safetensors files: one, or several with an index. No pickle is ever opened.

A file is 8 bytes of length, so many bytes of JSON (name -> dtype, shape, place), and the numbers. The library reads
and writes the numbers; the header is checked by us first, since a file from elsewhere may hold anything: lengths are
bounded before they are believed, and the places of all tensors must cover the rest of the file, each byte once.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxlm.data.foreign import parse_object, read_object
from jaxlm.errors import JaxlmError, UserError

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
TENSORS_LIMIT = 200_000  # chosen: of one file; twice those of the largest mixture of experts we know, in all its files
HEADER_LIMIT = 40_000_000  # bytes; chosen: 200 for each of the tensors; the library's own is 100 million
HEADER_VALUES = 16  # of each tensor: names, dimensions, brackets
NAME_LIMIT = 255  # bytes of a file's name, on all file systems
SHARD_BYTES = 5_000_000_000  # of numbers in a file; what transformers 4 cuts at

BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8, "C64": 8,
}  # fmt: skip
Progress = Callable[[int, int | None, str], None]  # (done, total, what)
Float = Literal["float32", "bfloat16", "float16"]
FLOATS: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
READ = ("F32", "F16", "BF16")  # all of their values are float32 numbers too
SHOWN = 3  # of the tensors that do not fit
PICKLES = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5")


class Tensor(NamedTuple):
    """Where a tensor lies."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Its numbers as float32, without rounding."""
        try:
            with safe_open(self.file, framework="np") as file:
                return file.get_tensor(self.name).astype(np.float32, copy=False)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{self.file}: {self.name!r} cannot be read: {error}") from None

    def finite(self) -> np.ndarray:
        """`read`; UserError where a number is not finite."""
        numbers = self.read()
        if not np.isfinite(numbers).all():
            raise UserError(
                f"{self.file}: {self.name!r} holds numbers that are not finite: the file is damaged, or its training "
                f"diverged; take another"
            )
        return numbers


def unlike(name: str, tensor: Tensor, shape: tuple[int, ...]) -> str | None:
    """Why `tensor` cannot be read as one of `shape`; None: it can."""
    if tensor.shape != shape:
        return f"{name!r} is {list(tensor.shape)}, not {list(shape)}"
    return None if tensor.dtype in READ else f"{name!r} is {tensor.dtype}, jaxlm reads {', '.join(READ)}"


def require_none(problems: Sequence[str], folder: Path) -> None:
    """UserError with the first of what does not fit the config.json of `folder`."""
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise UserError(f"{folder}: tensors do not fit config.json: {'; '.join(problems[:SHOWN])}{more}")


def find(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the model in `folder`, after all headers were checked; UserError where there is none."""
    if (folder / FILE).is_file():
        return header(folder / FILE)
    if (folder / INDEX).is_file():
        return _sharded(folder, folder / INDEX)
    there = sorted({path.name for pattern in PICKLES for path in folder.glob(pattern)})
    if there:
        raise UserError(
            f"{folder} has its weights in {there[0]} only: such files can run any program when they are opened, so "
            f"jaxlm reads safetensors alone; where you trust it, load it with transformers and write it anew by "
            f"model.save_pretrained({str(folder)!r}, safe_serialization=True)"
        )
    raise UserError(f"{folder} has no {FILE} and no {INDEX}: name the folder of a Hugging Face model")


def _sharded(folder: Path, index: Path) -> dict[str, Tensor]:
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise UserError(f"{index} has no weight_map from names to files")
    found: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        plain = Path(name).name == name and "\\" not in name and len(name.encode(errors="replace")) <= NAME_LIMIT
        if not plain or not name.endswith(".safetensors"):
            raise UserError(f"{index} names {name!r:.120}: a shard is a .safetensors file in the same folder")
        if not (folder / name).is_file():
            raise UserError(f"{index} names {name}, which is not there: copy the whole folder")
        inside = header(folder / name)
        stray = next((tensor for tensor in inside if places.get(tensor) != name), None)
        if stray is not None:
            where = f"in {places[stray]}" if stray in places else "nowhere"
            raise UserError(f"{folder / name} holds {stray!r}, which {INDEX} looks for {where}: copy the folder anew")
        found |= inside
    if missing := sorted(places.keys() - found.keys()):
        raise UserError(f"{folder / places[missing[0]]} lacks {missing[0]!r}, which {INDEX} says it holds")
    return found


def header(path: Path) -> dict[str, Tensor]:
    """The tensors of one file; UserError where its header does not describe it to the last byte."""
    try:
        with open(path, "rb") as file:
            size = path.stat().st_size
            length = int.from_bytes(file.read(8), "little")
            if size >= 8 and length > HEADER_LIMIT:
                raise UserError(
                    f"{path}: a header of {length:,} bytes is more than the {HEADER_LIMIT:,} allowed: no safetensors?"
                )
            if size < 8 + length:
                raise UserError(f"{path} is truncated: {size:,} bytes, its header alone has {8 + length:,}")
            told = parse_object(file.read(length), f"{path}: its header", HEADER_VALUES * TENSORS_LIMIT)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    told.pop("__metadata__", None)
    if len(told) > TENSORS_LIMIT:
        raise UserError(f"{path}: {len(told):,} tensors are more than the {TENSORS_LIMIT:,} allowed: no model?")
    spans = {name: _span(path, name, entry) for name, entry in told.items()}
    end = 0
    for name, (start, stop) in sorted(spans.items(), key=lambda item: item[1]):
        if start != end:
            what = "overlaps the one before it" if start < end else "leaves a gap before it"
            raise UserError(f"{path}: {name!r:.120} {what} (bytes {start:,} to {stop:,}, not from {end:,}): damaged")
        end = stop
    if size != 8 + length + end:
        how = "truncated" if size < 8 + length + end else "too long"
        raise UserError(f"{path} is {how}: {size:,} bytes, its header describes {8 + length + end:,}")
    return {name: Tensor(path, name, entry["dtype"], tuple(entry["shape"])) for name, entry in told.items()}


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    """(start, stop) of a tensor's bytes, when dtype, shape and place agree."""
    count = lambda values: isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values)
    if (
        not isinstance(entry, dict)
        or entry.keys() != {"dtype", "shape", "data_offsets"}
        or not isinstance(entry["dtype"], str)
        or not count(entry["shape"])
        or len(entry["shape"]) > 16
        or not count(entry["data_offsets"])
        or len(entry["data_offsets"]) != 2
    ):
        raise UserError(f"{path}: {name!r:.120} is not described by dtype, shape and data_offsets: damaged")
    dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if dtype not in BYTES:
        raise UserError(f"{path}: {name!r:.120} has the unknown dtype {dtype!r}; known are {', '.join(BYTES)}")
    needed = math.prod(shape) * BYTES[dtype]
    if stop - start != needed:
        raise UserError(f"{path}: {name!r:.120} is {dtype}{shape}, {needed:,} bytes, but has {stop - start:,}: damaged")
    return start, stop


def write(
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]],
    get: Callable[[str], np.ndarray],
    *,
    dtype: Float = "float32",
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write the tensors that `get` gives by name; at most one file's are held at a time.

    A smaller dtype rounds to the nearest number; UserError where one has no finite one.
    """
    bytes_of = lambda name: math.prod(shapes[name]) * np.dtype(FLOATS[dtype]).itemsize
    shards: list[list[str]] = []
    room = -1
    for name in shapes:
        if bytes_of(name) > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(name)
        room -= bytes_of(name)
    places = {}
    for number, names in enumerate(shards, 1):
        file = FILE if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        held = {name: _rounded(name, get(name), dtype) for name in names}
        try:
            save_file(held, folder / file, metadata={"format": "pt"})
        except SafetensorError as error:  # among others, a full disk
            raise JaxlmError(f"{folder / file} was not written: {error}") from None
        (folder / file).chmod(folder.stat().st_mode & 0o666)  # the library lets nobody else read it
        places |= dict.fromkeys(names, file)
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(map(bytes_of, shapes))}, "weight_map": dict(sorted(places.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _rounded(name: str, tensor: np.ndarray, dtype: Float) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = tensor.astype(FLOATS[dtype])
    if (np.isfinite(tensor) & ~np.isfinite(rounded)).any():
        raise UserError(
            f"{name} has values up to {np.abs(tensor).max():.3g}, too large for {dtype}: take another dtype"
        )
    return np.require(rounded, requirements="C")  # ascontiguousarray would give a number a dimension
