"""Fronts of several objectives: who is on them, how much they cover, what most runs of a search attain.

Points are rows of costs: what is maximised enters with a minus, so that smaller is better everywhere. Dominance,
hypervolume and attainment are moocore's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from automl_ext.objective import Metrics, Objective, rank, traded

Numbers = NDArray[np.float64]


def costs(results: Sequence[Metrics], objectives: Sequence[Objective]) -> Numbers:
    """(n, k) the results as costs, one column an objective."""
    rows = [[-objective.signed(metrics) for objective in objectives] for metrics in results]
    return np.array(rows, dtype=float).reshape(len(rows), len(objectives))


def nondominated(points: Numbers) -> NDArray[np.bool_]:
    """(n,) which rows of costs no other row dominates; equal rows all stay."""
    from moocore import is_nondominated  # type: ignore[import-untyped]

    return np.asarray(is_nondominated(points, keep_weakly=True), dtype=bool) if len(points) else np.zeros(0, dtype=bool)


@dataclass(frozen=True)
class Frame:
    """The box in which hypervolumes are measured, in costs. ideal: (k,) the best values; reference: (k,) the worst."""

    ideal: Numbers
    reference: Numbers

    def hypervolume(self, points: Numbers) -> float:
        """The share of the box that (n, k) costs dominate: 1 for a point at the ideal, 0 for none inside the box."""
        from moocore import hypervolume

        span = self.reference - self.ideal
        if not len(points) or not (span > 0).all():
            return 0.0
        inside = np.maximum((points - self.ideal) / span, 0.0)
        return float(hypervolume(inside, ref=np.ones(len(span))))


def frame(clouds: Sequence[Numbers], reference: Numbers | None = None) -> Frame | None:
    """The box of several clouds of costs together; None where they are all empty.

    The ideal has the best value of each objective. The reference point, where none is given, lies a tenth of the way
    behind the nadir: the worst value of each objective among what nothing dominates in all clouds together. Where these
    have all the same value it lies 1 behind it.
    """
    whole = [cloud for cloud in clouds if len(cloud)]
    if not whole:
        return None
    front = np.concatenate(whole)
    front = front[nondominated(front)]
    ideal, nadir = front.min(axis=0), front.max(axis=0)
    if reference is None:
        reference = np.where(nadir > ideal, nadir + 0.1 * (nadir - ideal), ideal + 1.0)
    return Frame(ideal, np.asarray(reference, dtype=float))


def hypervolumes(clouds: Sequence[Numbers], objectives: Sequence[Objective]) -> list[float]:
    """The share of their common box that each (n, k) cloud of metrics in their own units covers; 0 for an empty one."""
    signs = np.array([1.0 if objective.goal == "min" else -1.0 for objective in objectives])
    signed = [np.asarray(cloud).reshape(-1, len(signs)) * signs for cloud in clouds]
    box = frame(signed)
    return [0.0 if box is None else box.hypervolume(cloud) for cloud in signed]


def reference_point(values: Mapping[str, float], objectives: Sequence[Objective]) -> Numbers:
    """(k,) costs of a reference point in the units of the metrics. ValueError naming what is missing or unknown."""
    names = [objective.name for objective in objectives]
    if set(values) != set(names):
        wrong = next(iter(sorted(set(values) ^ set(names))))
        what = "is no objective" if wrong in values else "is missing"
        raise ValueError(f"reference point: {wrong} {what} (it takes one value each of {', '.join(names)})")
    return np.array([-objective.signed(values) for objective in objectives])


def growth(points: Numbers, box: Frame, most: int = 200) -> Numbers:
    """(n,) hypervolume after 1, 2, ... results; where n is larger than `most`, at `most` places and level in between.

    points: (n, k) costs in the order of the search; rows with NaN (failed, or missing a limit) add nothing.
    """
    if not len(points):
        return np.zeros(0)
    places = np.unique(np.linspace(len(points), 1, min(len(points), most)).astype(int))
    known = np.asarray(np.isfinite(points).all(axis=1))
    front, volumes, done = points[:0], np.zeros(len(points)), 0
    for place in places:
        front = np.concatenate([front, points[done:place][known[done:place]]])
        front = front[nondominated(front)]
        volumes[place - 1 :] = box.hypervolume(front)
        done = place
    return volumes


def attainment(clouds: Sequence[Numbers], percent: float) -> Numbers:
    """(m, 2) corners, by the first cost, of what at least `percent` of the runs attain: costs this low or lower.

    clouds: (n, 2) costs a run; a run with an empty cloud attains nothing.
    """
    from moocore import eaf

    whole = [cloud for cloud in clouds if len(cloud)]
    if not whole:
        return np.zeros((0, 2))
    beyond = np.concatenate(whole).max(axis=0) + 1.0
    filled = [cloud if len(cloud) else beyond[None, :] for cloud in clouds]
    sets = np.repeat(np.arange(len(filled)), [len(cloud) for cloud in filled])
    corners = np.asarray(eaf(np.concatenate(filled), sets, percentiles=[percent]))[:, :2]
    corners = corners[(corners < beyond).all(axis=1)]
    return np.asarray(corners[np.argsort(corners[:, 0], kind="stable")])


def best_first(results: Sequence[Metrics | None], objectives: Sequence[Objective], count: int) -> list[int]:
    """Indices of the best `count` results, the best one first; equal ones in the order given.

    With one traded objective by `rank`. With several front by front among what keeps all limits; of a front that is
    larger than what is left to choose first the best of the primary objective, then again and again what adds most
    hypervolume. What misses a limit and what failed stands behind, by `rank`.
    """
    order = sorted(range(len(results)), key=lambda index: rank(results[index], objectives), reverse=True)
    weighed = traded(objectives)
    if len(weighed) == 1:
        return order[:count]
    standing = {index: rank(results[index], objectives)[0] for index in order}
    left, chosen = [index for index in order if standing[index] == 0], list[int]()
    while left and len(chosen) < count:
        points = costs([results[index] or {} for index in left], weighed)
        on_front = nondominated(points)
        spread = _spread(points[on_front], count - len(chosen))
        first = [index for index, front in zip(left, on_front, strict=True) if front]
        chosen += [first[place] for place in spread]
        left = [index for index, front in zip(left, on_front, strict=True) if not front]
    return (chosen + [index for index in order if standing[index] < 0])[:count]


def _spread(points: Numbers, count: int) -> list[int]:
    """`count` rows of a front, the first row first, then greedily what adds most hypervolume."""
    if len(points) <= count:
        return list(range(len(points)))
    box = frame([points])
    assert box is not None  # noqa: S101
    chosen = [0]
    while len(chosen) < count:
        others = [place for place in range(len(points)) if place not in chosen]
        chosen.append(max(others, key=lambda place: box.hypervolume(points[[*chosen, place]])))
    return chosen


class Archive:
    """Numbers of the results that no other dominates, kept as results come in; empty for one traded objective.

    Results of the largest budget so far only; no budget is the whole.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = tuple(objectives)
        self.weighed = traded(objectives)
        self.numbers: list[int] = []
        self._budget = -math.inf
        self._points = np.zeros((0, len(self.weighed)))

    def add(self, number: int, metrics: Metrics, budget: float | None = None) -> None:
        """Take in a result that keeps all limits and is dominated by none; what it dominates leaves."""
        if len(self.weighed) == 1 or any(objective.violation(metrics) > 0 for objective in self.objectives):
            return
        of = math.inf if budget is None else budget
        if of < self._budget:
            return
        if of > self._budget:
            self._budget, self.numbers, self._points = of, [], self._points[:0]
        point = costs([metrics], self.weighed)
        if ((self._points <= point).all(axis=1) & (self._points < point).any(axis=1)).any():
            return
        beaten = np.asarray((point <= self._points).all(axis=1) & (point < self._points).any(axis=1))
        self.numbers = [kept for kept, lost in zip(self.numbers, beaten, strict=True) if not lost] + [number]
        self._points = np.concatenate([self._points[~beaten], point])
