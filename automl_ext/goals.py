"""What a run strives for: the objectives that searcher, loop, finals and report follow, and the reward among them.

A config may give the target's objectives limits (`limits:`) and weigh them in one number (`reward:`). The reward is a
metric like any other: derived before a trial is recorded, so the journal, a resumed run and the searcher see the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from automl_ext import registry
from automl_ext.config import Config
from automl_ext.mistakes import ConfigError, unknown
from automl_ext.objective import Metrics, Objective
from automl_ext.rewards.rule import Rule
from automl_ext.searcher import Failure, Target

REWARD = "reward"
"""Name of the derived metric."""


@dataclass(frozen=True)
class Goals:
    """target: the target's objectives, with the config's limits. objectives: what is followed, the primary one first.

    With a reward these are the reward and whatever has a limit.
    """

    target: tuple[Objective, ...]
    objectives: tuple[Objective, ...]
    rule: Rule | None = None

    def seen(self, target: Target) -> Target:
        """A target as searchers see it: with the objectives of this run."""
        return replace(target, objectives=self.objectives)

    def settled(self, result: dict[str, Any]) -> dict[str, Any]:
        """An evaluation's result with the reward among its metrics, or a failure where there is none."""
        metrics = result.get("metrics")
        if self.rule is None or metrics is None:
            return result
        try:
            return {**result, "metrics": {**metrics, REWARD: _value(self.rule, metrics)}}
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            why = (
                f"no reward: {error}"
                if isinstance(error, ValueError)
                else f"no reward: {type(error).__name__}: {error}"
            )
            return {**result, "metrics": None, "error": Failure("metrics", why), "origin": "evaluated"}


def build_goals(config: Config, objectives: Sequence[Objective]) -> Goals:
    """What the config makes of a target's objectives. Raises ConfigError, keys `limits.<name>`, `reward.<option>`."""
    own = _limited(config, objectives)
    if config.reward is None:
        return Goals(own, own)
    if any(objective.name == REWARD for objective in own):
        raise ConfigError("reward", "the target has an objective called reward itself")
    kind = registry.reward_class(config.reward.name)
    rule: Rule = kind(**registry.check_options(kind, config.reward.options, "reward")).over(own)
    measured = any(objective.measured for objective in own if objective.name in rule.uses)
    kept = [objective for objective in own if objective.limit is not None]
    return Goals(own, (Objective(REWARD, measured=measured), *kept), rule)


def _limited(config: Config, objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    names = [objective.name for objective in objectives]
    for name in config.limits:
        if name not in names:
            raise ConfigError(f"limits.{name}", unknown("objective", name, names))
    return tuple(
        replace(objective, limit=config.limits[objective.name]) if objective.name in config.limits else objective
        for objective in objectives
    )


def _value(rule: Rule, metrics: Metrics) -> float:
    if REWARD in metrics:
        raise ValueError("the target gives a metric called reward itself")
    value = float(rule.value(metrics))
    if not math.isfinite(value):
        raise ValueError(f"it is {value}")
    return value
