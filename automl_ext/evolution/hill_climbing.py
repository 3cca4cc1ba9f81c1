"""NASH's hill climbing: children of the current best, all trained on from it; the best of them replaces it.

T. Elsken, J. H. Metzen, F. Hutter, "Simple and Efficient Architecture Search for Convolutional Neural Networks",
ICLR 2018 workshop track, arXiv 1711.04528.

Differs from the paper:
1. Mutations are the target's own, of which the network morphisms are those of a task that has them. A child takes one
   instead of five, which suits spaces of ten decisions; `mutations: 5` is the paper's.
2. The first round draws `starts` random candidates and begins at the best; `start: first` or a reference is the
   paper's one small network. A simple start that fails is drawn again, one mutation further with each round.
3. The children of a round differ from each other: an equal one would be told the same result.
4. A round whose children all failed keeps the best that there was. Candidates that miss a limit are ranked by how far
   they miss it, below all others. Of equal children the first replaces the best.
5. The search goes on for as many rounds as it is given trials; the final training is the run's `final:` stage.
6. A round ends with its last tell, which asks wait for, as the choice of the best needs all: set `neighbours` to a
   multiple of `parallel` to keep workers busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from automl_ext.evolution.fresh import TRIES, fresh
from automl_ext.evolution.standing import Standing
from automl_ext.evolution.start import Start
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial

Genes = dict[str, Any]


class HillClimbing:
    """neighbours: children of a round. mutations: of each, but for the last, which stays as its parent (`unchanged`).

    start: see `Start`. starts: how many random candidates the first round draws. inherit: children continue from their
    parent's weights.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        neighbours: Annotated[int, Field(ge=1, le=10_000)] = 8,
        mutations: Annotated[int, Field(ge=1, le=1000)] = 1,
        unchanged: bool = True,
        start: str = "random",
        starts: Annotated[int, Field(ge=1, le=10_000)] = 8,
        inherit: bool = True,
    ) -> None:
        one_objective(target.objectives, "hill-climbing")
        for name, value in (("neighbours", neighbours), ("mutations", mutations), ("starts", starts)):
            if value < 1:
                raise ValueError(f"searcher.{name}: at least 1, not {value}")
        self.target = target
        self.neighbours, self.mutations, self.unchanged = neighbours, mutations, unchanged
        self.start = Start(target, start)
        self.starts = starts if start == "random" else 1
        self.inherit = inherit
        self.round = 0
        self.best: Trial | None = None
        self.leader: Trial | None = None
        self.told: set[str] = set()
        self.count = 0

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        index = self.count + len(pending)
        if index >= self._length():
            return None
        if self.best is None:
            genes = self.start.draw(rng, more=self.round)
            return Proposal(self.target.space.from_genes(genes), {"genes": genes})
        best: Genes = dict(self.best.note["genes"])
        if self.unchanged and index == self.neighbours - 1:
            genes = best
        else:
            asked = {self.target.space.key(proposal.candidate) for proposal in pending} | self.told
            genes = fresh(self.target, lambda rng: self._mutated(best, rng), asked.__contains__, rng, TRIES)
        parent = self.best.number if self.inherit else None
        return Proposal(self.target.space.from_genes(genes), {"genes": genes}, parent=parent)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """The round's best so far leads; with the last tell of the round it replaces the best there was."""
        self.count += 1
        self.told.add(self.target.space.key(trial.candidate))
        standing = Standing.of(trial.metrics, self.target.objectives)
        if not standing.failed and (self.leader is None or standing.rank > self._standing(self.leader).rank):
            self.leader = trial
        if self.count == self._length():
            self.best = self.leader or self.best
            self.leader, self.count, self.told = None, 0, set()
            self.round += 1

    def keep(self) -> set[int]:
        """The best, and whoever may replace it."""
        kept = (self.best, self.leader) if self.inherit else ()
        return {trial.number for trial in kept if trial is not None}

    def _length(self) -> int:
        """How many trials this round has."""
        return self.starts if self.best is None else self.neighbours

    def _mutated(self, genes: Genes, rng: np.random.Generator) -> Genes:
        for _ in range(self.mutations):
            genes = self.target.variation.mutate(genes, rng)
        return genes

    def _standing(self, trial: Trial) -> Standing:
        return Standing.of(trial.metrics, self.target.objectives)
