"""What a policy is: stages, of each of which every image draws one sub-policy.

A step is (operation, probability, value); a sub-policy is steps in order, each of which happens with its probability; a
stage is sub-policies with the weights they are drawn by; a policy is stages in order. AutoAugment is one stage of 25
sub-policies of two steps, RandAugment N stages of 14 sub-policies of one step, TrivialAugment one stage of all
operations at all strengths. So one form is applied, exported and shown, whatever was searched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from automl_ext.tasks.augmentation.operations import IDENTITY, OPERATIONS


@dataclass(frozen=True)
class Step:
    """value: in the operation's unit, see operations.py; None where it has none."""

    operation: str
    probability: float = 1.0
    value: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown operation, a probability outside [0, 1], a value where none belongs."""
        if self.operation != IDENTITY and self.operation not in OPERATIONS:
            raise ValueError(f"unknown operation {self.operation!r}; there are {', '.join(OPERATIONS)}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"the probability of {self.operation} must be in [0, 1], not {self.probability}")
        graded = self.operation != IDENTITY and OPERATIONS[self.operation].graded
        if graded != (self.value is not None):
            raise ValueError(f"{self.operation} {'needs a' if graded else 'takes no'} value, got {self.value}")

    @property
    def idle(self) -> bool:
        """Whether it never changes anything."""
        if self.probability == 0 or self.operation == IDENTITY:
            return True
        return self.value is not None and self.value == OPERATIONS[self.operation].neutral


SubPolicy = tuple[Step, ...]


@dataclass(frozen=True)
class Stage:
    """weights: what each sub-policy is drawn by, summing to 1; empty for all alike."""

    choices: tuple[SubPolicy, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for no sub-policies, and for weights that are no probabilities of them."""
        if not self.choices:
            raise ValueError("a stage needs at least one sub-policy; one without steps does nothing")
        if self.weights and (len(self.weights) != len(self.choices) or min(self.weights) < 0):
            raise ValueError(f"{len(self.choices)} sub-policies need as many weights from 0 up, got {self.weights}")
        if self.weights and abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError(f"weights must sum to 1, not to {sum(self.weights)}")


@dataclass(frozen=True)
class Policy:
    """No stages: images stay as they are."""

    stages: tuple[Stage, ...] = ()

    @property
    def subpolicies(self) -> tuple[SubPolicy, ...]:
        """The sub-policies of all stages."""
        return tuple(choice for stage in self.stages for choice in stage.choices)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that it may apply, in the order of the table."""
        used = {step.operation for choice in self.subpolicies for step in choice if not step.idle}
        return tuple(name for name in OPERATIONS if name in used)

    def to_json(self) -> list[Any]:
        """[[weight or None, [[operation, probability, value], ...]], ...] a stage."""
        return [
            [
                [stage.weights[index] if stage.weights else None, [_step_row(step) for step in choice]]
                for index, choice in enumerate(stage.choices)
            ]
            for stage in self.stages
        ]

    @classmethod
    def from_json(cls, rows: Sequence[Any]) -> Policy:
        """The policy that `to_json` wrote. Raises ValueError for what is none."""
        try:
            return cls(tuple(_stage(row) for row in rows))
        except (TypeError, KeyError, IndexError) as error:
            raise ValueError(f"no policy: {error}") from None


def of(subpolicies: Sequence[Sequence[tuple[str, float, float | None]]]) -> Policy:
    """One stage of sub-policies that are drawn alike, as published policies are written."""
    return Policy((Stage(tuple(tuple(Step(*step) for step in choice) for choice in subpolicies)),))


def merged(policies: Sequence[Policy]) -> Policy:
    """One policy with the sub-policies of all, drawn alike. AutoAugment's final policy is that of its best five.

    Raises ValueError unless each has one stage without weights.
    """
    if any(len(policy.stages) != 1 or policy.stages[0].weights for policy in policies):
        raise ValueError("only policies of one stage whose sub-policies are drawn alike can be merged")
    return Policy((Stage(tuple(choice for policy in policies for choice in policy.subpolicies)),))


def described(choice: SubPolicy) -> str:
    """A sub-policy in a line."""
    return ", then ".join(_said(step) for step in choice if not step.idle) or "nothing"


def _said(step: Step) -> str:
    value = "" if step.value is None else f" {step.value:.3g}"
    return f"{step.operation}{value}" + ("" if step.probability == 1 else f" with {step.probability:.0%}")


def _step_row(step: Step) -> list[Any]:
    return [step.operation, step.probability, step.value]


def _stage(row: Sequence[Any]) -> Stage:
    weights = tuple(weight for weight, _ in row if weight is not None)
    return Stage(tuple(tuple(Step(*step) for step in steps) for _, steps in row), weights)
