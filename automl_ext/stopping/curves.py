"""What rules share: told curves, the value to beat, and the frame in which curves are modelled.

The models are made for accuracies that rise over epochs 1, 2, 3, ... A `Frame` maps any curve there by two affine maps
taken from told trials: a step to the number of its point, 1 at the first and n at the last; a value to 0.1 where told
curves begin (their median) and to 0.9 at the best value seen. A loss falls, so its map has a negative slope: it turns
the order round and nothing else. What is worse than the zero of the map, a diverged loss, counts as 0.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from automl_ext.objective import Objective, rank, traded
from automl_ext.searcher import Trial

Floats = NDArray[np.float64]


def one_curve(objectives: Sequence[Objective], rule: str) -> None:
    """ValueError where a second objective is to be traded off: a curve shows the primary one alone."""
    others = traded(objectives)[1:]
    if others:
        raise ValueError(
            f"{rule} judges curves of {objectives[0].name} alone, and {others[0].name} is another objective; "
            "give it a limit, or leave out `stopping:`"
        )


@dataclass(frozen=True)
class Frame:
    """first, last: steps of a whole curve. points: how many reports it has. worst, best: the values mapped to 0.1, 0.9.

    The map is decreasing where best < worst.
    """

    first: float
    last: float
    points: int
    worst: float
    best: float

    def x(self, steps: Sequence[float] | Floats) -> Floats:
        """(n,) steps as numbers of points, at least 1; the last step is `points`."""
        share = (np.asarray(steps, dtype=float) - self.first) / (self.last - self.first)
        return np.maximum(1.0 + share * (self.points - 1), 1.0)

    def y(self, values: Sequence[float] | Floats) -> Floats:
        """(n,) values as rising and at least 0."""
        share = (np.asarray(values, dtype=float) - self.worst) / (self.best - self.worst)
        return np.maximum(0.1 + 0.8 * share, 0.0)

    def value(self, y: float) -> float:
        """The value that `y` stands for."""
        return self.worst + (y - 0.1) / 0.8 * (self.best - self.worst)

    def ends(self, step: float) -> bool:
        """Whether a whole curve has no point behind this step: then there is nothing to save."""
        return step >= self.last

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Frame:
        return cls(**row)


@dataclass
class _Whole:
    """Whole curves of one budget. starts: sorted. leader: the rank and last value of the best trial."""

    first: float
    last: float
    points: int
    peak: float
    starts: list[float] = field(default_factory=list)
    leader: tuple[tuple[float, float], float] | None = None


class Told:
    """The whole curves told so far, budget by budget: values at different budgets are no match for each other.

    A trial counts where it was evaluated to its end and reported at least two steps.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = objectives
        self.sign = 1.0 if objectives[0].goal == "max" else -1.0
        self._whole: dict[float | None, _Whole] = {}

    def add(self, trial: Trial) -> bool:
        """Learn from a told trial. Whether its curve is a whole one."""
        if trial.metrics is None or trial.origin != "evaluated" or len({step for step, _ in trial.curve}) < 2:
            return False
        steps, values = zip(*trial.curve, strict=True)
        peak = max(values, key=lambda value: self.sign * value)
        whole = self._whole.setdefault(trial.budget, _Whole(min(steps), max(steps), len(steps), peak))
        whole.first, whole.last = min(whole.first, *steps), max(whole.last, *steps)
        whole.points = max(whole.points, len(steps))
        whole.peak = max(whole.peak, peak, key=lambda value: self.sign * value)
        insort(whole.starts, values[0])
        standing = rank(trial.metrics, self.objectives)
        if standing[0] == 0 and (whole.leader is None or standing > whole.leader[0]):
            whole.leader = (standing, values[-1])
        return True

    def count(self, budget: float | None) -> int:
        """How many whole curves there are of this budget."""
        return len(self._whole[budget].starts) if budget in self._whole else 0

    def last(self, budget: float | None) -> float:
        """The last step of whole curves; KeyError where there is none."""
        return self._whole[budget].last

    def bar(self, budget: float | None) -> float | None:
        """The last value of the best trial that keeps all limits, for a curve to beat. None: there is none."""
        whole = self._whole.get(budget)
        return whole.leader[1] if whole and whole.leader else None

    def frame(self, budget: float | None) -> Frame | None:
        """The frame of this budget's curves; None where none is told, or none got better than where curves begin."""
        whole = self._whole.get(budget)
        if whole is None:
            return None
        worst = whole.starts[len(whole.starts) // 2]
        if self.sign * (whole.peak - worst) <= 0:
            return None
        return Frame(whole.first, whole.last, whole.points, worst, whole.peak)
