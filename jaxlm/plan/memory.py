"""A device's memory by what it is for: parameters, optimiser, batch, activations, logits; and the largest buffers.

What goes in is counted from shapes and shardings, what is made on the way from XLA's own assignment at the moment when
memory is fullest (buffers.py): so the parts are counted apart from the compiler's totals, and can be held against them.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax

from jaxlm.batch import Batch
from jaxlm.mesh import batch_shardings
from jaxlm.parts import Drawing
from jaxlm.plan.buffers import Buffers, Piece
from jaxlm.plan.hlo import Program
from jaxlm.plan.place import Place, Places

LARGEST = 12  # chosen: buffers shown


class Large(NamedTuple):
    bytes: int
    shape: str
    place: str


class Breakdown(NamedTuple):
    """Bytes on one device; the first seven are the categories."""

    parameters: int
    optimizer: int
    state: int  # counters, averages, a recurrent state
    batch: int
    activations: int  # temporaries but for the loss's: gradients and gathered weights are among them
    logits: int  # the loss's chunk, and the gradients it makes
    outputs: int  # what a step returns beside its state
    gaps: int  # of the temporaries' memory where it is fullest
    program: int  # instructions, where they lie in the same memory
    arguments: int  # as the compiler counts them
    temporaries: int  # as the compiler counts them

    @property
    def categories(self) -> int:
        return sum(self[:7])

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries + self.outputs + self.program

    @property
    def explained(self) -> float:
        """The categories' sum over the program's arguments and temporaries."""
        return (self.categories - self.outputs) / (self.arguments + self.temporaries)


def breakdown(drawing: Drawing, program: Program, buffers: Buffers, code: int) -> tuple[Breakdown, list[Large]]:
    """Bytes by category, and the largest buffers among the temporaries."""
    places = Places(program)
    found = [(piece, where(places, piece)) for piece in buffers.pieces]
    state = drawing.abstract
    logits = sum(piece.bytes for piece, place in found if place.loss)
    covered = sum(piece.bytes for piece in buffers.pieces)
    parts = Breakdown(
        parameters=on_device(state.params),
        optimizer=on_device(state.opt),
        state=on_device(state._replace(params=(), opt=())),
        batch=of_batch(drawing),
        activations=covered - logits,
        logits=logits,
        outputs=buffers.outputs,
        gaps=buffers.temporaries - covered,
        program=code,
        arguments=buffers.arguments,
        temporaries=buffers.temporaries,
    )
    return parts, [Large(p.bytes, shape_of(p), str(place)) for p, place in found[:LARGEST]]


def where(places: Places, piece: Piece) -> Place:
    """The place of the most telling of the values that share these bytes."""
    found = [places.of(value.instruction, value.index) for value in piece.values]
    return max(found, key=lambda place: (place.loss, place.modules.count("/") + bool(place.modules)))


def shape_of(piece: Piece) -> str:
    """The shape of the value that fills the piece, without its layout."""
    return min(piece.values, key=lambda value: value.end - value.start).shape.split("{")[0]


def on_device(tree: Any) -> int:
    """Bytes that abstract arrays with shardings take on one device."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def of_batch(drawing: Drawing) -> int:
    return sum(_shards(drawing.batch, batch_shardings(drawing.mesh, drawing.batch)))


def _shards(batch: Batch, shardings: Batch) -> Iterable[int]:
    for leaf, sharding in zip(jax.tree.leaves(batch), jax.tree.leaves(shardings), strict=True):
        yield math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize


def elements(tree: Any) -> int:
    """Numbers in abstract arrays, all devices together."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
