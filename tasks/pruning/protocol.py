"""What a search is asked for: the objectives, and what a policy may cost.

resource: as accurate as can be within a share of the dense multiply-accumulates; free with several objectives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from automl_ext.tasks.pruning.network import PruningError

from automl_ext.objective import Objective

__all__ = ["GOALS", "Demand", "Goal", "Traded", "demand"]

Goal = Literal["max", "min"]
Traded = Literal["accuracy", "macs_m", "macs_kept", "params_k", "latency_ms"]
"""The metrics that can be objectives."""
GOALS: Mapping[str, Goal] = {
    "accuracy": "max", "macs_m": "min", "macs_kept": "min", "params_k": "min", "latency_ms": "min",
}  # fmt: skip
MEASURED = ("latency_ms",)


@dataclass(frozen=True)
class Demand:
    """objectives: the first is the primary one. share: of the dense cost that a policy may use; 1 is free."""

    objectives: tuple[Objective, ...]
    share: float

    @property
    def free(self) -> bool:
        return self.share >= 1


def demand(objectives: Mapping[Traded, Goal] | None, macs_kept: float | None) -> Demand:
    """What the options ask for. Without `macs_kept`: a half for one objective, all for several.

    Raises PruningError, one line, for unknown metrics, a metric in its worse direction, a share out of range.
    """
    wanted: Mapping[Traded, Goal] = {"accuracy": "max"} if objectives is None else objectives
    if not wanted:
        raise PruningError(f"objectives is empty; legal: {_legal()}")
    for name, goal in wanted.items():
        if GOALS.get(name) != goal:
            raise PruningError(f"objectives: {name}: {goal} is not possible; legal: {_legal()}")
    share = macs_kept if macs_kept is not None else (0.5 if len(wanted) == 1 else 1.0)
    if not 0 < share <= 1:
        raise PruningError(f"macs_kept must lie above 0 and at most at 1, not {share}")
    return Demand(tuple(Objective(name, goal, measured=name in MEASURED) for name, goal in wanted.items()), share)


def _legal() -> str:
    return ", ".join(f"{name}: {goal}" for name, goal in GOALS.items())
