"""Update rules as data: straight-line statements, and the graph of operations that is left of them.

A program is run once a step. It reads `g` (gradient), `w` (weights), `m1`, `m2`, ... (memory, zero at the start) and
scalars, and leaves `update` and new values of the memory; then w <- w - rate * update.

    [["m1", "interp", ["m1", "g", 0.1]], ["update", "sign", ["m1"]]]        sign of a running average

The graph has every operation once, those without effect are gone, and operands of commutative ones are in a fixed
order: programs with equal graphs are the same rule.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from automl_ext.tasks.optimizer.operations import OPERATIONS

from automl_ext.searcher import CandidateError

Argument = str | float
"""A variable's name, or a constant."""


@dataclass(frozen=True)
class Statement:
    """to = operation(*arguments)"""

    to: str
    operation: str
    arguments: tuple[Argument, ...]


Program = tuple[Statement, ...]

SCALARS: Mapping[str, Callable[[int, int], float]] = {
    "step": lambda t, total: float(t),
    "linear": lambda t, total: max(0.0, 1 - (t - 1) / total),
    "cosine": lambda t, total: 0.5 * (1 + math.cos(math.pi * min(1.0, (t - 1) / total))),
    "restart": lambda t, total: 0.5 * (1 + math.cos(math.pi * (20 * (t - 1) % total) / total)),
    "bias1": lambda t, total: 1 - 0.9**t,
    "bias2": lambda t, total: 1 - 0.999**t,
}
"""Scalars that a program can read, beside `rate`: (step from 1, steps in all) -> value.

Behind the last step `linear` and `cosine` stay 0; restarts go on.
"""

UPDATE = "update"


class RuleError(CandidateError):
    """A program that is no update rule; one line."""


@dataclass(frozen=True)
class Node:
    """operation: of the table; or `input` with the variable's name, or `constant` with the value, as `leaf`."""

    operation: str
    arguments: tuple[int, ...] = ()
    leaf: Argument = 0.0
    scalar: bool = False


@final
@dataclass(frozen=True)
class Graph:
    """nodes: operands come before operations. update: its node. memory: (its input node, its new value's node)."""

    nodes: tuple[Node, ...]
    update: int
    memory: tuple[tuple[int, int], ...]

    @property
    def text(self) -> str:
        """The rule as JSON text, equal for equal graphs."""
        rows = [[node.operation, *(node.arguments or (node.leaf,))] for node in self.nodes]
        return json.dumps([rows, self.update, self.memory])

    @property
    def size(self) -> int:
        """How many operations."""
        return sum(node.operation in OPERATIONS for node in self.nodes)

    def reads(self, name: str) -> bool:
        return any(node.operation == "input" and node.leaf == name for node in self.nodes)


def is_memory(name: Argument) -> bool:
    return isinstance(name, str) and name[:1] == "m" and name[1:].isdigit()


def statements(rows: Sequence[Sequence[object]]) -> Program:
    """A program from its JSON form: [[to, operation, [argument, ...]], ...]. Raises RuleError."""
    made = []
    for row in rows:
        try:
            to, operation, arguments = row
            made.append(Statement(str(to), str(operation), tuple(_argument(each) for each in arguments)))  # type: ignore[attr-defined]
        except (TypeError, ValueError) as error:
            raise RuleError(f"{row!r} is no statement [to, operation, [arguments]]: {error}") from None
    return tuple(made)


def to_json(program: Program) -> list[list[object]]:
    return [[line.to, line.operation, list(line.arguments)] for line in program]


def graph(program: Program, slots: int | None = None) -> Graph:
    """What the program does. slots: how many memory slots it may have.

    Raises RuleError for unknown names, a scalar where a tensor has to be, no update, an update that never depends on
    the gradient, and more memory than allowed.
    """
    weaver = _Weaver()
    for line in program:
        weaver.run(line)
    return weaver.finished(slots)


def effective(program: Program) -> Program:
    """The program without the statements that reach neither the update nor memory that the update reads."""
    needed, before = {UPDATE}, -1
    keep: set[int] = set()
    while len(needed) != before:
        before, alive, keep = len(needed), set(needed), set()
        for place in range(len(program) - 1, -1, -1):
            line = program[place]
            if line.to in alive:
                keep.add(place)
                alive.discard(line.to)
                alive |= {name for name in line.arguments if isinstance(name, str)}
        needed |= {name for name in alive if is_memory(name)}
    return tuple(line for place, line in enumerate(program) if place in keep)


@final
class _Weaver:
    """Runs a program on symbols; equal operations on equal operands become one node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.digests: list[str] = []
        self._known: dict[str, int] = {}
        self._variables: dict[str, int] = {}
        self._draws = 0

    def run(self, line: Statement) -> None:
        operation = OPERATIONS.get(line.operation)
        if operation is None:
            raise RuleError(f"no operation {line.operation!r}; there are {', '.join(OPERATIONS)}")
        if len(line.arguments) != operation.arity:
            raise RuleError(f"{line.operation} takes {operation.arity} values, not {len(line.arguments)}")
        found = [self.value(argument) for argument in line.arguments]
        if operation.commutative:
            found.sort(key=lambda place: self.digests[place])
        scalars = [self.nodes[place].scalar for place in found]
        if operation.reduces and any(scalars):
            raise RuleError(f"{line.operation} takes tensors, and gets a scalar")
        scalar = operation.reduces or (all(scalars) and not operation.random)
        if scalar != (line.to[:1] == "s"):
            raise RuleError(f"{line.to} = {line.operation}(...) puts a {'scalar' if scalar else 'tensor'} elsewhere")
        self._variables[line.to] = self._once(found) if line.operation == "mul" and not scalar else -1
        if self._variables[line.to] < 0:
            self._variables[line.to] = self.node(Node(line.operation, tuple(found), scalar=scalar))

    def _once(self, factors: Sequence[int]) -> int:
        """The other factor of a product by one; -1 where none is one."""
        for factor, other in zip(factors, reversed(factors), strict=True):
            if self.nodes[factor].operation == "constant" and self.nodes[factor].leaf == 1.0:
                return other
        return -1

    def value(self, argument: Argument) -> int:
        """The node of a variable or constant."""
        if not isinstance(argument, str):
            return self.node(Node("constant", leaf=float(argument), scalar=True))
        if argument in self._variables:
            return self._variables[argument]
        if argument not in ("g", "w", "rate", *SCALARS) and not is_memory(argument):
            raise RuleError(f"{argument} is read before it is set")
        return self.node(Node("input", leaf=argument, scalar=argument not in ("g", "w") and not is_memory(argument)))

    def node(self, node: Node) -> int:
        parts = [self.digests[place] for place in node.arguments] or [repr(node.leaf)]
        if node.operation in OPERATIONS and OPERATIONS[node.operation].random:
            self._draws += 1
            parts.append(str(self._draws))  # each draws for itself
        digest = hashlib.blake2b(" ".join([node.operation, *parts]).encode(), digest_size=8).hexdigest()
        if digest not in self._known:
            self._known[digest] = len(self.nodes)
            self.nodes.append(node)
            self.digests.append(digest)
        return self._known[digest]

    def finished(self, slots: int | None) -> Graph:
        if UPDATE not in self._variables:
            raise RuleError("nothing is ever assigned to update")
        order, memory = self._alive()
        places = {old: new for new, old in enumerate(order)}
        nodes = []
        for old in order:
            node = self.nodes[old]
            arguments = tuple(places[place] for place in node.arguments)
            nodes.append(Node(node.operation, arguments, node.leaf, node.scalar))
        rows = tuple((places[old], places[new]) for old, new in memory.items())
        made = Graph(tuple(nodes), places[self._variables[UPDATE]], rows)
        if not made.reads("g"):
            raise RuleError("the update never uses the gradient")
        if slots is not None and len(made.memory) > slots:
            raise RuleError(f"it needs {len(made.memory)} memory slots, and {slots} are allowed")
        return made

    def _alive(self) -> tuple[list[int], dict[int, int]]:
        """Nodes that have an effect, operands first; of memory that has, its input node -> its new value's node."""
        order: list[int] = []
        memory: dict[int, int] = {}
        wanted = [self._variables[UPDATE]]
        while wanted:
            self._visit(wanted.pop(), order)
            for place in order:
                node = self.nodes[place]
                if node.operation == "input" and is_memory(node.leaf) and place not in memory:
                    memory[place] = self._variables.get(str(node.leaf), place)
                    wanted.append(memory[place])
        return order, memory

    def _visit(self, place: int, order: list[int]) -> None:
        stack = [(place, False)]
        while stack:
            here, ready = stack.pop()
            if here in order:
                continue
            if ready:
                order.append(here)
                continue
            stack.append((here, True))
            stack += [(argument, False) for argument in reversed(self.nodes[here].arguments)]


def _argument(value: object) -> Argument:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is neither a name nor a finite number")
    return float(value)
