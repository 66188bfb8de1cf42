"""The text of a compiled XLA program as data: computations, instructions, sizes of shapes, how often each runs.

Only what memory.py and collectives.py read. The grammar is that of jax 0.10's `Compiled.as_text()` on CPU, GPU and TPU.
"""

import math
import re
from typing import NamedTuple

# Bytes of an element; those under a byte (s4, u4) are padded to one by every backend we plan for.
BYTES = {
    "pred": 1, "s4": 1, "u4": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8,
    "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\](?:\{([^{}]*)\})?")
CALLED = re.compile(
    r"\b(calls|body|condition|to_apply|branch_computations|true_computation|false_computation)=(\{[^}]*\}|%[\w.-]+)"
)
NAME = re.compile(r"%([\w.-]+)")


class Array(NamedTuple):
    """One array of a shape, which is a tuple of them or one."""

    dtype: str
    dimensions: tuple[int, ...]
    layout: str  # minor to major, tiles, memory space

    @property
    def size(self) -> int:
        """Bytes in the device's memory, tiles filled up."""
        return BYTES.get(self.dtype, 1 if self.dtype.startswith("f8") else 0) * math.prod(self.padded)

    @property
    def elements(self) -> int:
        return math.prod(self.dimensions)

    @property
    def padded(self) -> tuple[int, ...]:
        tile = re.search(r":T\(([\d,]+)\)", self.layout)
        if not tile or not self.dimensions:
            return self.dimensions
        sizes = [int(x) for x in tile[1].split(",")]
        minor_to_major = [int(x) for x in self.layout.split(":")[0].split(",") if x]
        padded = list(self.dimensions)
        for dimension, size in zip(minor_to_major, reversed(sizes), strict=False):
            padded[dimension] = -(-padded[dimension] // size) * size
        return tuple(padded)

    @property
    def on_chip(self) -> bool:
        """Is it in a memory of its own and not in the device's main one (TPU: S(1) is VMEM, S(2) SMEM, ...)?"""
        return "S(" in self.layout


class Instruction(NamedTuple):
    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    inside: str  # between the parentheses, as it stands
    rest: str  # attributes, metadata

    @property
    def arrays(self) -> list[Array]:
        return arrays(self.shape)

    @property
    def path(self) -> str:
        """Where in the model it comes from."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def called(self) -> dict[str, tuple[str, ...]]:
        """Role -> computations."""
        return {role: tuple(NAME.findall(names)) for role, names in CALLED.findall(self.rest)}


class Computation(NamedTuple):
    name: str
    instructions: tuple[Instruction, ...]  # in the order of the schedule; the last need not be the root
    root: str

    def find(self, name: str) -> Instruction:
        return next(instruction for instruction in self.instructions if instruction.name == name)


class Program(NamedTuple):
    computations: dict[str, Computation]
    entry: str


def arrays(shape: str) -> list[Array]:
    """The arrays of a shape, those of a tuple one after another.

    >>> [a.size for a in arrays("(bf16[2,3]{1,0}, f32[], s32[7]{0:T(8)})")]
    [12, 4, 32]
    """
    return [
        Array(dtype, tuple(int(d) for d in dims.split(",") if d), layout)
        for dtype, dims, layout in ARRAY.findall(shape)
        if dtype != "token"
    ]


def elements(shape: str) -> list[str]:
    """The elements of a tuple, or the one shape.

    >>> elements("((f32[2]{0}, s32[]), f32[4]{0:T(8,128)})")
    ['(f32[2]{0}, s32[])', 'f32[4]{0:T(8,128)}']
    """
    if not shape.startswith("("):
        return [shape]
    depth, start, found = 0, 1, []
    for at, letter in enumerate(shape):
        depth += (letter in "({[") - (letter in ")}]")
        if depth == 0 or (depth == 1 and letter == ","):
            found.append(re.sub(r"/\*.*?\*/", "", shape[start:at]).strip())
            start = at + 1
    return [one for one in found if one]


def parse(text: str) -> Program:
    """A program as `Compiled.as_text()` writes it."""
    computations, entry = {}, ""
    name, instructions, root = "", [], ""
    for line in _joined(text):
        head = re.match(r"(ENTRY )?%([\w.-]+) \(.*\{$", line)
        if head:
            name, instructions, root = head[2], [], ""
            entry = name if head[1] else entry
        elif line == "}" and name:
            computations[name] = Computation(name, tuple(instructions), root)
            name = ""
        elif name and (instruction := _instruction(line)):
            instructions.append(instruction)
            root = instruction.name if line.lstrip().startswith("ROOT ") else root
    return Program(computations, entry)


def _joined(text: str):
    """Lines, those that go on an instruction's attributes joined with it."""
    kept = ""
    for line in text.splitlines():
        if kept.startswith("  ") and line and not line.startswith(("  %", "  ROOT ")) and line != "}":
            kept += line
        else:
            yield kept
            kept = line
    yield kept


def _instruction(line: str) -> Instruction | None:
    head = re.match(r"\s+(?:ROOT )?%([\w.-]+) = ", line)
    if head is None:
        return None
    start = head.end()
    end = _closing(line, start) + 1 if line[start] == "(" else line.index(" ", start)
    op, at = line[end:].lstrip().split("(", 1)[0], line.index("(", end)
    close = _closing(line, at)
    inside = line[at + 1 : close]
    return Instruction(head[1], line[start:end], op, tuple(NAME.findall(inside)), inside, line[close + 1 :])


def _closing(line: str, start: int) -> int:
    """Where the parenthesis that opens at `start` is closed."""
    depth = 0
    for match in re.compile(r"[()]").finditer(line, start):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"not HLO: {line[:80]!r}")


def runs(program: Program) -> tuple[dict[str, int], list[str]]:
    """How often each computation runs in a step, and the loops whose number of rounds is not known (counted once).

    Of the branches of a conditional each counts once: which is taken is known when it runs.
    """
    times, unknown = dict.fromkeys(program.computations, 0), []

    def visit(name: str, factor: int) -> None:
        times[name] += factor
        for instruction in program.computations[name].instructions:
            called = instruction.called
            rounds = 1
            if instruction.op == "while":
                found = trips(program, instruction)
                rounds = found or 1
                if found is None:
                    unknown.append(instruction.path or instruction.name)
            for role, names in called.items():
                for other in names:
                    if other in program.computations:
                        visit(other, factor * (rounds if role == "body" else 1))

    visit(program.entry, 1)
    return times, unknown


def trips(program: Program, loop: Instruction) -> int | None:
    """Rounds of a while loop: as the compiler notes them, or from `i < n` with i from 0, as scans and windows are made.

    A TPU's compiler may have unrolled it: then i grows by more than 1.
    """
    noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.rest)
    if noted:
        return int(noted[1])
    condition, body = (program.computations[loop.called[role][0]] for role in ("condition", "body"))
    root = condition.find(condition.root)
    if root.op != "compare" or "direction=LT" not in root.rest:
        return None
    counter, bound = (condition.find(name) for name in root.operands)
    step = _step(body, counter)
    if bound.op != "constant" or not bound.inside.isdigit() or not step:
        return None
    return -(-int(bound.inside) // step)


def _step(body: Computation, counter: Instruction) -> int | None:
    """By how much a round of `body` moves its `counter`, a part of its state."""
    place = re.search(r"index=(\d+)", counter.rest)
    root = body.find(body.root)
    if place is None or root.op != "tuple":
        return None
    total, here = 0, body.find(root.operands[int(place[1])])
    while here.op in ("add", "copy", "bitcast"):
        terms = [body.find(name) for name in here.operands]
        if here.op != "add":
            here = terms[0]
            continue
        constants = [term for term in terms if term.op == "constant" and term.inside.isdigit()]
        if len(constants) != 1:
            return None
        total += int(constants[0].inside)
        here = next(term for term in terms if term is not constants[0])
    return total if here.op == "get-tuple-element" else None
