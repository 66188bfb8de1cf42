"""Tensors of theirs into parameters of ours and back, by the rows of layouts.py.

Parameters are a flat dict here, "block_0/attention/q/w" -> array, with the layers one by one.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxlm.interop.layouts import Architecture, Row

Sizes = Mapping[str, int]  # letter -> size; N is the number of layers, M of those of a decoder that reads an encoder
LETTERS = {
    "N": "layers", "D": "width", "G": "kv_heads", "K": "head_width", "F": "ff_width", "V": "vocab", "P": "max_length",
    "M": "decoder_layers", "E": "width", "T": "buckets", "J": "kinds",
}  # fmt: skip


class Place(NamedTuple):
    """A row in one layer."""

    theirs: str
    ours: dict[str, str]  # path -> letters
    row: Row

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Of their tensor."""
        return tuple(sum(_size(part, sizes) for part in word.split("|")) for word in self.row.shape.split())

    def shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        """Of our parameters."""
        return {path: tuple(sizes[letter] for letter in letters.split()) for path, letters in self.ours.items()}

    def split(self, tensor: np.ndarray, sizes: Sizes) -> dict[str, np.ndarray]:
        """Their tensor as our parameters."""
        found = {}
        for (path, letters), part in zip(self.ours.items(), _parts(self.row.shape, tensor, sizes), strict=True):
            words, array = part
            spelled = "".join(words)
            opened = array.reshape([sizes[letter] for letter in spelled])
            turned = opened.transpose([spelled.index(letter) for letter in letters.split()])
            found[path] = np.ascontiguousarray(turned)
        return found

    def join(self, params: Mapping[str, np.ndarray], sizes: Sizes) -> np.ndarray:
        """Our parameters as their tensor."""
        parts = []
        for number, (path, letters) in enumerate(self.ours.items()):
            words = _words(self.row.shape, number)
            ours = letters.split()
            turned = params[path].transpose([ours.index(letter) for letter in "".join(words)])
            parts.append(turned.reshape([_size(word, sizes) for word in words]))
        axis = _cut_axis(self.row.shape)
        return np.ascontiguousarray(parts[0] if axis is None else np.concatenate(parts, axis))


def sizes(facts: Mapping[str, Any]) -> dict[str, int]:
    """The letters, from the facts of a model (config_json.py)."""
    found = {letter: facts.get(name, 0) for letter, name in LETTERS.items()}
    return found | {"R": facts["heads"] // facts["kv_heads"], "C": 2}


def places(arch: Architecture, sizes: Sizes) -> Iterator[Place]:
    """Every row in every layer it is in."""
    for row in arch.rows:
        counter = next((letter for letter in "NM" if f"{{{letter}}}" in row.theirs), None)
        for n in range(sizes[counter] if counter else 1):
            at = lambda name, n=n, counter=counter: name.replace(f"{{{counter}}}", str(n))
            yield Place(at(row.theirs), {at(path): letters for path, letters in row.ours.items()}, row)


def stacked(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of all layers in one array each, as `scan_layers` has them: blocks/x instead of block_0/x, ..."""
    found: dict[str, Any] = {}
    for path, array in params.items():
        if layer := re.fullmatch(r"(.*/)?block_(\d+)/(.+)", path):
            found.setdefault(f"{layer[1] or ''}blocks/{layer[3]}", {})[int(layer[2])] = array
        else:
            found[path] = array
    whole = lambda layers: np.stack([layers[n] for n in range(len(layers))])
    return {path: whole(array) if isinstance(array, dict) else array for path, array in found.items()}


def one_by_one(params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse of `stacked`; layers that are one by one already stay so."""
    found = {}
    for path, array in params.items():
        if layers := re.fullmatch(r"(.*/)?blocks/(.+)", path):
            found |= {f"{layers[1] or ''}block_{n}/{layers[2]}": array[n] for n in range(len(array))}
        else:
            found[path] = array
    return found


def _size(word: str, sizes: Sizes) -> int:
    return math.prod(sizes[letter] for letter in word)


def _words(shape: str, number: int) -> list[str]:
    """The dimensions of part `number` of a shape."""
    return [word.split("|")[number] if "|" in word else word for word in shape.split()]


def _cut_axis(shape: str) -> int | None:
    return next((axis for axis, word in enumerate(shape.split()) if "|" in word), None)


def _parts(shape: str, tensor: np.ndarray, sizes: Sizes) -> Iterator[tuple[list[str], np.ndarray]]:
    axis = _cut_axis(shape)
    if axis is None:
        yield _words(shape, 0), tensor
        return
    lengths = [_size(part, sizes) for part in shape.split()[axis].split("|")]
    cuts = np.cumsum(lengths)[:-1]
    for number, part in enumerate(np.split(tensor, cuts, axis)):
        yield _words(shape, number), part
