"""NSGA-Net's crossover and mutation of bits.

Z. Lu et al., "NSGA-Net", GECCO 2019, arXiv 1810.03522. A child has the bits on which its parents agree, and as many
ones as lie between theirs; so what both have found is kept and a child is as complex as its parents.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from automl_ext.tasks.architecture.phase_graph import bits

from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Genes, Space

__all__ = ["PhaseVariation"]


@final
class PhaseVariation:
    """Genes are a bit a decision; none is ever silent."""

    def __init__(self, space: Space, phases: int, nodes: int) -> None:
        self.space = space
        self.phases = [bits(phase, nodes) for phase in range(phases)]
        self.names = [name for phase in self.phases for name in phase]
        self.generic = GenericVariation(space)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Every bit by a coin; a phase without edges gets its first."""
        return self._repaired({name: int(rng.integers(2)) for name in self.names})

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """One bit flipped, such that another network comes out; the generic mutation where none does that."""
        before = self.space.from_genes(genes)
        key = self.space.key(before)
        for index in rng.permutation(len(self.names)):
            name = self.names[int(index)]
            child = self._repaired({**before, name: 1 - int(before[name] or 0)})
            if self.space.key(child) != key:
                return child
        return self.generic.mutate(genes, rng)

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Ones of both stay. Of those that only one has, the child gets k, drawn anew: between the parents' numbers."""
        one, two = self.space.from_genes(left), self.space.from_genes(right)
        child: dict[str, Any] = {name: int(bool(one[name]) and bool(two[name])) for name in self.names}
        differing = [name for name in self.names if one[name] != two[name]]
        mine = sum(bool(one[name]) for name in differing)
        low, high = sorted((mine, len(differing) - mine))
        count = low if low == high else int(rng.integers(low, high))
        for index in rng.choice(len(differing), count, replace=False) if differing else ():
            child[differing[int(index)]] = 1
        return child

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """The genes themselves, as nothing is silent."""
        return dict(self.space.from_genes(genes))

    def _repaired(self, genes: dict[str, Any]) -> dict[str, Any]:
        for first, *others in self.phases:
            if not any(genes[name] for name in (first, *others[:-1])):
                genes[first] = 1
        return genes
