"""RENA's violation product: a quality, lowered exponentially by how far soft bounds are missed.

Y. Zhou, S. Ebrahimi, S. O. Arik, H. Yu, H. Liu, G. Diamos, "Resource-Efficient Neural Architect", 2018,
arXiv 1806.07912.

    violation of an upper bound C by a use U: max(0, U / C - 1)      of a lower bound: max(0, C / U - 1)
    reward = quality * product over bounds of base ** violation

Differs from the paper: 1. The base penalty is a constant. The paper makes it harsher as the search goes on; then the
reward of a candidate would depend on when it was tried, and the best of a run could not be told. 2. Its value (0.1:
missing a bound by a tenth costs a fifth of the quality) is ours, the paper's is not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from automl_ext.mistakes import ConfigError
from automl_ext.objective import Metrics, Objective
from automl_ext.rewards.product import Name
from automl_ext.rewards.rule import Rule, at_least_zero, one_named

Bound = Annotated[float, Field(gt=0, le=1e30)]


class Rena:
    """quality * product of base ** violation.

    bounds: objective -> bound, an upper one where the objective is minimised, a lower one where it is maximised.
    base: what remains of the quality where a bound is missed by its own size; 1 turns the bounds off.
    """

    def __init__(
        self,
        bounds: dict[str, Bound],
        quality: Name | None = None,
        base: Annotated[float, Field(gt=0, le=1)] = 0.1,
    ) -> None:
        self.bounds, self.quality, self.base = bounds, quality, base

    def over(self, objectives: Sequence[Objective]) -> Rule:
        good = one_named(objectives, "quality", self.quality, "max")
        if not self.bounds:
            raise ConfigError("reward.bounds", "is empty; it needs at least one objective with its bound")
        bounds = [(one_named(objectives, f"bounds.{name}", name), bound) for name, bound in self.bounds.items()]
        base = self.base

        def value(metrics: Metrics) -> float:
            missed = sum(violation(metrics[o.name], bound, o.goal == "min") for o, bound in bounds)
            return float(at_least_zero(metrics, good.name) * base**missed)

        return Rule(value, (good.name, *(objective.name for objective, _ in bounds)))


def violation(use: float, bound: float, upper: bool) -> float:
    """How far a bound above 0 is missed, relative to it; 0 where it is kept, infinite for no use of a lower bound."""
    if upper:
        return max(0.0, use / bound - 1)
    return max(0.0, bound / use - 1) if use > 0 else math.inf
