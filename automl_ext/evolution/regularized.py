"""Regularized (ageing) evolution: a tournament picks the parent, the oldest dies.

E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019,
arXiv 1802.01548.

Differs from the paper:
1. The loop gives the order: an individual's age is the number of its tell, not of its completion.
2. The mutation is the target's own; the generic one changes one active gene to another value. The identity mutation
   (probability 0.05 in the paper) is an option, off by default, since a cached trial would stand for it.
3. Failed trials, and such as are not finite, enter with the worst fitness, so that sizes and ages do not drift.
   Candidates that miss a limit are ranked by how far they miss it, below all others.
4. Several trials may be out at once (`parallel`): the first tournaments draw from those told so far, fewer than
   `population`.
5. `restart`, which is of Chen et al. 2023 (arXiv 2302.06675): after so many trials the search begins anew, with
   mutations of the best candidate so far.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from deap import base, tools
from pydantic import Field

from automl_ext.evolution.variation import lent_seed
from automl_ext.objective import rank
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial

Size = Annotated[int, Field(ge=1, le=100_000)]


class _Fitness(base.Fitness):  # type: ignore[misc]
    """(minus the limits' violation, primary objective), both to maximise, the first before the second."""

    weights = (1.0, 1.0)


class Individual:
    """Genes and the fitness that they got once; DEAP selects by `fitness`."""

    def __init__(self, genes: dict[str, Any], standing: tuple[float, float]) -> None:
        finite = all(math.isfinite(value) for value in standing)
        self.genes = genes
        self.fitness = _Fitness(standing if finite else rank(None, ()))


class RegularizedEvolution:
    """population: P alive. sample: tournament size S, drawn with replacement. identity: chance of no mutation.

    restart: trials after which a new population begins at the best candidate so far; 0 for never.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        population: Size = 20,
        sample: Size = 5,
        identity: Annotated[float, Field(ge=0, le=1)] = 0.0,
        restart: Annotated[int, Field(ge=0, le=100_000_000)] = 0,
    ) -> None:
        one_objective(target.objectives, "regularized-evolution")
        for name, value in (("population", population), ("sample", sample)):
            if value < 1:
                raise ValueError(f"searcher.{name}: at least 1, not {value}")
        if not 0 <= identity <= 1:
            raise ValueError(f"searcher.identity: from 0 to 1, not {identity}")
        if restart and restart <= population:
            raise ValueError(
                f"searcher.restart: 0 for never, or more than the population of {population}, not {restart}"
            )
        self.target = target
        self.restart = restart
        self.best: Individual | None = None
        self.size = population
        self.sample = sample
        self.identity = identity
        self.population: deque[Individual] = deque(maxlen=population)

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        if number < self.size or not self.population:
            genes = self.target.variation.sample(rng)
        elif self.restart and number >= self.restart and number % self.restart < self.size and self.best is not None:
            genes = self.target.variation.mutate(self.best.genes, rng)
        else:
            with lent_seed(rng):
                (parent,) = tools.selTournament(list(self.population), 1, self.sample)
            genes = dict(parent.genes)
            if rng.random() >= self.identity:
                genes = self.target.variation.mutate(genes, rng)
        return Proposal(self.target.space.from_genes(genes), {"genes": genes})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """The newest enters, the oldest leaves."""
        standing = rank(trial.metrics, self.target.objectives)
        newest = Individual(dict(trial.note["genes"]), standing)
        self.population.append(newest)
        if self.best is None or newest.fitness > self.best.fitness:
            self.best = newest
