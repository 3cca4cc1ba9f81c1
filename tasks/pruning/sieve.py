"""A cheap accuracy ahead of the full evaluation, so that a stopping rule can spare what is not worth it.

gram: reconstruction from the Gram matrices of the dense inputs, and batch-norm statistics anew, without which it ranks
policies badly. small: the same reconstruction as in full. Either takes CALIBRATION images and is measured on REWARD
reward images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from automl_ext.tasks.pruning.evaluate import Recovery, slim
from automl_ext.tasks.pruning.groups import Plan
from automl_ext.tasks.pruning.network import PruningError
from automl_ext.tasks.pruning.prepared import Prepared
from automl_ext.tasks.pruning.protocol import Demand
from torch import nn

from automl_ext.data import Split
from automl_ext.env import Report

__all__ = ["Sieve", "cheap_images", "cheaply_slim", "check_sieve", "needs_grams", "saying"]

Sieve = Literal["none", "gram", "small"]

CALIBRATION, REWARD = 150, 250


def check_sieve(sieve: Sieve, recovery: Recovery) -> None:
    """PruningError where Gram matrices would say nothing about the full reconstruction."""
    if sieve == "gram" and recovery.reconstruction != "sequential":
        raise PruningError(
            f"sieve gram stands in for reconstruction sequential, not {recovery.reconstruction}; legal: none, small"
        )


def needs_grams(sieve: Sieve, recovery: Recovery) -> bool:
    """Whether evaluations use the Gram matrices of the dense network's inputs."""
    return "gram" in (sieve, recovery.reconstruction)


def cheaply_slim(sieve: Sieve, prepared: Prepared, counts: Mapping[str, int], recovery: Recovery) -> nn.Module:
    """As `evaluate.slim`, for less."""
    if sieve == "gram":
        recovery = replace(recovery, reconstruction="gram", recalibrate=True)
    return slim(replace(prepared, dense=prepared.dense.first(CALIBRATION)), counts, recovery)


def cheap_images(rewarded: Split) -> Split:
    """The reward images that the cheap accuracy is measured on, evenly spaced among all."""
    count = min(REWARD, len(rewarded))
    return rewarded[torch.arange(count) * len(rewarded) // count]


def saying(report: Report, demand: Demand, plan: Plan, counts: Mapping[str, int], *, ahead: int) -> Report:
    """say(epoch, accuracy): reports the objective that the accuracy makes, `ahead` steps being before epoch 1."""

    def say(epoch: float, accuracy: float) -> bool:
        return report(ahead + epoch, demand.reward(plan, counts, accuracy).get("reward", accuracy))

    return say
