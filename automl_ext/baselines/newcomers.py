"""Newcomers: the candidates that start at the lowest rung, drawn at random or bred from the best so far.

`evolution` follows the published pairings of Hyperband with a model: BOHB (S. Falkner, A. Klein, F. Hutter, ICML 2018,
arXiv 1807.01774) and MOBSTER (A. Klein et al., 2020, arXiv 2003.10865) learn from the highest budget that has enough
results and draw a part at random all the same; here a mutation takes the model's place, as in DEHB (N. Awad et al.,
IJCAI 2021, arXiv 2105.09821).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from automl_ext.baselines.rungs import Entry, best_first
from automl_ext.searcher import Proposal, Target

Sampler = Literal["random", "evolution"]

PARENTS = 5
"""How many of the best at one budget breed."""
ENOUGH = 10
"""How many results a budget needs before they breed; with fewer the next lower budget is taken."""
AT_RANDOM = 0.1
"""The share of newcomers that is drawn at random though there are parents."""
TRIES = 16
"""How often a draw that the lowest rung holds already is repeated, or mutated further where it was bred."""


class Newcomers:
    """Draws candidates, as genes; what is drawn is new where TRIES draws find something new."""

    def __init__(self, target: Target, sampler: Sampler) -> None:
        if sampler not in ("random", "evolution"):
            raise ValueError(f"searcher.sampler: random or evolution, not {sampler!r}")
        self.target = target
        self.sampler = sampler
        self.seen: set[str] = set()
        self.best: dict[float, list[Entry]] = {}
        self.counts: dict[float, int] = {}

    def draw(self, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        """A proposal without budget; the note holds its genes."""
        space, variation = self.target.space, self.target.variation
        known = {space.key(proposal.candidate) for proposal in pending}
        parent = self._parent(rng)
        genes = parent or {}
        for _ in range(TRIES):
            genes = variation.mutate(genes, rng) if parent else variation.sample(rng)
            candidate = space.from_genes(genes)
            key = space.key(candidate)
            if key not in self.seen and key not in known:
                break
        return Proposal(candidate, {"genes": genes})

    def tell(self, entry: Entry | None, candidate: dict[str, Any], budget: float) -> bool:
        """Learn a result, None where it failed. Returns whether the candidate is new."""
        key = self.target.space.key(candidate)
        new = key not in self.seen
        self.seen.add(key)
        if entry is not None and self.sampler == "evolution":
            self.best[budget] = best_first([*self.best.get(budget, []), entry])[:PARENTS]
            self.counts[budget] = self.counts.get(budget, 0) + 1
        return new

    def _parent(self, rng: np.random.Generator) -> dict[str, Any] | None:
        """The genes of one of the best; None where there are too few results, or chance wants a random draw."""
        budgets = [budget for budget, count in self.counts.items() if count >= ENOUGH]
        if not budgets or rng.random() < AT_RANDOM:
            return None
        parents = self.best[max(budgets)]
        return dict(parents[int(rng.integers(len(parents)))].note["genes"])
