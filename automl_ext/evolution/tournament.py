"""Tournament evolution: the best of a few has a child; the worst of them dies, or nobody does.

E. Real, S. Moore, A. Selle, S. Saxena, Y. L. Suematsu, J. Tan, Q. V. Le, A. Kurakin, "Large-Scale Evolution of Image
Classifiers", ICML 2017, arXiv 1703.01041: pairs, the worse dies, the child inherits weights (the default).
H. Liu, K. Simonyan, O. Vinyals, C. Fernando, K. Kavukcuoglu, "Hierarchical Representations for Efficient Architecture
Search", ICLR 2018, arXiv 1711.00436: 5 % of a population in which nobody dies, diversified by many mutations of one
simple start, no weights (`share: 0.05, dies: nobody, start: first, start_mutations: 1000, inherit: false`).

Differs from the papers:
1. The loop gives the order: a child enters when it is told. Who loses is out from the ask on, as in the paper, so two
   children never meet over the same loser and no worker has to try again. Where fewer than two are left, the next
   tell is waited for.
2. The start is random by default; `start: first` or a reference is the papers' simple individual. Mutations are the
   target's own, which says what inapplicable ones turn into.
3. A population of 10 instead of 1,000 or 200, for searches of 100 to 300 trials.
4. Of equals the youngest wins and the oldest loses (the papers do not say).
5. At least `sample` fight, also where `share` of the population is less.
6. Failed trials, and such as are not finite, enter with the worst fitness and give no weights. Candidates that miss a
   limit are ranked by how far they miss it, below all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from automl_ext.evolution.standing import Standing
from automl_ext.evolution.start import Start
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial


@dataclass(frozen=True)
class Individual:
    """Genes and the standing that they got once, by the number of the trial."""

    number: int
    genes: dict[str, Any]
    standing: Standing

    @property
    def order(self) -> tuple[tuple[float, float], int]:
        """Larger is better, and of equals the younger."""
        return (self.standing.rank, self.number)


class Tournament:
    """population: how many start. sample: how many fight. share: or this share of the population, if that is more.

    dies: the loser of each tournament, or nobody. mutations: of a child. start, start_mutations: see `Start`.
    inherit: children continue from their parent's weights.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        population: Annotated[int, Field(ge=2, le=10_000)] = 10,
        sample: Annotated[int, Field(ge=1, le=10_000)] = 2,
        share: Annotated[float, Field(ge=0, le=1)] = 0.0,
        dies: Literal["loser", "nobody"] = "loser",
        mutations: Annotated[int, Field(ge=1, le=1000)] = 1,
        start: str = "random",
        start_mutations: Annotated[int, Field(ge=0, le=10_000)] = 0,
        inherit: bool = True,
    ) -> None:
        one_objective(target.objectives, "tournament")
        if population < 2:
            raise ValueError(f"searcher.population: at least 2, not {population}")
        if sample < (2 if dies == "loser" else 1):
            raise ValueError(f"searcher.sample: at least 2 where the loser dies, not {sample}")
        self.target = target
        self.size = population
        self.sample, self.share = sample, share
        self.dies = dies
        self.mutations = mutations
        self.start = Start(target, start, start_mutations)
        self.inherit = inherit
        self.alive: list[Individual] = []

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        if number < self.size:
            genes = self.start.draw(rng)
            return Proposal(self.target.space.from_genes(genes), {"genes": genes})
        doomed = {proposal.note["dies"] for proposal in pending if "dies" in proposal.note}
        left = [individual for individual in self.alive if individual.number not in doomed] if doomed else self.alive
        if len(left) < 2:
            return None
        drawn = self._drawn(left, rng)
        winner, loser = max(drawn, key=_order), min(drawn, key=_order)
        genes = winner.genes
        for _ in range(self.mutations):
            genes = self.target.variation.mutate(genes, rng)
        note = {"genes": genes, **({"dies": loser.number} if self.dies == "loser" else {})}
        parent = winner.number if self.inherit and not winner.standing.failed else None
        return Proposal(self.target.space.from_genes(genes), note, parent=parent)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """The child enters, and whom its parent beat is gone."""
        standing = Standing.of(trial.metrics, self.target.objectives)
        if "dies" in trial.note:
            self.alive = [individual for individual in self.alive if individual.number != trial.note["dies"]]
        self.alive.append(Individual(trial.number, dict(trial.note["genes"]), standing))

    def keep(self) -> set[int]:
        """Whoever lives may have children."""
        return {individual.number for individual in self.alive} if self.inherit else set()

    def _drawn(self, left: Sequence[Individual], rng: np.random.Generator) -> list[Individual]:
        """Different individuals, uniformly."""
        size = min(len(left), max(self.sample, round(self.share * len(left))))
        return [left[int(index)] for index in rng.choice(len(left), size, replace=False)]


def _order(individual: Individual) -> tuple[tuple[float, float], int]:
    return individual.order
