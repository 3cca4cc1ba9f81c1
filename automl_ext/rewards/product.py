"""MnasNet's weighted product of a quality and a cost, soft and hard.

M. Tan, B. Chen, R. Pang, V. Vasudevan, M. Sandler, A. Howard, Q. V. Le, "MnasNet: Platform-Aware Neural Architecture
Search for Mobile", CVPR 2019, arXiv 1807.11626.

    reward = quality * (cost / target) ** w      w = alpha where cost <= target, else beta
    soft: alpha = beta = -0.07                   twice the cost counts as about 5 % of the quality
    hard: alpha = 0, beta = -1                   the quality alone up to the target, a sharp penalty above it

Differs from the paper: 1. quality and cost may be any two objectives of the target, not accuracy and latency alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from automl_ext.objective import Metrics, Objective
from automl_ext.rewards.rule import Rule, at_least_zero, one_named

Target = Annotated[float, Field(gt=0, le=1e30)]
Exponent = Annotated[float, Field(ge=-10, le=0)]
Name = Annotated[str, Field(min_length=1, max_length=100, description="the name of an objective")]


class MnasNetSoft:
    """quality * (cost / target) ** exponent.

    cost: an objective to minimise, in the unit of `target`. quality: one to maximise, by default the primary one.
    """

    def __init__(self, cost: Name, target: Target, quality: Name | None = None, exponent: Exponent = -0.07) -> None:
        self.cost, self.target, self.quality, self.exponent = cost, target, quality, exponent

    def over(self, objectives: Sequence[Objective]) -> Rule:
        return _product(objectives, self.quality, self.cost, self.target, self.exponent, self.exponent)


class MnasNetHard:
    """quality while cost <= target, else quality * (cost / target) ** exponent; names as in the soft product."""

    def __init__(self, cost: Name, target: Target, quality: Name | None = None, exponent: Exponent = -1.0) -> None:
        self.cost, self.target, self.quality, self.exponent = cost, target, quality, exponent

    def over(self, objectives: Sequence[Objective]) -> Rule:
        return _product(objectives, self.quality, self.cost, self.target, 0.0, self.exponent)


def _product(
    objectives: Sequence[Objective], quality: str | None, cost: str, target: float, below: float, above: float
) -> Rule:
    good = one_named(objectives, "quality", quality, "max")
    dear = one_named(objectives, "cost", cost, "min")

    def value(metrics: Metrics) -> float:
        """OverflowError or ZeroDivisionError where a cost of 0 would be infinitely good."""
        share = at_least_zero(metrics, dear.name) / target
        return at_least_zero(metrics, good.name) * float(share ** (below if share <= 1 else above))

    return Rule(value, (good.name, dear.name))
