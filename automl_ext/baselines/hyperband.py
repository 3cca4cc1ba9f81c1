"""Hyperband: brackets of successive halving from many candidates at a small budget to few at the full one, in turn.

L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh, A. Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
Hyperparameter Optimization", JMLR 18, 2018, arXiv 1603.06560.

Differs from the paper:
1. A promotion is a trial of its own whose `parent` is the promoted one: a target continues from the parent's weights.
2. Budgets count from `min_budget` up, r eta^k, not from R down; the top rung is `max_budget`. They agree where R / r is
   a power of eta.
3. After the last bracket the first one follows again, until the trials are used up (the paper names this as the
   infinite horizon's variant).
4. Several objectives: a rung is ranked by fronts, then by crowding distance. Limits come first. A failed trial counts
   in the size of its rung and is never promoted, so fewer may go on.
5. A newcomer equal to an earlier one is drawn anew. `sampler: evolution` draws newcomers by mutation of the best (see
   newcomers.py); `random` is the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from automl_ext.baselines.bracket import Bracket
from automl_ext.baselines.newcomers import Newcomers, Sampler
from automl_ext.baselines.rungs import Budget, Reduction, ladder
from automl_ext.searcher import Proposal, Target, Trial


def brackets(budgets: Sequence[float], reduction: int) -> list[tuple[int, Sequence[float]]]:
    """(n, budgets) of each bracket, s = s_max ... 0: n = ceil((s_max + 1) / (s + 1) eta^s) start at R eta^-s."""
    rungs = len(budgets)
    sizes = [-(-rungs * reduction**s // (s + 1)) for s in range(rungs)]
    return [(sizes[s], budgets[rungs - 1 - s :]) for s in reversed(range(rungs))]


class Hyperband:
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
        self.reduction = reduction
        self.brackets = brackets(ladder(min_budget, max_budget, reduction), reduction)
        self.objectives = target.objectives
        self.newcomers = Newcomers(target, sampler)
        self.turn = 0
        self.bracket = self._open()

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        return self.bracket.ask(pending, self.newcomers, rng)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Count the result; behind a bracket's last one the next bracket starts."""
        self.bracket.tell(trial, self.newcomers, self.objectives)
        if self.bracket.done:
            self.turn = (self.turn + 1) % len(self.brackets)
            self.bracket = self._open()

    def keep(self) -> set[int]:
        """What may still be promoted: at most one rung of the bracket that is open."""
        return self.bracket.keep()

    def _open(self) -> Bracket:
        candidates, budgets = self.brackets[self.turn]
        return Bracket(budgets, candidates, self.reduction)
