"""Successive halving: many candidates at a small budget, the best 1/eta of them at eta times the budget, and so on.

K. Jamieson, A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
arXiv 1502.07943; with the rate eta of L. Li et al., "Hyperband", JMLR 18, 2018, arXiv 1603.06560.

Differs from the paper:
1. A promotion is a trial of its own whose `parent` is the promoted one: a target continues from the parent's weights.
2. A search does not end with its bracket: another one of new candidates follows, until the trials are used up.
3. The top rung runs at `max_budget` even where that is no power of eta times `min_budget`.
4. Several objectives: a rung is ranked by fronts, then by crowding distance. Limits come first. A failed trial counts
   in the size of its rung and is never promoted, so fewer may go on; with nobody left a new bracket starts.
5. A newcomer equal to an earlier one is drawn anew. `sampler: evolution` draws newcomers by mutation of the best (see
   newcomers.py); `random` is the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from automl_ext.baselines.bracket import Bracket
from automl_ext.baselines.newcomers import Newcomers, Sampler
from automl_ext.baselines.rungs import Budget, Reduction, ladder
from automl_ext.searcher import Proposal, Target, Trial


class SuccessiveHalving:
    """min_budget, max_budget: r and R, in the target's unit (epochs as a rule). reduction: eta. sampler: of newcomers.

    candidates: n, how many start; None: as many as leave one at the top. Raises ValueError for budgets that make no
    ladder, and for so few candidates that none reaches the top.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        min_budget: Budget = 1.0,
        max_budget: Budget = 27.0,
        reduction: Reduction = 3,
        candidates: Annotated[int, Field(ge=1, le=1_000_000)] | None = None,
        sampler: Sampler = "random",
    ) -> None:
        self.budgets = ladder(min_budget, max_budget, reduction)
        self.reduction = reduction
        least = reduction ** (len(self.budgets) - 1)
        self.candidates = least if candidates is None else candidates
        if self.candidates < least:
            raise ValueError(
                f"searcher.candidates: at least {least}, so that one reaches max_budget, not {self.candidates}"
            )
        self.objectives = target.objectives
        self.newcomers = Newcomers(target, sampler)
        self.bracket = Bracket(self.budgets, self.candidates, reduction)

    def ask(self, number: int, pending: Sequence[Proposal], rng: np.random.Generator) -> Proposal | None:
        return self.bracket.ask(pending, self.newcomers, rng)

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Count the result; behind a bracket's last one a new bracket starts."""
        self.bracket.tell(trial, self.newcomers, self.objectives)
        if self.bracket.done:
            self.bracket = Bracket(self.budgets, self.candidates, self.reduction)

    def keep(self) -> set[int]:
        """What may still be promoted: at most one rung of the bracket that is open."""
        return self.bracket.keep()
