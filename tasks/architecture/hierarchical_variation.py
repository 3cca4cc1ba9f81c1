"""The mutation of the hierarchical space: one edge gets another label, or loses it, or is new.

Liu et al. 2018, arXiv 1711.00436, section 3.1: a level, a motif of it, a node, an earlier node, and what is on the edge
between them, each uniformly; the new label may be the old one. Crossover, which the paper has not, is the generic one.
"""

from __future__ import annotations

import re
from typing import Any, final

import numpy as np

from automl_ext.decisions import Choice
from automl_ext.evolution.variation import GenericVariation
from automl_ext.space import Genes, Space

__all__ = ["EdgeVariation"]

_EDGE = re.compile(r"(motif_\d+|cell)_from_(\d+)_to_(\d+)")


@final
class EdgeVariation:
    """See above."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.generic = GenericVariation(space)
        self.levels: tuple[dict[str, dict[int, list[Choice]]], ...] = ({}, {})
        for decision in space.decisions:
            found = _EDGE.fullmatch(decision.name)
            if found and isinstance(decision, Choice):
                graph = self.levels[found[1] == "cell"].setdefault(found[1], {})
                graph.setdefault(int(found[3]), []).append(decision)

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return self.generic.sample(rng)

    def mutate(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        """The genes with one edge drawn anew."""
        level = self.levels[int(rng.integers(2))]
        graph = level[sorted(level)[int(rng.integers(len(level)))]]
        into = graph[sorted(graph)[int(rng.integers(len(graph)))]]
        edge = into[int(rng.integers(len(into)))]
        return {**genes, edge.name: edge.sample(rng)}

    def crossover(self, left: Genes, right: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self.generic.crossover(left, right, rng)

    def twins(self, genes: Genes, rng: np.random.Generator) -> dict[str, Any]:
        return self.generic.twins(genes, rng)
