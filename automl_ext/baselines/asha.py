"""ASHA: whoever is free promotes a result of the best 1/eta of its rung, or starts a new candidate at the lowest rung.

L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, J. Ben-tzur, M. Hardt, B. Recht, A. Talwalkar, "A System for Massively
Parallel Hyperparameter Tuning", MLSys 2020, arXiv 1810.05934.

Differs from the paper:
1. A promotion is a trial of its own whose `parent` is the promoted one, so a target continues from the parent's weights
   and pays for the further budget only. The order of asks and tells is the loop's.
2. The top rung runs at `max_budget` even where that is no power of eta times `min_budget`.
3. Several objectives: a rung is ranked by fronts, then by crowding distance. Limits come first. A failed trial counts
   in the size of its rung and is never promoted.
4. A newcomer equal to an earlier one is drawn anew; if it comes all the same it does not count a second time.
5. A rung holds its 64 best unpromoted results ready, so that the weights kept on disk are bounded; a worse one is not
   promoted any more.
6. `sampler: evolution` draws newcomers by mutation of the best (see newcomers.py); `random` is the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_ext.baselines.newcomers import Newcomers, Sampler
from automl_ext.baselines.rungs import Budget, Reduction, Rung, entry_of, ladder
from automl_ext.searcher import Proposal, Target, Trial


class ASHA:
    """min_budget, max_budget: r and R, in the target's unit (epochs as a rule). reduction: eta. sampler: of newcomers.

    Raises ValueError for budgets that make no ladder.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        min_budget: Budget = 1.0,
        max_budget: Budget = 27.0,
        reduction: Reduction = 3,
        sampler: Sampler = "random",
    ) -> None:
        self.budgets = ladder(min_budget, max_budget, reduction)
        self.objectives = target.objectives
        self.rungs = [Rung(reduction) for _ in self.budgets]
        self.newcomers = Newcomers(target, sampler)

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal:
        """The first promotion from the top rung down, else a newcomer."""
        under_way = {proposal.parent for proposal in pending}
        for level in range(len(self.rungs) - 1, 0, -1):
            for entry in self.rungs[level - 1].promotable:
                if entry.number not in under_way:
                    note = {**entry.note, "rung": level}
                    return Proposal(entry.candidate, note, self.budgets[level], entry.number)
        drawn = self.newcomers.draw(pending, rng)
        return Proposal(drawn.candidate, {**drawn.note, "rung": 0}, self.budgets[0])

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Enter the result in its rung; a parent whose promotion is told is not promoted again."""
        level = int(trial.note["rung"])
        entry = entry_of(trial, self.objectives)
        new = self.newcomers.tell(entry, trial.candidate, self.budgets[level])
        if trial.parent is not None:
            self.rungs[level - 1].promoted(trial.parent)
        if new or trial.parent is not None:
            self.rungs[level].add(entry)

    def keep(self) -> set[int]:
        """What may still be promoted: at most WAITING trials a rung."""
        return {number for rung in self.rungs[:-1] for number in rung.waiting}
