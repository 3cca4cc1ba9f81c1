"""Standing: how good a trial is when several objectives count, and who dominates whom.

All objectives are traded off; one with a limit is a constraint besides (Deb's rule: what keeps the limits comes first,
then the smaller violation, then dominance).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from automl_ext.objective import Metrics, Objective


@dataclass(frozen=True)
class Standing:
    """violation: how far the limits are missed in all, 0 where they are kept, infinite for a failed trial.

    values: (objectives,) finite, all to maximise; zeros for a failed trial.
    """

    violation: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, metrics: Metrics | None, objectives: Sequence[Objective]) -> Standing:
        """The standing of a told result; what is missing or not finite counts as failed."""
        if metrics is not None:
            values = tuple(objective.signed(metrics) for objective in objectives)
            if all(math.isfinite(value) for value in values):
                return cls(sum(objective.violation(metrics) for objective in objectives), values)
        return cls(math.inf, (0.0,) * len(objectives))

    @property
    def failed(self) -> bool:
        return math.isinf(self.violation)

    @property
    def rank(self) -> tuple[float, float]:
        """Sort key by the limits and the primary objective, larger is better."""
        return (-self.violation, self.values[0])

    def dominates(self, other: Standing) -> bool:
        """Better in one respect and worse in none; where violations differ they alone decide."""
        if self.violation != other.violation:
            return self.violation < other.violation
        no_worse = all(mine >= theirs for mine, theirs in zip(self.values, other.values, strict=True))
        return no_worse and self.values != other.values
