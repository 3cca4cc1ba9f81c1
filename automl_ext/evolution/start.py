"""Where an evolution starts: anywhere, or at one simple candidate that mutations lead away from."""

from __future__ import annotations

from typing import Any

import numpy as np

from automl_ext.searcher import Target


class Start:
    """start: "random", "first" (every decision its first legal value), or the name of one of the target's references.

    mutations: how many a first candidate takes. ValueError where there is no such reference.
    """

    def __init__(self, target: Target, start: str, mutations: int = 0) -> None:
        if start not in ("random", "first", *target.references):
            known = ", ".join(("random", "first", *target.references))
            raise ValueError(f"searcher.start: no reference {start!r}; known: {known}")
        self.variation = target.variation
        self.mutations = mutations
        self.genes: dict[str, Any] | None = None
        if start == "first":
            self.genes = target.space.from_genes({})
        elif start != "random":
            self.genes = target.space.from_genes(target.references[start])

    def draw(self, rng: np.random.Generator, more: int = 0) -> dict[str, Any]:
        """Genes to start with; `more` mutations lead away from a simple candidate that failed."""
        genes = self.variation.sample(rng) if self.genes is None else dict(self.genes)
        for _ in range(self.mutations + (0 if self.genes is None else more)):
            genes = self.variation.mutate(genes, rng)
        return genes
