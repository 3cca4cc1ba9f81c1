"""NSGA-II: parents and children compete by dominance, then by how far they stand from their like.

K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE
Transactions on Evolutionary Computation 6(2), 2002. As NSGA-Net uses it: Z. Lu, I. Whalen, V. Boddeti, Y. Dhebar,
K. Deb, E. Goodman, W. Banzhaf, "NSGA-Net: Neural Architecture Search using Multi-Objective Genetic Algorithm", GECCO
2019, arXiv 1810.03522. Sorting, crowding and tournaments are DEAP's.

Differs from the papers:
1. A generation ends with its last tell, and no ask waits for that: while trials are out, the next children still come
   from the parents before. So workers are never idle, and one trial at a time it is the generational algorithm.
   `offspring` below `population` makes generations shorter; 1 is the steady state of NSGA-Net's second version.
2. Crossover and mutation are the target's own. A child takes Poisson(`mutations`) mutations of one active gene each
   instead of flipping every gene with probability 1/n, which is the same number in the mean; the two children of a
   pair are crossed independently.
3. As in NSGA-Net nothing is evaluated twice: a child equal to any candidate asked before is not dropped, which would
   leave a worker without one, but mutated until it is new, up to 20 times.
4. A population of 16 instead of 40 to 100, for searches of 100 to 300 trials.
5. Failed trials, and such as are not finite, enter behind all others, so that generations keep their size.
6. NSGA-Net's exploitation phase begins with the generation that ends after `explore` trials (never by default, as in
   its second version). Its phases are equal consecutive parts of the space's slots; of more than 400 trials it learns
   from the better half of the best 400.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from deap import base, tools
from pydantic import Field

from automl_ext.evolution.chain import Chain
from automl_ext.evolution.fresh import TRIES, Genes, fresh
from automl_ext.evolution.standing import Standing
from automl_ext.evolution.variation import lent_seed
from automl_ext.searcher import Proposal, Target, Trial

Make = Callable[[np.random.Generator], Genes]
POOL = 400
"""How many of the best the exploitation phase remembers."""


@dataclass(frozen=True)
class Individual:
    """Genes and the standing that they got once."""

    genes: Genes
    standing: Standing


class _Fitness(base.Fitness):  # type: ignore[misc]
    """What DEAP compares: objectives to maximise, and Deb's rule for limits."""

    def __init__(self, standing: Standing) -> None:
        self.weights = (1.0,) * len(standing.values)
        self.standing = standing
        super().__init__(standing.values)

    def dominates(self, other: _Fitness, obj: slice = slice(None)) -> bool:
        return self.standing.dominates(other.standing)

    def __hash__(self) -> int:
        return hash(self.standing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fitness) and self.standing == other.standing


class _Entrant:
    """An individual as DEAP sees it, made for one selection."""

    def __init__(self, individual: Individual) -> None:
        self.individual = individual
        self.fitness = _Fitness(individual.standing)


def survivors(individuals: Sequence[Individual], size: int) -> list[Individual]:
    """The best `size`: front by front, of the last front that fits in part the least crowded."""
    chosen = tools.selNSGA2([_Entrant(individual) for individual in individuals], size)
    return [entrant.individual for entrant in chosen]


def pairs(parents: Sequence[Individual], count: int, rng: np.random.Generator) -> list[tuple[Individual, Individual]]:
    """`count` pairs of winners of binary tournaments by dominance, then crowding distance, then a coin.

    Needs at least four parents. A parent wins at most twice in a round of len(parents) tournaments.
    """
    entrants = tools.selNSGA2([_Entrant(individual) for individual in parents], len(parents))
    chosen: list[_Entrant] = []
    with lent_seed(rng):
        while len(chosen) < 2 * count:
            chosen += tools.selTournamentDCD(entrants, len(entrants) - len(entrants) % 4)
    winners = [entrant.individual for entrant in chosen]
    return [(winners[2 * index], winners[2 * index + 1]) for index in range(count)]


class NSGA2:
    """population: survivors of a generation. offspring: children of one (0: as many as `population`).

    crossover: chance that a child has two parents. mutations: how many a child takes in the mean. explore: after how
    many trials the exploitation phase begins (0: never). phases: into how many parts it cuts the slots.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        population: Annotated[int, Field(ge=4, le=10_000)] = 16,
        offspring: Annotated[int, Field(ge=0, le=10_000)] = 0,
        crossover: Annotated[float, Field(ge=0, le=1)] = 0.9,
        mutations: Annotated[float, Field(ge=0, le=100)] = 1.0,
        explore: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
        phases: Annotated[int, Field(ge=1, le=1000)] = 3,
    ) -> None:
        if population < 4:
            raise ValueError(f"searcher.population: at least 4, not {population}")
        self.target = target
        self.size = population
        self.offspring = offspring or population
        self.crossover, self.mutations = crossover, mutations
        self.explore = explore
        self.chain = Chain([slot.path for slot in target.space.slots], phases)
        self.parents: list[Individual] = []
        self.children: list[Individual] = []
        self.mating: list[tuple[Individual, Individual]] = []
        self.pool: list[Individual] = []
        self.archive: set[str] = set()
        self.told = 0

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        asked = {self.target.space.key(proposal.candidate) for proposal in pending}
        again = 0
        if number < self.size or (not self.mating and len(self.children) < 4):
            make: Make = self.target.variation.sample
        elif self.chain.ready:
            make, again = self.chain.draw, TRIES
        else:
            mating = self.mating or pairs(self.children, 1, rng)
            left, right = mating[number // 2 % len(mating)]
            make = partial(self._child, *((right, left) if number % 2 else (left, right)))
        genes = fresh(self.target, make, lambda key: key in asked or key in self.archive, rng, again)
        return Proposal(self.target.space.from_genes(genes), {"genes": genes})

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """A generation's last child ends it: the best of parents and children are the next parents."""
        genes = dict(trial.note["genes"])
        self.children.append(Individual(genes, Standing.of(trial.metrics, self.target.objectives)))
        self.archive.add(self.target.space.key(trial.candidate))
        self.told += 1
        if len(self.children) < (self.offspring if self.parents else self.size):
            return
        if self.explore:
            self._exploit()
        self.parents = survivors([*self.parents, *self.children], self.size)
        self.children = []
        self.mating = pairs(self.parents, -(-self.offspring // 2), rng)

    def _exploit(self) -> None:
        """Once exploration is over, the better half of all told so far is what the chain learns."""
        self.pool += self.children
        if len(self.pool) > POOL:
            self.pool = survivors(self.pool, POOL)
        if self.told >= self.explore:
            base = survivors(self.pool, -(-len(self.pool) // 2))
            self.chain.fit([self.target.space.from_genes(individual.genes) for individual in base])

    def _child(self, left: Individual, right: Individual, rng: np.random.Generator) -> Genes:
        variation = self.target.variation
        crossed = rng.random() < self.crossover
        genes = variation.crossover(left.genes, right.genes, rng) if crossed else dict(left.genes)
        for _ in range(int(rng.poisson(self.mutations))):
            genes = variation.mutate(genes, rng)
        return genes
