"""What a reward becomes once it knows the target's objectives; and the checks that rewards share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from automl_ext.mistakes import ConfigError, unknown
from automl_ext.objective import Metrics, Objective


@dataclass(frozen=True)
class Rule:
    """value: the reward of an evaluation's metrics; what it raises makes a failed trial. uses: the metrics it reads."""

    value: Callable[[Metrics], float]
    uses: tuple[str, ...]


class Reward(Protocol):
    """One float out of several objectives, larger is better. Built as `Class(**options)`."""

    def over(self, objectives: Sequence[Objective]) -> Rule:
        """The rule over a target's objectives. ConfigError, its key `reward.<option>`, for what does not fit them."""


def one_named(
    objectives: Sequence[Objective], option: str, name: str | None, goal: Literal["max", "min"] | None = None
) -> Objective:
    """The objective that option `option` names; None: the primary one. ConfigError for none, or for another goal."""
    found = next((objective for objective in objectives if objective.name == name or name is None), None)
    where = f"reward.{option}"
    if found is None:
        raise ConfigError(where, unknown("objective", name, [objective.name for objective in objectives]))
    if goal is not None and found.goal != goal:
        raise ConfigError(where, f"{found.name} is {found.goal}imised by the target; it takes one that is {goal}imised")
    return found


def at_least_zero(metrics: Metrics, name: str) -> float:
    """A metric that a product takes. ValueError where it is negative: a product would reward the worse."""
    value = float(metrics[name])
    if value < 0:
        raise ValueError(f"{name} is {value:g}, and the product takes no negative values")
    return value
