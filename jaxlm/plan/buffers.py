"""What a compiled program holds in memory: XLA's own buffer assignment, and what is alive where it holds most.

Read from the files that XLA writes with `xla_dump_to`: a TPU writes them also for a program that is too large for it.
Memory beside the device's main one (a TPU's VMEM) does not count.
"""

import bisect
import itertools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

ALLOCATION = re.compile(r"^allocation (\d+): size (\d+)(, color [1-9]\d*)?(.*)$")
VALUE = re.compile(r"^ value: <\d+ ([\w.-]+)(\{[\d,]*\})?(?: \(phi\))? @\d+> \(size=(\d+),offset=(\d+)\): (.*)$")
RANGE = re.compile(r"^    ([\w.-]+)(\{[\d,]*\}):(\d+)-(\d+)$")


class Value(NamedTuple):
    """An array that an instruction makes, and where it lies in the memory for temporaries."""

    instruction: str
    index: str  # "{}", or "{2}" for a part of a tuple
    start: int  # bytes from the beginning
    end: int
    shape: str


class Piece(NamedTuple):
    """Bytes that one value, or several that share them, take where memory is fullest."""

    bytes: int
    values: tuple[Value, ...]


class Buffers(NamedTuple):
    """Bytes on one device."""

    arguments: int
    outputs: int  # that do not take the place of an argument
    temporaries: int
    pieces: tuple[Piece, ...]  # of `temporaries`, the largest first; what they leave are gaps

    @property
    def total(self) -> int:
        return self.arguments + self.outputs + self.temporaries


def read(assignment: str, live: str) -> Buffers:
    """The two texts that XLA names *-buffer-assignment.txt and *-live-range.txt."""
    sizes = {"arguments": 0, "outputs": 0, "temporaries": 0}
    values: list[Value] = []
    kind = None
    for line in assignment.splitlines():
        if found := ALLOCATION.match(line):
            kind = None if found[3] else _kind(found[4])
            if kind:
                sizes[kind] += int(found[2])
        elif kind == "temporaries" and (found := VALUE.match(line)):
            name, index, size, offset, shape = found.groups()
            values.append(Value(name, index or "{}", int(offset), int(offset) + int(size), shape))
    ranges = {(name, index): (int(a), int(b)) for name, index, a, b in _ranges(live)}
    return Buffers(**sizes, pieces=fullest(values, ranges))


def _kind(words: str) -> str | None:
    if "preallocated-temp" in words:
        return "temporaries"
    if ", parameter " in words:
        return "arguments"
    return "outputs" if "maybe-live-out" in words else None


def _ranges(live: str) -> Iterable[tuple[str, str, str, str]]:
    return (found.groups() for line in live.splitlines() if (found := RANGE.match(line)))  # type: ignore[misc]


def fullest(values: Iterable[Value], ranges: Mapping[tuple[str, str], tuple[int, int]]) -> tuple[Piece, ...]:
    """What lies in memory at the moment when the most of it is taken.

    Values may share bytes (a loop's state and what its body makes of it), so bytes are counted, not values.
    """
    alive = [(value, *ranges[value.instruction, value.index]) for value in values if _known(value, ranges)]
    moments = sorted({start for _, start, _ in alive})
    most = dict.fromkeys(moments, 0)  # with shared bytes counted twice, so never too low
    for value, start, end in alive:
        for moment in moments[bisect.bisect_left(moments, start) : bisect.bisect_right(moments, end)]:
            most[moment] += value.end - value.start
    best, taken = (), 0
    for moment in sorted(moments, key=lambda moment: -most[moment]):
        if most[moment] <= taken:
            break
        pieces = split([value for value, start, end in alive if start <= moment <= end])
        if (size := sum(piece.bytes for piece in pieces)) > taken:
            best, taken = pieces, size
    return tuple(sorted(best, key=lambda piece: -piece.bytes))


def _known(value: Value, ranges: Mapping) -> bool:
    return (value.instruction, value.index) in ranges and value.end > value.start


def split(values: list[Value]) -> tuple[Piece, ...]:
    """The bytes of `values`, each once: cut where the values that share them change."""
    edges = sorted({edge for value in values for edge in (value.start, value.end)})
    together: dict[tuple[Value, ...], int] = {}
    opened = sorted(values, key=lambda value: value.start)
    active: list[Value] = []
    for left, right in itertools.pairwise(edges):
        active = [value for value in active if value.end > left]
        while opened and opened[0].start == left:
            active.append(opened.pop(0))
        if active:
            together[tuple(active)] = together.get(tuple(active), 0) + right - left
    return tuple(Piece(size, shared) for shared, size in together.items())
