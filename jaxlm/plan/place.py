"""Where in the model a buffer comes from: the compiler's names, read as a person would say them."""

import re
from typing import NamedTuple

from jaxlm.plan.hlo import Instruction, Program

# Parts of a path that say how JAX got there, not where.
HOW = re.compile(
    r"^(jit\(\w+\)|while|body|cond|closed_call|checkpoint|branch_\d+_fun|shard_map|vmap\(.*|.*<lambda>.*|)$"
)
# Chosen: how far back, and among how many, the operands of a nameless instruction are asked.
STEPS, WIDEST = 8, 32


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
    >>> print(read("jit(step)/jvp(loss)/while/body/closed_call/exp"), read("state.params['mlp']['w']"), sep=", ")
    the loss (forward), mlp/w (parameter)
    """
    if held := re.match(r"state\.(params|opt)\b.*?((?:\[\W*\w+\W*\])+)$", path):
        names = re.findall(r"[A-Za-z_]\w*", held[2])
        return Place("/".join(names), held[1], {"params": "parameter", "opt": "optimiser"}[held[1]], False)
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
        self._loops: dict[str, str] = {}  # body -> its loop
        for computation in program.computations.values():
            for instruction in computation.instructions:
                self._home[instruction.name] = computation.name, instruction
                if instruction.op == "while":
                    self._loops[instruction.called["body"][0]] = instruction.name

    def of(self, name: str, index: str = "{}") -> Place:
        """Of an instruction's result, or of a part of it; NOWHERE where the program does not say.

        One without a name of its own is what the nearest of its operands is.
        """
        level, first = [(name, index)], NOWHERE
        for _ in range(STEPS):
            below: list[tuple[str, str]] = []
            for one in level[:WIDEST]:
                place, operands = self._look(*one)
                if place.modules or place.loss:
                    return place
                first = first if first.made_by else place
                below += operands
            level = below
        return first

    def _look(self, name: str, index: str) -> tuple[Place, list[tuple[str, str]]]:
        """(what an instruction says itself, what to ask next)."""
        if name not in self._home:
            return NOWHERE, []
        home, instruction = self._home[name]
        number = re.match(r"\{(\d+)", index)
        body = home if instruction.op == "parameter" else (instruction.called.get("body") or ("",))[0]
        if number and body in self._loops:  # a loop's state: what its body puts there
            return NOWHERE, self._carried(body, int(number[1]))
        if number and instruction.op == "tuple":
            return NOWHERE, [(instruction.operands[int(number[1])], "{}")]
        if instruction.op == "get-tuple-element":
            return NOWHERE, [(instruction.operands[0], f"{{{_index(instruction)}}}")]
        said = [read(one.path) for one in (instruction, *self._inside(instruction))]
        telling = next((place for place in said if place.modules or place.loss), said[0])
        return telling, [(operand, "{}") for operand in instruction.operands]

    def _carried(self, body: str, number: int) -> list[tuple[str, str]]:
        """What the body puts at `number`; where that is what it was given, what the loop began with."""
        root = self._program.computations[body].find(self._program.computations[body].root)
        if root.op != "tuple" or number >= len(root.operands):
            return []
        made = self._home[root.operands[number]][1]
        if made.op != "get-tuple-element":
            return [(made.name, "{}")]
        if self._home[made.operands[0]][1].op != "parameter":
            return [(made.operands[0], f"{{{_index(made)}}}")]
        return [(self._home[self._loops[body]][1].operands[0], f"{{{number}}}")]

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
