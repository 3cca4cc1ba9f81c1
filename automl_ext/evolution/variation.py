"""The generic variation: how evolution changes genes of any space (DEAP's operators where they fit).

Genes are a dict from slot path to value with a value for every slot, the silent ones included; `Space.from_genes`
expresses them. A mutation always changes the expressed candidate: a naive redraw of one gene changes nothing most of
the time in a conditional space.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from deap import tools

from automl_ext.decisions import Choice, Decision, Value, same
from automl_ext.space import Candidate, Genes, Space, Walk


@contextmanager
def lent_seed(rng: np.random.Generator) -> Iterator[None]:
    """DEAP draws from the global `random`: it is lent a seed and gets its state back."""
    state = random.getstate()
    random.setstate(random.Random(int(rng.integers(2**63))).getstate())
    try:
        yield
    finally:
        random.setstate(state)


class GenericVariation:
    """Sample, mutate, crossover and twins for any space. local: how often a number moves near by, not anywhere."""

    def __init__(self, space: Space, local: float = 0.5) -> None:
        self.space = space
        self.local = local

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """A value for every slot."""
        silent = {
            slot.path: slot.decisions[int(rng.integers(len(slot.decisions)))].sample(rng) for slot in self.space.slots
        }
        return silent | self.space.sample(rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """One active gene to another legal value. The genes as they are where the space has one candidate only."""
        candidate = self.space.from_genes(genes)
        steps = self._steps(candidate)
        for index in rng.permutation(len(steps)):
            path, declared, decision = steps[index]
            value = other(declared, decision, candidate[path], rng, self.local)
            changed = {**genes, **candidate, path: value}
            if self.space.from_genes(changed) != candidate:
                return changed
        return dict(genes)

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Each gene from one of the two, evenly (DEAP's cxUniform)."""
        paths = [slot.path for slot in self.space.slots if slot.path in left or slot.path in right]
        first = [left.get(path, right.get(path)) for path in paths]
        second = [right.get(path, left.get(path)) for path in paths]
        with lent_seed(rng):
            child, _ = tools.cxUniform(first, second, 0.5)
        return dict(zip(paths, child, strict=True))

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Other genes that express the same candidate: the silent ones are drawn anew."""
        return self.sample(rng) | self.space.from_genes(genes)

    def _steps(self, candidate: Candidate) -> list[tuple[str, Decision, Decision]]:
        steps, walk = [], Walk(self.space)
        while not walk.done:
            steps.append((walk.path, walk.declared, walk.decision))
            walk.choose(candidate[walk.path])
        return steps


def other(declared: Decision, decision: Decision, value: Value, rng: np.random.Generator, local: float) -> Value:
    """A legal value other than `value`: uniform for choices; for numbers near by (with probability local), or anywhere.

    Near by: a tenth of the declared range away, normally distributed; in the logarithm where the decision is log.
    """
    if isinstance(decision, Choice):
        options = [option for option in decision.options if not same(option, value)]
        return options[int(rng.integers(len(options)))]
    for _ in range(32):
        drawn = decision.sample(rng)
        if rng.random() < local:
            drawn = decision.nearest(declared.from_unit(declared.to_unit(value) + float(rng.normal(0.0, 0.1))))
        if not same(drawn, value):
            return drawn
    grid = [point for point in decision.grid(9) if not same(point, value)]
    return grid[int(rng.integers(len(grid)))]
