"""Objectives: which metrics count, in which direction, and which candidate is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Metrics = Mapping[str, float]
"""Named finite numbers, the unit in the name: `accuracy`, `latency_ms`, `macs_m`."""


@dataclass(frozen=True)
class Objective:
    """A metric to maximise or minimise.

    `limit` is a hard bound: at least that much where the goal is max, at most where it is min.
    `measured` marks a wall-clock quantity, which stays outside the promise that a seed fixes the search.
    """

    name: str
    goal: Literal["max", "min"] = "max"
    limit: float | None = None
    measured: bool = False

    def __post_init__(self) -> None:
        if self.goal not in ("max", "min"):
            raise ValueError(f"objective {self.name}: goal is 'max' or 'min', not {self.goal!r}")

    def signed(self, metrics: Metrics) -> float:
        """The value as something to maximise."""
        value = float(metrics[self.name])
        return value if self.goal == "max" else -value

    def violation(self, metrics: Metrics) -> float:
        """How far the limit is missed, 0 where it is kept or there is none."""
        if self.limit is None:
            return 0.0
        bound = self.limit if self.goal == "max" else -self.limit
        return max(0.0, bound - self.signed(metrics))


def rank(metrics: Metrics | None, objectives: Sequence[Objective]) -> tuple[float, float]:
    """Sort key of a result by its primary objective, larger is better; limits come first, a failure last."""
    if metrics is None:
        return (-math.inf, -math.inf)
    return (-sum(objective.violation(metrics) for objective in objectives), objectives[0].signed(metrics))


def reward(metrics: Metrics | None, objectives: Sequence[Objective], failed: float = -math.inf) -> float:
    """The primary objective as one float to maximise; `failed` for a failed trial and one that misses a limit."""
    if metrics is None or any(objective.violation(metrics) > 0 for objective in objectives):
        return failed
    return objectives[0].signed(metrics)


def traded(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """What is weighed against each other: the primary objective and all others without a limit.

    One with a limit is a constraint: what keeps it is not better for keeping it by more.
    """
    return tuple(objective for index, objective in enumerate(objectives) if index == 0 or objective.limit is None)


def front(points: Sequence[Metrics], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the points that no other dominates (Pareto), in the order given; equal points all stay.

    All of `objectives` count, whatever their limits; see `traded`.
    """
    if not points:
        return []
    from moocore import is_nondominated  # type: ignore[import-untyped]

    values = np.array([[objective.signed(point) for objective in objectives] for point in points])
    return [int(index) for index in np.flatnonzero(is_nondominated(values, maximise=True, keep_weakly=True))]
