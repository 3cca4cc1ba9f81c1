"""What every space of this task gives: candidates, and the policies that they stand for.

An encoding is abstract or final; there is one a published space: subpolicies.py (AutoAugment, Fast AutoAugment),
strengths.py (RandAugment, TrivialAugment), schedules.py (Population Based Augmentation); and selective.py, of ours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS, RANGES, RangeSet, value_at
from automl_ext.tasks.augmentation.policy import Policy, Step
from numpy.typing import NDArray

from automl_ext.searcher import Variation
from automl_ext.space import Candidate, Space

SpaceName = Literal["autoaugment", "fast", "randaugment", "trivialaugment", "schedule", "selective"]


class Encoding(ABC):
    """operations: those that the space has. ranges: what magnitudes mean, see operations.py.

    all_operations: those of the publication; the images may make some of them useless.
    """

    all_operations: ClassVar[tuple[str, ...]]
    space: Space

    def __init__(self, operations: Sequence[str], ranges: RangeSet) -> None:
        self.operations, self.ranges = tuple(operations), ranges

    @abstractmethod
    def schedule(self, candidate: Candidate) -> tuple[Policy, ...]:
        """The policies of equal shares of a training, in order; one where it does not change."""

    @property
    def variation(self) -> Variation | None:
        """How evolution changes candidates; None for the generic way."""
        return None

    def combined(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """One candidate with the sub-policies of all, where the space has that; it may lie outside the space."""
        return None

    def features(self, candidate: Candidate) -> NDArray[np.float64]:
        """(32,) how often each operation happens to an image, and by how much of its range: means over a training."""
        parts = np.stack([usage(policy, self.ranges) for policy in self.schedule(candidate)])
        return np.asarray(parts.mean(axis=0).ravel(), dtype=np.float64)


def step_at(operation: str, probability: float, magnitude: float, ranges: RangeSet) -> Step:
    """The step at a magnitude in [0, 1] of the operation's range."""
    return Step(operation, float(probability), value_at(operation, magnitude, ranges))


def usage(policy: Policy, ranges: RangeSet) -> NDArray[np.float64]:
    """(2, 16) how often an image gets each operation, at most 1, and the mean strength of it, in [0, 1]."""
    found = np.zeros((2, len(OPERATIONS)))
    places = {name: index for index, name in enumerate(OPERATIONS)}
    for stage in policy.stages:
        weights = stage.weights or (1 / len(stage.choices),) * len(stage.choices)
        for choice, weight in zip(stage.choices, weights, strict=True):
            for step in choice:
                if step.operation != IDENTITY:
                    share = weight * step.probability
                    found[:, places[step.operation]] += share, share * strength(step, ranges)
    found[1] /= np.maximum(found[0], 1e-12)
    found[0] = np.minimum(found[0], 1)
    return found


def strength(step: Step, ranges: RangeSet) -> float:
    """How far from doing nothing, as a share of the farthest in the range; 1 where there is no magnitude."""
    if step.value is None:
        return 0.0 if step.operation == IDENTITY else 1.0
    neutral = OPERATIONS[step.operation].neutral or 0.0
    farthest = max(abs(end - neutral) for end in ends(step.operation, ranges))
    return min(1.0, abs(step.value - neutral) / farthest)


def end_of(step: Step, ranges: RangeSet) -> float:
    """The end of the range on the step's own side of doing nothing; its value where that lies behind the end.

    Raises ValueError for an operation without magnitude.
    """
    if step.value is None:
        raise ValueError(f"{step.operation} has no magnitude")
    neutral = OPERATIONS[step.operation].neutral or 0.0
    side = -1 if step.value < neutral else 1
    reach = [side * (end - neutral) for end in (*ends(step.operation, ranges), step.value)]
    return neutral + side * max(reach)


def ends(operation: str, ranges: RangeSet) -> tuple[float, float]:
    """An operation's values at both ends of the ranges; AutoAugment's where these do not have it."""
    within = ranges if operation in RANGES[ranges] else "autoaugment"
    return RANGES[within][operation]
