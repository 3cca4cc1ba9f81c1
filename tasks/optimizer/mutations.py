"""How programs change: a statement is inserted, deleted, or one of its arguments is modified (Chen et al. 2023).

What is no program any more is drawn again. Statements without effect may stay: they are stepping stones. The last
statement, which makes the update, is never deleted.

Differs from the paper:

1. A crossover, which it has none of, takes the first lines of one parent and the last of another.
2. A program without a change that has an effect is changed again: else four of five trials came from the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
from automl_ext.tasks.optimizer.graph import UPDATE, Argument, Program, RuleError, Statement, effective, graph
from automl_ext.tasks.optimizer.operations import OPERATIONS

from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Genes

if TYPE_CHECKING:
    from automl_ext.tasks.optimizer.programs import ProgramSpace

TRIES = 1000
FRESH = 0.25
"""How likely an argument of a new statement is a new constant."""


@final
class ProgramVariation:
    """start: the program whose mutations a search begins with; None for random ones."""

    def __init__(self, own: ProgramSpace, start: Program | None) -> None:
        self.own, self.start = own, start
        self._generic = GenericVariation(own.space)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A random program, or the start after a mutation."""
        return self._generic.sample(rng) if self.start is None else self.mutate(self.own.genes(self.start), rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Mutations, all three kinds alike likely, insertion only where there is room, until one has an effect."""
        parent = self.own.program(self.own.space.from_genes(genes))
        child, known = parent, effective(parent)
        for _ in range(TRIES):
            changed = self._changed(child, rng)
            if changed != child and self._sound(changed):
                child = changed
            if effective(child) != known:
                return self.own.genes(child)
        return self._generic.mutate(genes, rng)

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        first, second = (self.own.program(self.own.space.from_genes(genes)) for genes in (left, right))
        cut = int(rng.integers(len(first)))
        rest = second[-1 - int(rng.integers(min(len(second), self.own.lines - cut))) :]
        return self.own.space.from_genes(self.own.genes((*first[:cut], *rest)))

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self._generic.twins(genes, rng)

    def _changed(self, parent: Program, rng: np.random.Generator) -> Program:
        lines = list(parent)
        kinds = [
            "modify",
            *(["delete"] if len(lines) > 1 else []),
            *(["insert"] if len(lines) < self.own.lines else []),
        ]
        kind = kinds[int(rng.integers(len(kinds)))]
        if kind == "delete":
            del lines[int(rng.integers(len(lines) - 1))]
        elif kind == "insert":
            place = int(rng.integers(len(lines)))
            lines.insert(place, self._statement(self._seen(lines[:place]), rng))
        else:
            place = int(rng.integers(len(lines)))
            lines[place] = self._modified(lines[place], self._seen(lines[:place]), rng)
        return tuple(lines)

    def _seen(self, before: Sequence[Statement]) -> list[str]:
        return list(dict.fromkeys((*self.own.inputs, *(line.to for line in before))))

    def _statement(self, seen: Sequence[str], rng: np.random.Generator) -> Statement:
        names = [name for name, operation in OPERATIONS.items() if not operation.random]
        name = names[int(rng.integers(len(names)))]
        arguments = tuple(
            _constant(rng) if rng.random() < FRESH else seen[int(rng.integers(len(seen)))]
            for _ in range(OPERATIONS[name].arity)
        )
        return Statement(self.own.targets[int(rng.integers(len(self.own.targets)))], name, arguments)

    def _modified(self, line: Statement, seen: Sequence[str], rng: np.random.Generator) -> Statement:
        """A variable becomes another of its type; a constant a new one, or itself times 2 to a normal number."""
        place = int(rng.integers(len(line.arguments)))
        old = line.arguments[place]
        if isinstance(old, str):
            others = [name for name in seen if name != old and _scalar(name) == _scalar(old)]
            new: Argument = others[int(rng.integers(len(others)))] if others else old
        else:
            new = _constant(rng) if rng.random() < 0.5 else _within(old * 2.0 ** float(rng.normal()))
        arguments = (*line.arguments[:place], new, *line.arguments[place + 1 :])
        return Statement(line.to, line.operation, arguments)

    def _sound(self, program: Program) -> bool:
        """Whether it has the right types, depends on the gradient and ends with the update."""
        try:
            graph(program)
        except RuleError:
            return False
        return program[-1].to == UPDATE


def _scalar(name: str) -> bool:
    from automl_ext.tasks.optimizer.programs import is_scalar

    return is_scalar(name)


def _constant(rng: np.random.Generator) -> float:
    return _within(float(rng.normal()))


def _within(value: float) -> float:
    return min(max(value, -4.0), 4.0)
