"""The contract of a stopping rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from automl_ext.searcher import Proposal, Trial

Points = Sequence[Sequence[float]]
"""A learning curve: (step, value of the primary objective), in the order reported."""


@runtime_checkable
class Rule(Protocol):
    """Built as `Class(target, rng, **options)`, like a searcher; named in a config by `stopping:`."""

    def stopping(self, proposal: Proposal, seed: int) -> Mapping[str, Any] | None:
        """What a worker needs to judge this proposal's curve: JSON, from told trials alone; no effect on the rule.

        seed: for the worker's own random numbers. None: evaluate to the end.
        """

    def tell(self, trial: Trial, rng: np.random.Generator) -> None:
        """Learn from a finished trial, failed and stopped ones included. The only thing that changes the rule."""

    @staticmethod
    def stop(stopping: Mapping[str, Any], points: Points) -> bool:
        """In the worker, after each report: whether to stop now. A pure function of what `stopping` gave."""
