"""Which value of a population of rules lies in which row, and which operations are made together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from automl_ext.tasks.optimizer.graph import Graph
from automl_ext.tasks.optimizer.operations import OPERATIONS

Spot = tuple[str, int]
"""Which bank (`tensor` or `scalar`), and the row in it."""


@dataclass
class Group:
    """One operation at one depth: the bank and the row of each result, and where its operands are.

    kinds: the operands' banks, the same for all. stream: which drawn numbers a random operation gets.
    """

    operation: str
    bank: str
    kinds: tuple[str, ...]
    stream: int | None
    outs: list[int] = field(default_factory=list)
    operands: list[tuple[int, ...]] = field(default_factory=list)


class Layout:
    """Tensors: gradients, weights, memory, then results. Scalars: rates, those by name, constants, then results.

    gathered: results of a group lie side by side. Else a new value of memory may be made where the old one lies.
    named, constants: rows of scalars. memory: rows of each rule. updates: row of each rule. moves: of memory, (from,
    to).
    """

    def __init__(self, graphs: Sequence[Graph], gathered: bool) -> None:
        self.gathered, self.rules = gathered, len(graphs)
        self.rows = {"tensor": 2 * self.rules, "scalar": self.rules}
        self.named: dict[str, int] = {}
        self.constants: dict[float, int] = {}
        self.streams, self.rated = 0, False
        spots = [self._leaves(rule, graph) for rule, graph in enumerate(graphs)]
        self.groups = self._grouped(graphs, spots)
        self.memory = [[own[old][1] for old, _ in graph.memory] for graph, own in zip(graphs, spots, strict=True)]
        self.updates = [own[graph.update][1] for graph, own in zip(graphs, spots, strict=True)]
        pairs = [
            (own[new][1], own[old][1])
            for graph, own in zip(graphs, spots, strict=True)
            for old, new in graph.memory
        ]  # fmt: skip
        self.moves = [(source, target) for source, target in pairs if source != target]
        self.widest = max([self.rules, 1, *(len(group.outs) for group in self.groups)]) if gathered else 1

    def _leaves(self, rule: int, graph: Graph) -> dict[int, Spot]:
        """Where inputs and constants of a rule are."""
        spots: dict[int, Spot] = {}
        for place, node in enumerate(graph.nodes):
            if node.operation == "constant":
                value = float(node.leaf)
                if value not in self.constants:
                    self.constants[value] = self._new("scalar")
                spots[place] = ("scalar", self.constants[value])
            elif node.operation == "input":
                spots[place] = self._input(rule, str(node.leaf), node.scalar)
        return spots

    def _input(self, rule: int, name: str, scalar: bool) -> Spot:
        if name == "rate":
            self.rated = True
            return ("scalar", rule)
        if scalar:
            if name not in self.named:
                self.named[name] = self._new("scalar")
            return ("scalar", self.named[name])
        if name in ("g", "w"):
            return ("tensor", rule + (self.rules if name == "w" else 0))
        return ("tensor", self._new("tensor"))

    def _grouped(self, graphs: Sequence[Graph], spots: Sequence[dict[int, Spot]]) -> list[Group]:
        """The groups, those of operands first; the results' rows enter `spots`."""
        members: dict[tuple[int, str, str, tuple[str, ...], int | None], list[tuple[int, int]]] = {}
        for rule, graph in enumerate(graphs):
            drawn, depth = 0, list[int]()
            for place, node in enumerate(graph.nodes):
                depth.append(1 + max((depth[argument] for argument in node.arguments), default=-1))
                if not node.arguments:
                    continue
                stream = drawn if OPERATIONS[node.operation].random else None
                drawn += stream is not None
                kinds = tuple(_bank(graph.nodes[argument].scalar) for argument in node.arguments)
                key = (depth[-1], node.operation, _bank(node.scalar), kinds, stream)
                members.setdefault(key, []).append((rule, place))
            self.streams = max(self.streams, drawn)
        return [self._group(key, members[key], graphs, spots) for key in sorted(members, key=lambda key: key[0])]

    def _group(
        self,
        key: tuple[int, str, str, tuple[str, ...], int | None],
        members: Sequence[tuple[int, int]],
        graphs: Sequence[Graph],
        spots: Sequence[dict[int, Spot]],
    ) -> Group:
        _, operation, bank, kinds, stream = key
        group = Group(operation, bank, kinds, stream)
        for rule, place in members:
            there = None if self.gathered or bank == "scalar" else _replaced(graphs[rule], place)
            spots[rule][place] = (bank, self._new(bank)) if there is None else spots[rule][there]
            group.outs.append(spots[rule][place][1])
            group.operands.append(tuple(spots[rule][argument][1] for argument in graphs[rule].nodes[place].arguments))
        return group

    def _new(self, bank: str) -> int:
        self.rows[bank] += 1
        return self.rows[bank] - 1


def _bank(scalar: bool) -> str:
    return "scalar" if scalar else "tensor"


def _replaced(graph: Graph, place: int) -> int | None:
    """The memory whose old value nobody but its new value, at `place`, reads: the one may lie where the other was."""
    for old, new in graph.memory:
        if new == place and old != graph.update and old not in [value for _, value in graph.memory]:
            readers = [reader for reader, node in enumerate(graph.nodes) if old in node.arguments]
            if readers == [place]:
                return old
    return None
