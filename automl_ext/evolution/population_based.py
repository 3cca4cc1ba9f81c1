"""Population-based training: members train side by side; the worst take over weights and candidate of the best.

M. Jaderberg, V. Dalibard, S. Osindero, W. M. Czarnecki, J. Donahue, A. Razavi, O. Vinyals, T. Green, I. Dunning,
K. Simonyan, C. Fernando, K. Kavukcuoglu, "Population Based Training of Neural Networks", 2017, arXiv 1711.09846.
Defaults are those of D. Ho, E. Liang, I. Stoica, P. Abbeel, X. Chen, "Population Based Augmentation", ICML 2019, arXiv
1905.05393: 16 members, every 3 epochs, a quarter.

Differs from the paper:
1. A member's step is a trial of its own whose `parent` is the member's last one: a target goes on from its weights.
2. Generations are synchronous, so that a seed fixes the search: the last results of one are awaited. The members of the
   paper compare with whatever the others have at the moment. Set `population` to a multiple of `parallel`.
3. The worst quarter copies one of the best quarter, as in Population Based Augmentation; the paper's is a fifth
   (`quantile: 0.2`). Of its ways to select only this one, truncation.
4. Explore is the target's own: `explore` of its variation, which knows the budget that is behind, or else a mutation;
   the paper multiplies numbers by 0.8 or 1.2 or draws them anew. What equals another member's candidate on the same
   weights is drawn anew, up to 16 times: it would be told the same result.
5. A search does not end with its population: where the next step would exceed `max_budget`, a new one starts, until the
   trials are used up. By default there is no end.
6. Failed trials, and such as are not finite, rank last: they copy one of the best even where they are more than a
   quarter, and nobody copies them. Where all failed, a new population starts. Candidates that miss a limit are ranked
   by how far they miss it, below all others. Of equals the one asked first is better.
7. The best of a generation are asked first in the next one, so that a search whose trials end within a generation has
   gone on with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from automl_ext.evolution.standing import Standing
from automl_ext.evolution.start import Start
from automl_ext.refusal import one_objective
from automl_ext.searcher import Proposal, Target, Trial

Genes = dict[str, Any]

TRIES = 16
"""How often a candidate that another member has on the same weights is drawn anew."""


class PopulationBased:
    """population: members. interval: budget of a step, in the target's unit (epochs as a rule). quantile: which share
    copies, and which is copied. max_budget: of a member, 0 for no end. start: see `Start`; of a simple one all members
    are equal until they are explored.

    Of a target whose candidate is a schedule: `interval` shall be whole parts of it, and `max_budget` its length.
    Generation g = 0, 1, ... has budget (g + 1) * interval. `plan` holds its proposals; `told` is how many are told.
    Raises ValueError for numbers out of range, and a max_budget that is less than one step.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        population: Annotated[int, Field(ge=2, le=10_000)] = 16,
        interval: Annotated[float, Field(gt=0, le=1e12)] = 3.0,
        quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25,
        max_budget: Annotated[float, Field(ge=0, le=1e12)] = 0.0,
        start: str = "random",
    ) -> None:
        one_objective(target.objectives, "population-based")
        if population < 2:
            raise ValueError(f"searcher.population: at least 2, not {population}")
        if not 0 < quantile <= 0.5:
            raise ValueError(f"searcher.quantile: above 0 and at most 0.5, not {quantile:g}")
        if not 0 < interval < math.inf:
            raise ValueError(f"searcher.interval: above 0, not {interval:g}")
        if max_budget and not interval <= max_budget:
            raise ValueError(f"searcher.max_budget: 0 (no end) or at least interval ({interval:g}), not {max_budget:g}")
        self.target = target
        self.size, self.interval, self.max_budget = population, float(interval), max_budget
        self.share = min(math.ceil(round(population * quantile, 9)), population // 2)
        self.start = Start(target, start)
        self.lost = 0
        self.generation = 0
        self.told = 0
        self.done: list[tuple[Standing, Trial]] = []
        self.plan = self._newcomers(rng)

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        """The next of the generation, of which all pending ones are; None while its last results are awaited."""
        place = self.told + len(pending)
        return self.plan[place] if place < self.size else None

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """With a generation's last tell the next one is planned."""
        self.told += 1
        standing = Standing.of(trial.metrics, self.target.objectives)
        if not standing.failed:
            self.done.append((standing, trial))
        if self.told < self.size:
            return
        self.lost = 0 if self.done else self.lost + 1
        if self.done and self._goes_on:
            self.generation += 1
            self.plan = self._successors(rng)
        else:
            self.generation = 0
            self.plan = self._newcomers(rng)
        self.told, self.done = 0, []

    def keep(self) -> set[int]:
        """Whom the rest of the generation continues from, and who may be continued in the next one."""
        parents = {proposal.parent for proposal in self.plan[self.told :] if proposal.parent is not None}
        return parents | ({trial.number for _, trial in self.done} if self._goes_on else set())

    @property
    def _budget(self) -> float:
        return (self.generation + 1) * self.interval

    @property
    def _goes_on(self) -> bool:
        """Whether a step more stays within max_budget."""
        return not self.max_budget or self._budget + self.interval <= self.max_budget * (1 + 1e-9)

    def _newcomers(self, rng: np.random.Generator) -> list[Proposal]:
        """A population that starts. After one that failed altogether a simple start is left by mutations."""
        plan: list[Proposal] = []
        known: set[str] = set()
        for member in range(self.size):
            genes = self.start.draw(rng, more=self.lost)
            for _ in range(TRIES if self.start.genes is None else 0):
                if self._key(genes) not in known:
                    break
                genes = self.start.draw(rng)
            known.add(self._key(genes))
            plan.append(self._proposal(genes, member))
        return plan

    def _successors(self, rng: np.random.Generator) -> list[Proposal]:
        """Who goes on, the best first; then whoever is replaced, by the best."""
        ranked = [trial for _, trial in sorted(self.done, key=lambda pair: pair[0].rank, reverse=True)]
        going, best = ranked[: self.size - self.share], ranked[: self.share]
        plan = [self._proposal(trial.note["genes"], trial.note["member"], trial.number) for trial in going]
        known = {(trial.number, self._key(trial.note["genes"])) for trial in going}
        staying = {trial.note["member"] for trial in going}
        for member in range(self.size):
            if member in staying:
                continue
            copied = best[int(rng.integers(len(best)))]
            for _ in range(TRIES):
                genes = self._explored(copied.note["genes"], rng)
                if (copied.number, self._key(genes)) not in known:
                    break
            known.add((copied.number, self._key(genes)))
            plan.append(self._proposal(genes, member, copied.number))
        return plan

    def _explored(self, genes: Genes, rng: np.random.Generator) -> Genes:
        """Changed by the variation's `explore` where it has one, else by a mutation. `genes` stay as they are."""
        variation = self.target.variation
        explore = getattr(variation, "explore", None)
        behind = self.generation * self.interval
        return dict(variation.mutate(dict(genes), rng) if explore is None else explore(dict(genes), behind, rng))

    def _proposal(self, genes: Genes, member: int, parent: int | None = None) -> Proposal:
        note = {"genes": dict(genes), "member": member, "generation": self.generation}
        return Proposal(self.target.space.from_genes(genes), note, self._budget, parent)

    def _key(self, genes: Genes) -> str:
        return self.target.space.key(self.target.space.from_genes(genes))
