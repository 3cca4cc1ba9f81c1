"""Evolution's mutation for policies under a budget: what one group gives up, another may take.

A generic mutation of one count either wastes MACs or is clipped at the cost of the last groups. Not from the paper,
which uses no evolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.macs import Cost, most, total_macs

from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Genes, Space

__all__ = ["ExchangeVariation"]


class ExchangeVariation:
    """Mutation by exchange; sampling, crossover and twins are the generic ones. Genes: group -> count."""

    def __init__(
        self, space: Space, plan: Plan, legal: Mapping[str, range], target: float, cost: Cost = total_macs
    ) -> None:
        self._generic = GenericVariation(space)
        self._space, self._plan, self._legal, self._target = space, plan, legal, target
        self._cost = cost

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Genes of a random policy."""
        return self._generic.sample(rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Shrink a random group by a factor between 0.3 and 0.95, at least by one step; then let another random group
        take all that the target allows. A policy of a single group changes by the generic mutation.
        """
        counts: dict[str, Any] = self._space.from_genes(genes)
        movable = [name for name, values in self._legal.items() if len(values) > 1]
        if len(movable) < 2:
            return self._generic.mutate(genes, rng)
        shrunk, grown = (movable[int(index)] for index in rng.choice(len(movable), 2, replace=False))
        values = self._legal[shrunk]
        wanted = counts[shrunk] * rng.uniform(0.3, 0.95)
        smaller = [value for value in values if value < counts[shrunk]] or [values[0]]
        counts[shrunk] = min(smaller, key=lambda value: abs(value - wanted))
        reachable = most(self._plan, counts, grown, self._legal[grown], self._target, self._cost)
        counts[grown] = max(counts[grown], reachable or counts[grown])
        return dict(self._space.from_genes(counts))

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Genes of two parents mixed."""
        return self._generic.crossover(left, right, rng)

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Other genes that express the same candidate, as the generic variation makes them."""
        return self._generic.twins(genes, rng)
