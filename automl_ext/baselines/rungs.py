"""Rungs of budgets: results at one budget, best first, and which of them may go on to the next.

Shared by asha, successive-halving and hyperband. Several objectives are ranked as NSGA-II does (Deb et al., 2002):
by front, and within a front by crowding distance, so that what goes on is spread over the front.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any

import moocore  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from automl_ext.objective import Metrics, Objective, traded
from automl_ext.searcher import Trial
from automl_ext.space import Candidate

Budget = Annotated[float, Field(gt=0, le=1e12)]
Reduction = Annotated[int, Field(ge=2, le=1000)]

WAITING = 64
"""How many results of a rung that are not promoted yet are held ready for it, the best ones."""


def ladder(min_budget: float, max_budget: float, reduction: int) -> tuple[float, ...]:
    """min_budget times 1, reduction, reduction^2, ...; the top rung, floor(log_reduction(max / min)), is max_budget.

    Raises ValueError for budgets that are no increasing positive numbers, and a reduction below 2.
    """
    if reduction < 2:
        raise ValueError(f"searcher.reduction: at least 2, not {reduction}")
    if not 0 < min_budget <= max_budget < math.inf:
        raise ValueError(f"searcher.min_budget: above 0 and at most max_budget ({max_budget:g}), not {min_budget:g}")
    budgets = [float(min_budget)]
    while budgets[-1] * reduction <= max_budget * (1 + 1e-9):
        budgets.append(budgets[-1] * reduction)
    return (*budgets[:-1], float(max_budget))


@dataclass(frozen=True)
class Entry:
    """A trial that has a result. violation: of all limits. values: (k,) the objectives traded off, to maximise."""

    number: int
    candidate: Candidate
    note: dict[str, Any]
    violation: float
    values: tuple[float, ...]


def entry_of(trial: Trial, objectives: Sequence[Objective]) -> Entry | None:
    """None for a failed trial, and one whose result is not finite. An objective with a limit is a constraint only."""
    if trial.metrics is None:
        return None
    metrics: Metrics = trial.metrics
    violation = sum(objective.violation(metrics) for objective in objectives)
    values = tuple(objective.signed(metrics) for objective in traded(objectives))
    if not all(math.isfinite(value) for value in (violation, *values)):
        return None
    return Entry(trial.number, trial.candidate, dict(trial.note), violation, values)


def best_first(entries: Iterable[Entry]) -> list[Entry]:
    """Limits come first, then the front, then the crowding distance, then the earlier trial."""
    entries = list(entries)
    if not entries or len(entries[0].values) == 1:
        return sorted(entries, key=_standing)
    missing = sorted((entry for entry in entries if entry.violation > 0), key=_standing)
    inside = [entry for entry in entries if entry.violation == 0]
    if not inside:
        return missing
    values = np.array([entry.values for entry in inside])
    fronts = np.asarray(moocore.pareto_rank(values, maximise=True))
    spread = np.empty(len(inside))
    for front in np.unique(fronts):
        spread[fronts == front] = crowding(values[fronts == front])
    numbers = np.array([entry.number for entry in inside])
    return [inside[index] for index in np.lexsort((numbers, -spread, fronts))] + missing


def crowding(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, k) points of one front -> (n,) distances between each one's neighbours; infinite at the ends."""
    distances = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        if span > 0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
        distances[order[[0, -1]]] = np.inf
    return distances


def _standing(entry: Entry) -> tuple[float, float, int]:
    return (entry.violation, -entry.values[0], entry.number)


@dataclass
class Rung:
    """The results at one budget. `promotable`: which may go on now, best first; a promotion leaves it when told.

    size: how many results there are, failed ones included. waiting: results that are not promoted, the best ones.
    """

    reduction: int
    size: int = 0
    entries: list[Entry] = field(default_factory=list)
    waiting: dict[int, Entry] = field(default_factory=dict)
    promotable: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry | None) -> None:
        """One more result; None for a failure, which counts and never goes on."""
        self.size += 1
        if entry is not None:
            if len(entry.values) == 1:
                insort(self.entries, entry, key=_standing)
            else:
                self.entries = best_first([*self.entries, entry])
            self.waiting[entry.number] = entry
        self._settle()

    def promoted(self, number: int) -> None:
        """Trial `number` went on: it is not promoted again."""
        self.waiting.pop(number, None)
        self._settle()

    def _settle(self) -> None:
        """The best 1/reduction of the rung may go on, where they did not yet."""
        top = self.entries[: self.size // self.reduction]
        self.promotable = [entry for entry in top if entry.number in self.waiting]
        if len(self.waiting) > WAITING:
            unpromoted = (entry for entry in self.entries if entry.number in self.waiting)
            self.waiting = {entry.number: entry for entry in islice(unpromoted, WAITING)}
