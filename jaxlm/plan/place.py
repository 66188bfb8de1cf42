"""Where in the model a buffer comes from: the compiler's names, read as a person would say them."""

import re
from typing import NamedTuple

from jaxlm.plan.hlo import Instruction, Program

# Parts of a path that say how JAX got there, not where.
HOW = re.compile(
    r"^(jit\(\w+\)|while|body|cond|closed_call|checkpoint|branch_\d+_fun|shard_map|vmap\(.*|.*<lambda>.*|)$"
)
STEPS = 6  # chosen: how many operands back a nameless instruction is followed


class Place(NamedTuple):
    modules: str  # "blocks/mlp/up"; "" where nothing is known
    made_by: str  # the operation, "dot_general"
    when: str  # forward, again (recomputed), backward, update
    loss: bool  # by the loss: logits and what is made of them

    def __str__(self) -> str:
        where = self.modules or ("the loss" if self.loss else self.made_by or "unnamed")
        return f"{where} ({self.when})" if self.when else where


NOWHERE = Place("", "", "", False)


def read(path: str) -> Place:
    """A path as JAX writes it into a program.

    >>> print(read("jit(step)/transpose(jvp(Decoder))/while/body/closed_call/checkpoint/blocks/mlp/up/BLD,DF->BLF/dot"))
    blocks/mlp/up (backward)
    >>> print(read("jit(step)/jvp(loss)/while/body/closed_call/exp"))
    the loss (forward)
    """
    if not path.startswith(("jit(", "pmap(")):
        return NOWHERE
    backward, again = "transpose(" in path, "rematted_computation" in path
    loss = bool(re.search(r"\bloss\b", path))
    when = "again" if again else "backward" if backward else "forward" if "jvp(" in path else "update"
    inner = re.sub(r"(transpose\()?jvp\(\w*\)+", "", path)
    parts = [part for part in inner.split("/") if not HOW.match(part) and part not in ("rematted_computation", "loss")]
    made_by = parts.pop() if parts else ""
    modules = [part for part in parts if "->" not in part and "(" not in part and ":" not in part]
    return Place("/".join(dict.fromkeys(modules)), made_by, when, loss)  # dict: a kernel names itself twice


class Places:
    """The place of each instruction of a program, by name."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._home: dict[str, tuple[str, Instruction]] = {}
        self._loops: dict[str, tuple[str, str]] = {}  # body -> (its loop's name, where that stands)
        for computation in program.computations.values():
            for instruction in computation.instructions:
                self._home[instruction.name] = computation.name, instruction
                if instruction.op == "while":
                    self._loops[instruction.called["body"][0]] = instruction.name, computation.name

    def of(self, name: str, index: str = "{}", steps: int = STEPS) -> Place:
        """Of an instruction's result, or of a part of it; NOWHERE where the program does not say."""
        if steps == 0 or name not in self._home:
            return NOWHERE
        home, instruction = self._home[name]
        body = home if instruction.op == "parameter" else (instruction.called.get("body") or ("",))[0]
        number = re.match(r"\{(\d+)", index)
        if number and body in self._loops:  # a loop's state: what its body puts there
            return self._carried(body, int(number[1]), steps)
        if number and instruction.op == "tuple":
            return self.of(instruction.operands[int(number[1])], "{}", steps - 1)
        if instruction.op == "get-tuple-element":
            return self.of(instruction.operands[0], f"{{{_index(instruction)}}}", steps - 1)
        found = read(instruction.path)
        if found.modules or found.loss:
            return found
        for inner in self._inside(instruction):
            if (place := read(inner.path)).modules or place.loss:
                return place
        for operand in instruction.operands:
            place = self.of(operand, "{}", steps - 1)
            if place.modules or place.loss:
                return place
        return found

    def _carried(self, body: str, number: int, steps: int) -> Place:
        """What the body puts at `number`; where that is what it was given, what the loop began with."""
        root = self._program.computations[body].find(self._program.computations[body].root)
        if root.op != "tuple" or number >= len(root.operands):
            return NOWHERE
        made = self._home[root.operands[number]][1]
        if made.op != "get-tuple-element":
            return self.of(made.name, "{}", steps - 1)
        source = self._home[made.operands[0]][1]
        if source.op != "parameter":
            return self.of(source.name, f"{{{_index(made)}}}", steps - 1)
        loop, _ = self._loops[body]
        begun = self._home[self._home[loop][1].operands[0]][1]
        return self.of(begun.operands[number], "{}", steps - 1) if begun.op == "tuple" else NOWHERE

    def _inside(self, instruction: Instruction) -> list[Instruction]:
        names = instruction.called.get("calls", ())
        return [
            i
            for name in names
            if name in self._program.computations
            for i in reversed(self._program.computations[name].instructions)
        ]


def _index(instruction: Instruction) -> int:
    """Which part a get-tuple-element takes."""
    found = re.search(r"index=(\d+)", instruction.rest)
    return int(found[1]) if found else 0
