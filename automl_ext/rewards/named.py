"""What `reward.name` can be: a table of strings, or your own as module:Class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automl_ext.mistakes import ConfigError, shown, unknown
from automl_ext.registry import Entry, resolve

REWARDS: Mapping[str, Entry] = {
    "mnasnet-soft": Entry(
        "automl_ext.rewards.product:MnasNetSoft",
        "quality * (cost / target) ** -0.07",
        "Tan et al. 2019, arXiv 1807.11626",
    ),
    "mnasnet-hard": Entry(
        "automl_ext.rewards.product:MnasNetHard",
        "the quality up to the target cost, a sharp penalty above it",
        "Tan et al. 2019, arXiv 1807.11626",
    ),
    "rena": Entry(
        "automl_ext.rewards.violation:Rena",
        "quality, lowered exponentially by how far soft bounds are missed",
        "Zhou et al. 2018, arXiv 1806.07912",
    ),
    "weighted-sum": Entry("automl_ext.rewards.weighted:WeightedSum", "weight * value, summed over objectives"),
}


def reward_class(name: str, where: str = "reward.name") -> Callable[..., Any]:
    """The class of a reward, by name or as module:Class. Raises ConfigError for no such one."""
    check_reward_name(name, where)
    cls = resolve(REWARDS[name].path if name in REWARDS else name, where)
    if not isinstance(cls, type) or not callable(getattr(cls, "over", None)):
        raise ConfigError(where, f"{shown(name)} is no reward: it has no over(objectives)")
    return cls


def check_reward_name(name: str, where: str = "reward.name") -> None:
    """ConfigError for a name that is neither registered nor module:Class."""
    if name not in REWARDS and ":" not in name:
        raise ConfigError(where, unknown("reward", name, REWARDS, "your own: my_module:MyReward"))
