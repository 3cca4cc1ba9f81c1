"""Evolution's mutation for shares of weights under a budget: what one layer gives up, another takes.

The counterpart of variation.py. Not from the paper, which uses no evolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from automl_ext.tasks.pruning.weight_space import Part, cost_of, counts_of, policy_of

from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Genes, Space

__all__ = ["WeightExchange"]


class WeightExchange:
    """Mutation by exchange; sampling, crossover and twins are the generic ones. Genes: layer -> share kept."""

    def __init__(self, space: Space, parts: Sequence[Part], target: int) -> None:
        self._generic = GenericVariation(space)
        self._space, self._parts, self._target = space, parts, target

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Genes of a random policy."""
        return self._generic.sample(rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Shrink a random layer that is above its least by a factor between 0.3 and 0.95; then let another random one
        take all that the target allows, up to its most. Where all are at their least, the generic mutation.
        """
        counts = counts_of(self._parts, self._space.from_genes(genes))
        giving = [part for part in self._parts if counts[part.name] > part.least]
        if not giving:
            return self._generic.mutate(genes, rng)
        shrunk = giving[int(rng.integers(len(giving)))]
        counts[shrunk.name] = max(int(counts[shrunk.name] * rng.uniform(0.3, 0.95)), shrunk.least)
        taking = [part for part in self._parts if part is not shrunk and counts[part.name] < part.most]
        if taking:
            grown = taking[int(rng.integers(len(taking)))]
            free = self._target - cost_of(self._parts, counts)
            counts[grown.name] = min(counts[grown.name] + free // grown.price, grown.most)
        return dict(self._space.from_genes(policy_of(self._parts, counts)))

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Genes of two parents mixed."""
        return self._generic.crossover(left, right, rng)

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """Other genes that express the same candidate, as the generic variation makes them."""
        return self._generic.twins(genes, rng)
