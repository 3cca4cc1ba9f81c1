"""The median rule: stop where a curve's best value so far is worse than the median of others at the same step.

D. Golovin, B. Solnik, S. Moitra, G. Kochanski, J. Karro, D. Sculley, "Google Vizier: A Service for Black-Box
Optimization", KDD 2017, section 3.2.1; the baseline that learned rules have to beat.

Differs from the paper:
1. The others' values at the step are compared, as in Optuna's median pruner, not their running averages.
2. A curve is judged at its own steps by the last step at or before it that whole curves of its budget have.
3. The others are what was told when the trial was asked, not what is known when it is judged.
4. `quantile` generalises the median: the share of others that a curve has to be better than (Optuna's percentile
   pruner). As only whole curves count, the bar rises with the trials that passed it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from automl_ext.searcher import Proposal, Target, Trial
from automl_ext.stopping.curves import Told, one_curve
from automl_ext.stopping.rule import Points


class Median:
    """startup: whole curves of the same budget before anything is stopped. warmup: points of a curve never judged.
    quantile: the share of the others, interpolated, that a curve has to be better than.

    Raises ValueError for several objectives.
    """

    def __init__(
        self,
        target: Target,
        rng: np.random.Generator,
        *,
        startup: Annotated[int, Field(ge=1, le=100_000)] = 5,
        warmup: Annotated[int, Field(ge=0, le=1_000_000)] = 1,
        quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    ) -> None:
        one_curve(target.objectives, "the median rule")
        self.startup, self.warmup = startup, warmup
        self.goal = target.objectives[0].goal
        self._share = quantile if self.goal == "max" else 1 - quantile
        self._told = Told(target.objectives)
        self._values: dict[float | None, dict[float, list[float]]] = {}

    def stopping(self, proposal: Proposal, seed: int) -> Mapping[str, Any] | None:
        budget = proposal.budget
        if self._told.count(budget) < self.startup:
            return None
        values = self._values[budget]
        bounds = [[step, _quantile(values[step], self._share)] for step in sorted(values)]
        return {"bounds": bounds, "goal": self.goal, "last": self._told.last(budget), "warmup": self.warmup}

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        if self._told.add(trial):
            values = self._values.setdefault(trial.budget, {})
            for step, value in trial.curve:
                insort(values.setdefault(step, []), value)

    @staticmethod
    def stop(stopping: Mapping[str, Any], points: Points) -> bool:
        step = points[-1][0]
        if step >= stopping["last"] or len(points) <= stopping["warmup"]:
            return False
        passed = [bound for at, bound in sorted(stopping["bounds"]) if at <= step]
        sign = -1.0 if stopping["goal"] == "min" else 1.0
        return bool(passed) and max(sign * value for _, value in points) < sign * passed[-1]


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below, rest = ordered[int(place)], place - int(place)
    return below + rest * (ordered[int(place) + 1] - below) if rest else below
