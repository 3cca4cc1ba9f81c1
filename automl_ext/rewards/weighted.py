"""A weighted sum of objectives, each counted in the direction in which it gets better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from automl_ext.mistakes import ConfigError
from automl_ext.objective import Metrics, Objective
from automl_ext.rewards.rule import Rule, one_named

Weight = Annotated[float, Field(ge=0, le=1e30)]


class WeightedSum:
    """Sum of weight * value over `weights`, what is minimised with a minus.

    weights: objective -> worth of one unit of it. A sum finds no candidate on a hollow part of a front.
    """

    def __init__(self, weights: dict[str, Weight]) -> None:
        self.weights = weights

    def over(self, objectives: Sequence[Objective]) -> Rule:
        terms = [(one_named(objectives, f"weights.{name}", name), weight) for name, weight in self.weights.items()]
        if not any(weight > 0 for _, weight in terms):
            raise ConfigError("reward.weights", "needs at least one objective with a weight above 0")

        def value(metrics: Metrics) -> float:
            return sum(weight * objective.signed(metrics) for objective, weight in terms)

        return Rule(value, tuple(objective.name for objective, _ in terms))
